"""A conversation under its lock: reading and deleting items, and settling what failed writes have left."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import anyio

from openai_sessions._api.client import ConversationsClient, NotFoundError
from openai_sessions._api.retries import Outcome
from openai_sessions._conversation.reading import (
    HistoryCache,
    page_ends,
    read_all,
    read_back,
    read_newest,
    read_newest_page,
)
from openai_sessions._conversation.shielding import Cancellation
from openai_sessions._conversation.state import (
    CannotTellError,
    Conversation,
    InDoubtWrite,
    Receipt,
    SentItems,
)
from openai_sessions._instrumentation import Counted, Reconciled, tell
from openai_sessions._items.types import Item
from openai_sessions.errors import UnsettledWriteError

logger = logging.getLogger("openai_sessions")

_CONCURRENT_DELETES = 8

_ENOUGH_ANCHORS = 20
"""How many items are read before a write to a conversation that this process does not know."""

_READS = 3
"""How often a listing is requested that shows deleted items."""

_SHORTEST_TIMEOUT = 30.0
"""Minimum seconds that the server is assumed to work on a request that was cut."""


@dataclass(frozen=True, slots=True)
class LockedConversation:
    """A conversation while an operation holds its lock.

    Attributes:
        client: The client of the running event loop.
        conversation_id: The id.
        known: What this process knows of the conversation.
        cancellation: The caller's cancellation.
    """

    client: ConversationsClient
    conversation_id: str
    known: Conversation
    cancellation: Cancellation = field(default_factory=Cancellation)

    async def newest(self, limit: int | None, history: HistoryCache | None = None) -> list[Item]:
        """Return the newest items as listed, oldest first, without copies of requests in doubt.

        While a request that was cut may still be applied, it is searched for, and its copies are deleted. A
        listing that shows items which this process has deleted is stale, and is requested again.

        Args:
            limit: How many items; None for all.
            history: The result of the previous read of all items, from which this one may be joined.
        """
        now = self.client.retries.clock()
        items: list[Item] = []
        for _ in range(_READS):
            items = await self._listed(limit, history, now)
            gone = self.known.tail.gone
            if gone.isdisjoint(item.get("id") for item in items):
                break
            items = [item for item in items if item.get("id") not in gone]
        self.known.in_doubt[:] = [write for write in self.known.in_doubt if now < write.until]
        if history is not None and limit is None:
            history.learn(self.conversation_id, items)
        self.known.tail.learn(items, is_whole=limit is None or len(items) < limit)
        return items if limit is None else items[max(0, len(items) - limit) :]

    async def _listed(self, limit: int | None, history: HistoryCache | None, now: float) -> list[Item]:
        if self.known.in_doubt:
            return await self._without_copies(limit, now)
        if limit is not None:
            return await read_newest(self.client, self.conversation_id, limit)
        if history is not None and history.is_of(self.conversation_id):
            page, is_all = await read_newest_page(self.client, self.conversation_id)
            joined = history.joined(page, is_all=is_all)
            if joined is not None:
                self.known.tail.page_ends = page_ends(joined)
                return joined
        items = await read_all(self.client, self.conversation_id, self.known.tail.page_ends)
        self.known.tail.page_ends = page_ends(items)
        return items

    async def know_the_tail(self) -> None:
        """Read the newest items unless they are known and no request is in doubt."""
        is_anchored = self.known.tail.is_whole or bool(self.known.anchors)
        if self.known.in_doubt or not (self.known.tail.is_known and is_anchored):
            await self.newest(_ENOUGH_ANCHORS)

    async def back_to(self, anchors: Iterable[Collection[str]], at_least: int | None = 0) -> list[Item]:
        """Return the newest items, back to one of each group of anchors; all if a group is empty."""
        groups = [frozenset(group) for group in anchors]

        def reaches(ids: Collection[object]) -> bool:
            seen = frozenset(ids)
            enough = at_least is not None and len(seen) >= at_least
            return enough and all(group & seen for group in groups)

        return await read_back(self.client, self.conversation_id, reaches)

    def put_in_doubt(self, sent: SentItems) -> InDoubtWrite:
        """Have every operation search for a request until it can no longer be applied."""
        timeout = max(self.client.timeout or 0.0, _SHORTEST_TIMEOUT)
        tail = self.known.tail
        write = InDoubtWrite(
            sent,
            until=self.client.retries.clock() + 2 * timeout,
            is_whole=tail.is_whole and self.known.anchors == sent.anchors,
        )
        self.known.in_doubt.append(write)
        return write

    async def delete(
        self, item_ids: Collection[str], *, on_deleted: Callable[[str], object] = lambda _: None
    ) -> None:
        """Delete items, newest first, eight at a time; items that are gone already count as deleted.

        Once the server answers that the conversation is locked, perhaps by another of these requests, the
        rest is deleted one at a time.

        Args:
            item_ids: The ids, oldest first.
            on_deleted: Called with each id that is deleted.

        Raises:
            Exception: Some items could not be deleted. The items after one that was refused were tried.
        """
        waiting = deque(reversed(list(item_ids)))
        locked_out: list[str] = []
        failures: list[Exception] = []
        limiter = anyio.Semaphore(_CONCURRENT_DELETES)

        async def delete(item_id: str, *, retry_locked: bool) -> None:
            try:
                with suppress(NotFoundError):
                    await self.client.delete_item(
                        self.conversation_id, item_id, exempt=True, retry_locked=retry_locked
                    )
            except Exception as error:  # noqa: BLE001 -- raised below, once the others have ended
                if not retry_locked and self._outcome_of(error) is Outcome.LOCKED:
                    locked_out.append(item_id)
                else:
                    failures.append(error)
            else:
                self.known.remove([item_id])
                tell(Counted("deleted", 1))
                on_deleted(item_id)
            finally:
                limiter.release()

        async with anyio.create_task_group() as tasks:
            while waiting:
                await limiter.acquire()
                if locked_out or self._is_useless(failures):
                    limiter.release()
                    break
                tasks.start_soon(partial(delete, waiting.popleft(), retry_locked=False))
        for item_id in (*locked_out, *waiting):
            if not self._is_useless(failures):
                await limiter.acquire()
                await delete(item_id, retry_locked=True)
        if failures:
            raise failures[0]

    def _is_useless(self, failures: list[Exception]) -> bool:
        """Return whether further deletions would fail too."""
        one_by_one = all(self._outcome_of(failure) is Outcome.REFUSED for failure in failures)
        return not one_by_one or len(failures) >= _CONCURRENT_DELETES

    def _outcome_of(self, error: Exception) -> Outcome | None:
        failure = self.client.retries.classify(error)
        return failure.outcome if failure else None

    async def _without_copies(self, limit: int | None, now: float) -> list[Item]:
        writes = self.known.in_doubt
        copies = sum(len(write.sent.items) * write.sent.sends for write in writes)
        # One item more than wanted, so that one is known that precedes the item which a pop may remove.
        at_least = None if limit is None else limit + copies + 1
        items = await self.back_to((write.sent.anchors for write in writes), at_least)
        for write in list(writes):
            are_all = at_least is None or len(items) < at_least
            self._find_copies(write, items, are_all=are_all, is_late=write.until <= now)
        unwanted = frozenset(self.known.unwanted)
        await self.delete_unwanted()
        return [item for item in items if item.get("id") not in unwanted]

    def _find_copies(self, write: InDoubtWrite, items: list[Item], *, are_all: bool, is_late: bool) -> None:
        """Mark the copies of a request for deletion.

        A late copy may be another writer's: it is kept if others have added items after it.
        """
        conversation_id = self.conversation_id
        not_of_it = {*self.known.tail.ids, *self.known.unwanted, *write.acknowledged}
        try:
            copies = write.sent.copies_in(items, not_of_it)
        except CannotTellError as error:
            logger.warning("%s: cannot tell whether a cut request was stored: %s", conversation_id, error)
            return
        ids = [item.get("id") for item in items]
        if is_late and copies and not not_of_it.union(*copies).issuperset(ids[ids.index(copies[0][0]) :]):
            logger.warning("%s: items equal to those of a cut request are kept", conversation_id)
            return
        if copies:
            logger.info("%s: deleting a copy of a cut request", conversation_id)
        self.known.unwanted.update(item_id for copy in copies for item_id in copy)
        write.sent = replace(write.sent.behind(items), sends=write.sent.sends - len(copies))
        write.is_whole = write.is_whole or are_all
        if not write.sent.sends:
            self.known.resolve(write)

    async def delete_unwanted(self) -> None:
        """Delete the copies that were found; the next operation tries again what fails."""
        if copies := [*self.known.unwanted]:
            await self.delete(copies)
            tell(Reconciled("deleted copy", len(copies)))


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of the items of an unsettled write.

    Attributes:
        deleted: Ids of items that were deleted: nothing of them remains.
        kept: Ids of items that remain stored, because others have added items after them.
    """

    deleted: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


async def settle_all(locked: LockedConversation) -> None:
    """Settle every unsettled write of this process, and delete copies that were found.

    Raises:
        Exception: A request failed; what remains stays unsettled.
    """
    if locked.known.unsettled and locked.known.in_doubt:
        await locked.newest(1)  # a copy that appears after an unsettled write is nobody's reply to it
    await locked.delete_unwanted()
    for receipt in list(locked.known.unsettled):
        try:
            await _Settling(locked, receipt).run()
        except CannotTellError as error:
            locked.known.unsettled.remove(receipt)
            logger.warning("%s: an unsettled write stays as it is: %s", locked.conversation_id, error)


async def settle_receipt(locked: LockedConversation, receipt: Receipt) -> Settlement:
    """Settle the write of a receipt, as `session.settle()` does.

    Raises:
        UnsettledWriteError: The listing does not show which items belong to the write, or some of them could
            not be deleted; its receipt replaces this one.
        Exception: The items could not be listed; the receipt remains valid.
    """
    settling = _Settling(locked, receipt)
    try:
        return await settling.run()
    except Exception as error:
        if not isinstance(error, CannotTellError) and settling.receipt is receipt:
            raise
        left = settling.receipt
        unknown = [item for sent in left.unknown for item in sent.items]
        raise UnsettledWriteError(
            left.as_json(), stored_ids=left.stored, unknown=unknown, not_stored=()
        ) from error


class _Settling:
    """Settles one write.

    Attributes:
        receipt: What remains of the write.
    """

    def __init__(self, locked: LockedConversation, receipt: Receipt) -> None:
        self._locked = locked
        self.receipt = receipt

    async def run(self) -> Settlement:
        """Delete what the write has left, unless others have added items after it.

        Raises:
            CannotTellError: The listing does not show which items belong to the write. Nothing was deleted.
            Exception: A request failed; what remains is unsettled.
        """
        locked, receipt = self._locked, self.receipt
        listed = await locked.back_to([receipt.anchors, *(sent.anchors for sent in receipt.unknown)])
        ours = self._ours_in(listed)
        ids = [str(item.get("id")) for item in listed]
        stored = tuple(item_id for item_id in ids if item_id in ours)
        if stored and not ours.issuperset(ids[ids.index(stored[0]) :]):
            self._replace_receipt(None)
            logger.warning(
                "%s: %d item(s) of a failed write are kept, because others follow them",
                locked.conversation_id,
                len(stored),
            )
            tell(Reconciled("kept", len(stored)))
            return Settlement(kept=stored)
        # Once the first is deleted its requests are no longer whole: only ids tell what remains.
        remaining = list(stored)
        try:
            await locked.delete(stored, on_deleted=remaining.remove)
        finally:
            left = Receipt(locked.conversation_id, receipt.anchors, tuple(remaining))
            self._replace_receipt(left if remaining else None)
        tell(Reconciled("settled", len(stored)))
        return Settlement(deleted=stored)

    def _ours_in(self, listed: Sequence[Item]) -> set[str]:
        """Return the ids of the write's items, listed or not; put requests in doubt that are not listed."""
        ours = set(self.receipt.stored)
        anchors = self.receipt.anchors
        not_listed = []
        for sent in self.receipt.unknown:
            copies = sent.copies_in(listed, {*anchors, *ours})
            ours.update(item_id for copy in copies for item_id in copy)
            if len(copies) < sent.sends:
                not_listed.append(replace(sent, anchors=anchors, sends=sent.sends - len(copies)))
        for sent in not_listed:
            self._locked.put_in_doubt(sent)
        return ours

    def _replace_receipt(self, left: Receipt | None) -> None:
        unsettled = self._locked.known.unsettled
        unsettled[:] = [receipt for receipt in unsettled if receipt != self.receipt]
        if left is not None:
            unsettled.append(left)
            self.receipt = left
