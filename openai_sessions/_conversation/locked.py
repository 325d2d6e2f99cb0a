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
from openai_sessions._conversation.locks import LockCheck, never_lost
from openai_sessions._conversation.reading import (
    HistoryCache,
    page_ends,
    read_all,
    read_back,
    read_from_both_ends,
    read_newest,
    read_newest_page,
)
from openai_sessions._conversation.shielding import Cancellation, OperationCancelledError
from openai_sessions._conversation.state import CannotTellError, Conversation, Receipt
from openai_sessions._instrumentation import Counted, Reconciled, tell
from openai_sessions._items.turns import calls_by_output, compaction_start, newest_compaction
from openai_sessions._items.types import Item
from openai_sessions.errors import UnfinishedDeletionError, UnsettledWriteError

logger = logging.getLogger("openai_sessions")

_CONCURRENT_DELETES = 8

_ENOUGH_ANCHORS = 20
"""How many items are read before a write to a conversation that this process does not know."""

READS = 3
"""How often a listing is requested that shows what this process has deleted, lacks what it has written, or
contradicts itself: then it is believed."""


@dataclass(frozen=True, slots=True)
class LockedConversation:
    """A conversation while an operation holds its lock.

    Attributes:
        client: The client of the running event loop.
        conversation_id: The id.
        known: What this process knows of the conversation.
        cancellation: The caller's cancellation.
        check_lock: Raises an error if the caller's lock was lost; called before each write.
    """

    client: ConversationsClient
    conversation_id: str
    known: Conversation
    cancellation: Cancellation = field(default_factory=Cancellation)
    check_lock: LockCheck = never_lost

    async def newest(self, limit: int | None, history: HistoryCache | None = None) -> list[Item]:
        """Return the newest items as listed, oldest first.

        Args:
            limit: How many items; None for all.
            history: The result of the previous read of all items, from which this one may be joined.
        """
        items, _ = await self._newest(limit, history)
        return items

    async def from_compaction(self, history: HistoryCache | None = None) -> tuple[list[Item], bool]:
        """Return what a model needs, as `compaction_start` says, and whether it is the whole history.

        A history without a compaction item is read whole. One that had none when this process last read it
        is taken to have none still, and is read as `newest` reads it; if it has one, it is at hand too.

        Args:
            history: The result of the previous read, from which this one may be joined.
        """
        return await self._newest(None, history, from_compaction=True)

    async def _newest(
        self, limit: int | None, history: HistoryCache | None, *, from_compaction: bool = False
    ) -> tuple[list[Item], bool]:
        """Return the newest items as listed, oldest first, and whether they are all items.

        A listing that shows items which this process has deleted may be stale, and is requested again; what
        it still shows then is there.
        """
        items: list[Item] = []
        is_all = False
        for _ in range(READS):
            if limit is not None:
                items = await read_newest(self.client, self.conversation_id, limit)
                is_all = len(items) < limit
            else:
                items, is_all = await self._listed(history, from_compaction=from_compaction)
                if is_all:
                    self.known.tail.page_ends = page_ends(items)
            if self.known.tail.gone.isdisjoint(item.get("id") for item in items):
                break
        if limit is None:
            self._learn(items, history, is_all=is_all)
        self.known.tail.learn(items, is_whole=is_all)
        return items, is_all

    async def _listed(
        self, history: HistoryCache | None, *, from_compaction: bool
    ) -> tuple[list[Item], bool]:
        """Return all items as listed, or only what a model needs, and whether they are all."""
        tail = self.known.tail
        if history is not None and history.is_of(self.conversation_id, self.known.revision):
            joined = await self._joined(history, from_compaction=from_compaction)
            if joined is not None:
                return joined
        if from_compaction and (tail.is_compacted or not tail.page_ends):
            return await read_from_both_ends(self.client, self.conversation_id, from_compaction=True)
        return await read_all(self.client, self.conversation_id, tail.page_ends), True

    async def _joined(
        self, history: HistoryCache, *, from_compaction: bool
    ) -> tuple[list[Item], bool] | None:
        """Return the previous read joined with the newest page; None if more must be read."""
        if not (history.is_whole or from_compaction):
            return None
        page, is_only = await read_newest_page(self.client, self.conversation_id)
        joined = history.joined(page, is_all=is_only)
        is_all = history.is_whole or is_only
        if joined is not None and (is_all or _has_what_it_needs(joined)):
            return joined, is_all
        compaction = newest_compaction(page) if from_compaction else None
        start = None if compaction is None else compaction_start(page, compaction, is_all=False)
        return None if start is None else (page[start:], False)

    def _learn(self, items: Sequence[Item], history: HistoryCache | None, *, is_all: bool) -> None:
        """Store what the next read can use."""
        self.known.tail.is_compacted = newest_compaction(items) is not None
        if history is not None:
            history.learn(self.conversation_id, items, self.known.revision, is_whole=is_all)

    async def know_the_tail(self) -> None:
        """Read the newest items unless they are known."""
        is_anchored = self.known.tail.is_whole or bool(self.known.anchors)
        if not (self.known.tail.is_known and is_anchored):
            await self.newest(_ENOUGH_ANCHORS)

    async def back_to(self, anchors: Iterable[Collection[str]]) -> list[Item]:
        """Return the newest items, back to one of each group of anchors; all if a group is empty."""
        groups = [frozenset(group) for group in anchors]

        def reaches(ids: Collection[object]) -> bool:
            seen = frozenset(ids)
            return all(group & seen for group in groups)

        return await read_back(self.client, self.conversation_id, reaches)

    async def delete(
        self,
        item_ids: Collection[str],
        *,
        on_deleted: Callable[[str], object] = lambda _: None,
        outcomes: list[Outcome] | None = None,
        stopped: Callable[[Sequence[Exception]], bool] | None = None,
    ) -> None:
        """Delete items, newest first, eight at a time; items that are gone already count as deleted.

        Once the server answers that the conversation is locked, perhaps by another of these requests, the
        rest is deleted one at a time.

        Args:
            item_ids: The ids, oldest first.
            on_deleted: Called with each id that is deleted.
            outcomes: Receives the outcome of each attempt that fails.
            stopped: Called before each deletion with the failures so far; if it returns True, no other is
                started. By default the items after one that was refused are tried.

        Raises:
            Exception: Some items could not be deleted.
        """
        waiting = deque(reversed(list(item_ids)))
        locked_out: list[str] = []
        failures: list[Exception] = []
        met = [] if outcomes is None else outcomes
        limiter = anyio.Semaphore(_CONCURRENT_DELETES)
        is_over = stopped or self._is_useless

        async def delete(item_id: str, *, retry_locked: bool) -> None:
            tried: list[Outcome] = []
            try:
                with suppress(NotFoundError):
                    await self.client.delete_item(
                        self.conversation_id,
                        item_id,
                        exempt=True,
                        retry_locked=retry_locked,
                        outcomes=tried,
                    )
            except Exception as error:  # noqa: BLE001 -- raised below, once the others have ended
                if not retry_locked and self._outcome_of(error) is Outcome.LOCKED:
                    locked_out.append(item_id)
                else:
                    failures.append(error)
            else:
                self.known.tail.remove([item_id])
                tell(Counted("deleted", 1))
                on_deleted(item_id)
            finally:
                limiter.release()
                met.extend(tried)

        async with anyio.create_task_group() as tasks:
            while waiting:
                await limiter.acquire()
                if locked_out or is_over(failures):
                    limiter.release()
                    break
                tasks.start_soon(partial(delete, waiting.popleft(), retry_locked=False))
        for item_id in (*locked_out, *waiting):
            if not is_over(failures):
                await limiter.acquire()
                await delete(item_id, retry_locked=True)
        if failures:
            raise failures[0]

    def _is_useless(self, failures: Sequence[Exception]) -> bool:
        """Return whether further deletions would fail too."""
        one_by_one = all(self._outcome_of(failure) is Outcome.REFUSED for failure in failures)
        return not one_by_one or len(failures) >= _CONCURRENT_DELETES

    def _outcome_of(self, error: Exception) -> Outcome | None:
        failure = self.client.retries.classify(error)
        return failure.outcome if failure else None

    async def delete_chosen(self, item_ids: Sequence[str], *, to_the_end: bool = False) -> None:
        """Delete items that the caller has chosen by their ids, newest first, and say what remains.

        Args:
            item_ids: The ids, oldest first.
            to_the_end: Continue when the caller is cancelled, for the grace period. By default the deletions
                in flight end, and no other is started.

        Raises:
            UnfinishedDeletionError: Some items could not be deleted.
            OperationCancelledError: The caller was cancelled before all were deleted; the rest is logged.
        """
        self.cancellation.has_begun = True
        self.known.revision = object()
        deleted: set[str] = set()

        def is_over(failures: Sequence[Exception]) -> bool:
            return bool(failures) or (self.cancellation.is_set() and not to_the_end)

        try:
            self.check_lock()
            await self.delete(item_ids, on_deleted=deleted.add, stopped=is_over)
        except Exception as error:
            left = tuple(item_id for item_id in item_ids if item_id not in deleted)
            receipt = Receipt(self.conversation_id, deleting=left)
            done = [item_id for item_id in item_ids if item_id in deleted]
            raise UnfinishedDeletionError(receipt.as_json(), deleted_ids=done) from error
        finally:
            left = tuple(item_id for item_id in item_ids if item_id not in deleted)
            if left and self.cancellation.is_set():
                logger.warning(
                    "%s: a cancelled operation has left items that it was to delete: %s",
                    self.conversation_id,
                    ", ".join(left),
                )
        if left:
            raise OperationCancelledError


def _has_what_it_needs(items: Sequence[Item]) -> bool:
    """Return whether items have a compaction item, and the calls of all outputs."""
    return newest_compaction(items) is not None and None not in calls_by_output(items).values()


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of the items of an unsettled write.

    Attributes:
        deleted: Ids of items that were deleted.
        kept: Ids of items that remain stored, because others have added items since: the output of a call of
            the write; or any item, where only their content shows that they may be of the write.
    """

    deleted: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


async def settle_all(locked: LockedConversation) -> None:
    """Delete what failed writes of this process have left, by the ids that the server had acknowledged.

    Raises:
        Exception: A request failed; what remains stays unsettled.
    """
    for receipt in list(locked.known.unsettled):
        await _Settling(locked, receipt).run()


async def settle_receipt(locked: LockedConversation, receipt: Receipt) -> Settlement:
    """Settle the write of a receipt, as `session.settle()` does: by ids, and by the content of its requests.

    A deletion is finished by its ids alone.

    Raises:
        UnfinishedDeletionError: Some items of a deletion are still stored; its receipt replaces this one.
        UnsettledWriteError: The listing does not show which items belong to the write, or some of them could
            not be deleted; its receipt replaces this one.
        Exception: The items could not be listed; the receipt remains valid.
    """
    if receipt.deleting:
        await locked.delete_chosen(receipt.deleting)
        return Settlement(deleted=receipt.deleting)
    settling = _Settling(locked, receipt)
    try:
        return await settling.run()
    except Exception as error:
        left = settling.receipt
        if not isinstance(error, CannotTellError) and left is receipt:
            raise
        unknown = [item for sent in left.unknown for item in sent.items]
        raise UnsettledWriteError(
            left.as_json(), stored_ids=left.ids, unknown=unknown, not_stored=()
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
        """Delete what the write has left.

        Acknowledged items are deleted unless others have answered them; items that only their content shows
        to be of the write, if nobody has added items since.

        Raises:
            CannotTellError: The listing does not show which items belong to requests whose outcome is
                unknown. Only acknowledged items were deleted.
            Exception: A request failed; what remains is unsettled.
        """
        locked, receipt = self._locked, self.receipt
        listed = await locked.back_to([receipt.anchors, *(sent.anchors for sent in receipt.unknown)])
        acknowledged = set(receipt.stored)
        cannot_tell: CannotTellError | None = None
        matched: set[str] = set()
        try:
            matched = self._matched_in(listed)
        except CannotTellError as error:
            cannot_tell = error
        kept: set[str] = set()
        if are_answered(acknowledged, listed):
            kept |= acknowledged
        if not are_newest(acknowledged | matched, listed, receipt.anchors):
            kept |= matched
        present = [item["id"] for item in listed if item.get("id") in acknowledged | matched]
        settlement = Settlement(
            deleted=tuple(item_id for item_id in present if item_id not in kept),
            kept=tuple(item_id for item_id in present if item_id in kept),
        )
        if cannot_tell is None:  # once an item is deleted, its request is no longer whole: only ids tell
            found = tuple(item_id for item_id in present if item_id in matched)
            self.receipt = replace(receipt, found=found, unknown=())
        await self._delete(settlement.deleted)
        locked.known.settled(receipt.stored)
        locked.known.tail.remove([item_id for item_id in receipt.stored if item_id not in settlement.kept])
        if cannot_tell is not None:
            self.receipt = replace(receipt, stored=())
            raise cannot_tell
        self._tell_of(settlement)
        return settlement

    def _matched_in(self, listed: Sequence[Item]) -> set[str]:
        """Return the ids of items that only their content shows to be of the write, listed or not."""
        receipt = self.receipt
        ids = set(receipt.found)
        for sent in receipt.unknown:
            copies = sent.copies_in(listed, {*receipt.anchors, *receipt.stored, *ids})
            ids.update(item_id for copy in copies for item_id in copy)
        return ids

    async def _delete(self, ids: Sequence[str]) -> None:
        """Delete items; if that fails, the receipt says what remains."""
        deleted: list[str] = []
        try:
            await self._locked.delete(ids, on_deleted=deleted.append)
        except BaseException:
            self.receipt = self.receipt.without(deleted)
            self._locked.known.settled(deleted)
            raise

    def _tell_of(self, settlement: Settlement) -> None:
        if settlement.deleted:
            tell(Reconciled("settled", len(settlement.deleted)))
        if settlement.kept:
            logger.warning(
                "%s: %d item(s) of a failed write are kept, because others have added items since",
                self._locked.conversation_id,
                len(settlement.kept),
            )
            tell(Reconciled("kept", len(settlement.kept)))


def are_answered(ours: Collection[object], listed: Sequence[Item]) -> bool:
    """Return whether others have added the output of a call, or the answer to a request for approval."""
    calls = {item.get("call_id") or item["id"] for item in listed if item.get("id") in ours}
    return any(
        item.get("id") not in ours and (item.get("call_id") or item.get("approval_request_id")) in calls
        for item in listed
    )


def are_newest(ours: Collection[object], listed: Sequence[Item], anchors: Collection[str]) -> bool:
    """Return whether nobody else has added items after those that were known before."""
    ids = [item.get("id") for item in listed]
    before = [place for place, item_id in enumerate(ids) if item_id in anchors]
    return all(item_id in ours for item_id in ids[before[-1] + 1 if before else 0 :])
