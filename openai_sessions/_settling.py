"""Undoing what an earlier write has left behind."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from openai_sessions._holding import Held
from openai_sessions._receipts import CannotTellError, Receipt
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
    """Settle every write of this process that is unsettled, and look for requests that were cut.

    Raises:
        Exception: A request failed; what is left stays unsettled.
    """
    if held.known.doubts:
        await held.newest(1)  # first: what appears behind an unsettled write is not someone's answer
    for receipt in list(held.known.unsettled):
        try:
            await settle(held, receipt)
        except CannotTellError as error:
            held.known.unsettled.remove(receipt)
            logger.warning("%s: an unsettled write stays as it is: %s", held.conversation_id, error)


async def settle_receipt(held: Held, receipt: Receipt) -> Settlement:
    """Settle the write of a receipt, as `session.settle()` does.

    Raises:
        UnsettledWriteError: The listing does not show which items are of the write.
        Exception: A request failed; the rest stays unsettled.
    """
    try:
        return await settle(held, receipt)
    except CannotTellError as error:
        unknown = [item for sent in receipt.unknown for item in sent.items]
        raise UnsettledWriteError(
            receipt.as_json(), stored_ids=receipt.stored, unknown=unknown, not_stored=()
        ) from error


async def settle(held: Held, receipt: Receipt) -> Settlement:
    """Delete what a write has left, unless someone has added items behind it.

    Raises:
        CannotTellError: The listing does not show which items are of the write. Nothing was deleted.
        Exception: A request failed; the rest stays unsettled.
    """
    listed = await held.back_to([receipt.anchors, *(sent.anchors for sent in receipt.unknown)])
    ids = [str(item.get("id")) for item in listed]
    ours = [item_id for item_id in ids if item_id in receipt.stored]
    for sent in receipt.unknown:
        copies = sent.copies_in(listed, {*receipt.anchors, *ours})
        ours += [item_id for copy in copies for item_id in copy]
        if not copies:
            held.doubt(replace(sent, anchors=receipt.anchors))
    ours.sort(key=ids.index)
    if ours and any(item_id not in ours for item_id in ids[ids.index(ours[0]) :]):
        settlement = Settlement(standing=tuple(ours))
        logger.warning(
            "%s: %d item(s) of a failed write stay, as others follow them", held.conversation_id, len(ours)
        )
    else:
        await held.delete(ours)
        settlement = Settlement(deleted=tuple(ours))
    if receipt in held.known.unsettled:
        held.known.unsettled.remove(receipt)
    return settlement
