"""Undoing what an earlier write has left behind."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from openai_sessions._holding import Held
from openai_sessions._observing import Reconciled, tell
from openai_sessions._receipts import CannotTellError, Receipt
from openai_sessions._types import Item
from openai_sessions.errors import UnsettledWriteError

logger = logging.getLogger("openai_sessions")


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of the items of an unsettled write.

    Attributes:
        deleted: The ids of items that were deleted: nothing of them is left.
        standing: The ids of items that stay, because someone has added items behind them.
    """

    deleted: tuple[str, ...] = ()
    standing: tuple[str, ...] = ()


async def settle_all(held: Held) -> None:
    """Settle every write of this process that is unsettled, and delete copies that were found.

    Raises:
        Exception: A request failed; what is left stays unsettled.
    """
    if held.known.unsettled and held.known.doubts:
        await held.newest(1)  # a copy that appears behind an unsettled write is not someone's answer
    await held.delete_unwanted()
    for receipt in list(held.known.unsettled):
        try:
            await _Settling(held, receipt).run()
        except CannotTellError as error:
            held.known.unsettled.remove(receipt)
            logger.warning("%s: an unsettled write stays as it is: %s", held.conversation_id, error)


async def settle_receipt(held: Held, receipt: Receipt) -> Settlement:
    """Settle the write of a receipt, as `session.settle()` does.

    Raises:
        UnsettledWriteError: The listing does not show which items are of the write, or some of them
            could not be deleted; its receipt takes the place of this one.
        Exception: The items could not be listed; the receipt stays good.
    """
    settling = _Settling(held, receipt)
    try:
        return await settling.run()
    except Exception as error:
        if not isinstance(error, CannotTellError) and settling.left is receipt:
            raise
        left = settling.left
        unknown = [item for sent in left.unknown for item in sent.items]
        raise UnsettledWriteError(
            left.as_json(), stored_ids=left.stored, unknown=unknown, not_stored=()
        ) from error


class _Settling:
    """The settling of one write: what is left of it to be deleted."""

    def __init__(self, held: Held, receipt: Receipt) -> None:
        self._held = held
        self.left = receipt

    async def run(self) -> Settlement:
        """Delete what the write has left, unless someone has added items behind it.

        Raises:
            CannotTellError: The listing does not show which items are of the write. Nothing was deleted.
            Exception: A request failed; what is left is unsettled.
        """
        held, left = self._held, self.left
        listed = await held.back_to([left.anchors, *(sent.anchors for sent in left.unknown)])
        ours = self._ours_in(listed)
        ids = [str(item.get("id")) for item in listed]
        stored = tuple(item_id for item_id in ids if item_id in ours)
        if stored and not ours.issuperset(ids[ids.index(stored[0]) :]):
            self._keep(None)
            logger.warning(
                "%s: %d item(s) of a failed write stay, as others follow", held.conversation_id, len(stored)
            )
            tell(Reconciled("left standing", len(stored)))
            return Settlement(standing=stored)
        # Once the first is deleted its requests are no longer whole: only ids tell what is left.
        remaining = list(stored)
        try:
            await held.delete(stored, on_deleted=remaining.remove)
        finally:
            self._keep(Receipt(held.conversation_id, left.anchors, tuple(remaining)) if remaining else None)
        tell(Reconciled("settled", len(stored)))
        return Settlement(deleted=stored)

    def _ours_in(self, listed: Sequence[Item]) -> set[str]:
        """Return the ids of the write's items, whether listed or not; keep in doubt what is not listed."""
        ours = set(self.left.stored)
        not_listed = []
        for sent in self.left.unknown:
            copies = sent.copies_in(listed, {*self.left.anchors, *ours})
            ours.update(item_id for copy in copies for item_id in copy)
            if len(copies) < sent.sends:
                not_listed.append(replace(sent, anchors=self.left.anchors, sends=sent.sends - len(copies)))
        for sent in not_listed:
            self._held.doubt(sent)
        return ours

    def _keep(self, left: Receipt | None) -> None:
        """Put what is left in the place of what was."""
        unsettled = self._held.known.unsettled
        unsettled[:] = [receipt for receipt in unsettled if receipt != self.left]
        if left is not None:
            unsettled.append(left)
            self.left = left
