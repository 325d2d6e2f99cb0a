"""Appending items: all of them once, or none.

Read from top to bottom, this is how a write works, under the lock of its conversation:

1. what earlier writes have left is settled;
2. the items go out in requests of at most 20, each sent once;
3. a request whose outcome is unknown is looked for among the newest items, twice, and only when it is
   not there is it sent again; nothing is assumed where the listing does not tell;
4. a request that was not found stays in doubt for a while, and copies of it are deleted when they appear;
5. when the write fails, or its caller is cancelled, what it has stored is deleted;
6. what cannot be deleted is put into a receipt, for the next operation or another process to settle.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

import anyio

from openai_sessions._api.client import NotFoundError
from openai_sessions._api.retries import Outcome, RequestKind
from openai_sessions._arguments import MAX_ITEMS_PER_REQUEST
from openai_sessions._conversation.locked import LockedConversation, settle_all
from openai_sessions._conversation.shielding import OperationCancelledError
from openai_sessions._conversation.state import (
    CannotTellError,
    InDoubtWrite,
    Receipt,
    SentItems,
    UnconfirmedPop,
)
from openai_sessions._instrumentation import Counted, Reconciled, tell
from openai_sessions._items.turns import batches
from openai_sessions._items.types import Item
from openai_sessions.errors import ConversationNotFoundError, UnsettledWriteError

logger = logging.getLogger("openai_sessions")


async def append_items(locked: LockedConversation, items: Sequence[Item]) -> list[str]:
    """Append items in order and return their ids.

    Raises:
        ConversationNotFoundError: A reply was lost, and the conversation was gone before it was looked for.
        UnsettledWriteError: The write failed and could not be undone; the cause says how it failed.
        Exception: The write failed, and nothing of it is left.
    """
    await settle_all(locked)
    await locked.know_the_tail()
    return await append_to_tail(locked, items)


async def append_to_tail(locked: LockedConversation, items: Sequence[Item]) -> list[str]:
    """Append items where nothing is unsettled and the newest items are known."""
    locked.cancellation.has_begun = True
    write = _Write(locked, batches(items, MAX_ITEMS_PER_REQUEST))
    try:
        for batch in write.requests:
            await write.send(batch)
        locked.cancellation.check()
    except BaseException as error:
        await write.undo(error)
        raise
    return write.stored


async def delete_appended(locked: LockedConversation, ids: Sequence[str]) -> None:
    """Undo an append that had succeeded when its caller was cancelled."""
    stored = list(ids)
    anchors = tuple(known for known in locked.known.tail.ids if known not in ids)
    try:
        await locked.delete(ids, on_deleted=stored.remove)
        tell(Reconciled("rolled back", len(ids)))
    finally:
        if stored:
            locked.known.unsettled.append(Receipt(locked.conversation_id, anchors, tuple(stored)))


class _Write:
    """One write: what it has stored, and what it does not know of."""

    def __init__(self, locked: LockedConversation, requests: Sequence[Sequence[Item]]) -> None:
        self.requests = requests
        self._held = locked
        self._anchors = locked.known.anchors
        self.stored: list[str] = []
        self._ids: list[str] = []
        self._sent = SentItems((), (), sends=0)
        self._doubts: list[InDoubtWrite] = []
        self._is_looked_for = True

    async def send(self, batch: Sequence[Item]) -> None:
        """Send one request once; again only when looking has not found it."""
        locked = self._held
        self._sent = SentItems(tuple(batch), locked.known.anchors, sends=0)
        ids = await locked.client.retrier.run(
            RequestKind.APPEND,
            self._request,
            conversation_id=locked.conversation_id,
            look=self._look,
            stopped=locked.cancellation.is_set,
            sleep=self._sleep,
        )
        locked.known.acknowledge(ids)
        self._take_up(ids)
        self._ids += ids
        tell(Counted("written", len(ids)))

    async def _request(self) -> list[str]:
        self._held.cancellation.check()
        locked, batch = self._held, self._sent.items
        if self._sent.sends:
            tell(Reconciled("sent again", len(batch)))
        self._is_looked_for = False
        try:
            ids = await locked.client.create_items(locked.conversation_id, batch)
        except BaseException as error:
            failure = locked.client.retrier.classify(error)
            if failure is None or failure.outcome is Outcome.UNKNOWN:
                self._sent = replace(self._sent, sends=self._sent.sends + 1)
            else:
                self._is_looked_for = not self._sent.sends
            raise
        self._is_looked_for = True
        return ids

    async def _look(self) -> list[str] | None:
        """Look for the request among the newest items, twice; return the ids of its items."""
        retrier = self._held.client.retrier
        found = await self._one_copy()
        if found is None:
            await retrier.sleep(retrier.policy.settle_after)  # also once the caller is cancelled
            found = await self._one_copy()
        self._is_looked_for = True
        tell(Reconciled("not found" if found is None else "found", len(found or ())))
        return found

    async def _one_copy(self) -> list[str] | None:
        """Return the ids of one copy of the request and delete others; keep in doubt what is not there."""
        locked = self._held
        listed = await locked.back_to([self._sent.anchors])
        copies = self._sent.copies_in(listed, locked.known.tail.ids)
        self._keep_in_doubt(self._sent.sends - len(copies))
        self._take_up(item_id for copy in copies for item_id in copy)
        extra = [item_id for copy in copies[1:] for item_id in copy]
        await locked.delete(extra, on_deleted=self.stored.remove)
        if extra:
            tell(Reconciled("deleted copy", len(extra)))
        return copies[0] if copies else None

    def _take_up(self, ids: Iterable[str]) -> None:
        self.stored += [item_id for item_id in ids if item_id not in self.stored]

    def _keep_in_doubt(self, sends: int) -> None:
        for doubt in [doubt for doubt in self._doubts if doubt.sent.items is self._sent.items]:
            self._doubts.remove(doubt)
            self._held.known.resolve(doubt)
        if sends:
            self._doubts.append(self._held.doubt(replace(self._sent, sends=sends)))

    async def undo(self, error: BaseException) -> None:
        """Delete what the write has stored, newest first, under a deadline of its own.

        Raises:
            ConversationNotFoundError: There is nothing to be undone, as the conversation is gone.
            UnsettledWriteError: It could not be done, or must not be: the listing does not tell.
        """
        locked = self._held
        is_cut = isinstance(error, asyncio.CancelledError)
        if isinstance(error, CannotTellError) or (is_cut and locked.cancellation.is_over):
            self._leave_unsettled(error)
            return
        # Cut by others than the caller, as by an event loop that is being closed: undone all the same.
        deadline = locked.client.retrier.policy.deadline
        failed: BaseException | None = None
        try:
            with anyio.fail_after(min(deadline, locked.cancellation.grace) if is_cut else deadline):
                async with locked.client.confirming_not_found(locked.conversation_id):
                    await self._roll_back()
        except ConversationNotFoundError:
            # What was stored went with the conversation, and nothing can appear in it any more.
            for doubt in self._doubts:
                locked.known.resolve(doubt)
            if is_cut:
                return
            raise
        except BaseException as problem:  # noqa: BLE001 -- raised below, with what is left
            failed = problem
        if failed is not None:
            logger.warning("%s: a write could not be undone: %r", locked.conversation_id, type(failed))
            self._leave_unsettled(error if isinstance(failed, Exception) else failed)

    async def _roll_back(self) -> None:
        if not self._is_looked_for:
            self._ids += await self._look() or []
        for doubt in self._doubts:
            # What preceded the request is being deleted: what preceded the write will precede it.
            doubt.sent = replace(doubt.sent, anchors=self._anchors)
        stored = len(self.stored)
        await self._held.delete(self.stored, on_deleted=self.stored.remove)
        if stored:
            tell(Reconciled("rolled back", stored))

    def _leave_unsettled(self, error: BaseException) -> None:
        """Put what is left into a receipt."""
        locked = self._held
        unknown = () if self._is_looked_for else (self._sent,)
        in_doubt = [
            doubt.sent
            for doubt in self._doubts
            if doubt.sent.sends and (self._is_looked_for or doubt.sent.items is not self._sent.items)
        ]
        receipt = Receipt(locked.conversation_id, self._anchors, tuple(self.stored), (*in_doubt, *unknown))
        locked.known.unsettled.append(receipt)
        tell(Reconciled("left unsettled", len(self.stored)))
        if isinstance(error, asyncio.CancelledError):
            logger.warning("%s: a write was cut; its outcome is unknown", locked.conversation_id)
            raise error
        raise UnsettledWriteError(
            receipt.as_json(),
            stored_ids=receipt.stored,
            unknown=[item for sent in unknown for item in sent.items],
            not_stored=self._not_stored(unknown),
        ) from error

    def _not_stored(self, unknown: Sequence[SentItems]) -> list[Item]:
        """Return the items of which neither the id stands nor the outcome is unknown."""
        items = [item for request in self.requests for item in request]
        standing = {
            id(item) for item, item_id in zip(items, self._ids, strict=False) if item_id in self.stored
        }
        in_question = {id(item) for sent in unknown for item in sent.items}
        return [item for item in items if id(item) not in standing | in_question]

    async def _sleep(self, seconds: float) -> None:
        sleeping: Awaitable[None] = self._held.client.retrier.sleep(seconds)
        await self._held.cancellation.cut_short(sleeping)


Progress = Callable[[int, int], object]
"""Called with the number of items that are deleted, and how many there were."""

_MAX_LISTINGS = 20
"""How often others may have added items meanwhile before what they add is left to stay."""

_MAX_TAKEN_BY_OTHERS = 20
"""How often another process may be faster before a pop gives up."""


async def pop_newest(locked: LockedConversation) -> Item | None:
    """Delete the newest item and return it as listed, or None when there is none.

    An item whose deletion got no answer is kept: when it turns out to be gone, the next pop returns
    it. When another process deletes the item first, the next one is taken.
    """
    await settle_all(locked)
    taken = await _taken_before(locked)
    if taken is not None:
        return taken
    for remaining in reversed(range(_MAX_TAKEN_BY_OTHERS)):
        newest = await locked.newest(1)
        if not newest:
            return None
        try:
            return await _take(locked, newest[0])
        except NotFoundError:
            locked.known.remove([newest[0]["id"]])
            if not remaining:
                raise
    return None


async def _taken_before(locked: LockedConversation) -> Item | None:
    """Return an item that an earlier pop has removed without returning it."""
    while locked.known.taken:
        taken = locked.known.taken[0]
        if not taken.is_gone:
            taken.is_gone = not await locked.client.has_item(locked.conversation_id, taken.item["id"])
        locked.known.taken.remove(taken)
        if taken.is_gone:
            locked.known.remove([taken.item["id"]])
            return taken.item
    return None


async def note_taken(locked: LockedConversation) -> None:
    """Find out which items failed pops have removed, while no other process can: keep only those."""
    for taken in list(locked.known.taken):
        if not taken.is_gone:
            with suppress(Exception):
                taken.is_gone = not await locked.client.has_item(locked.conversation_id, taken.item["id"])
    locked.known.taken[:] = [taken for taken in locked.known.taken if taken.is_gone]


async def _take(locked: LockedConversation, item: Item) -> Item:
    """Delete an item and return it; keep it while it is not known whether it was deleted."""
    taken = UnconfirmedPop(item, is_gone=False)
    locked.known.taken.append(taken)
    locked.cancellation.has_begun = True
    outcomes: list[Outcome] = []
    try:
        await locked.client.delete_item(locked.conversation_id, item["id"], on_failure=outcomes.append)
    except Exception:
        if Outcome.UNKNOWN not in outcomes:
            locked.known.taken.remove(taken)
        raise
    locked.known.remove([item["id"]])
    if locked.cancellation.is_set():
        taken.is_gone = True
        raise OperationCancelledError
    locked.known.taken.remove(taken)
    return item


async def put_back(locked: LockedConversation, item: Item | None) -> None:
    """Undo a pop that had succeeded when its caller was cancelled: the next pop returns the item."""
    if item is not None:
        locked.known.taken.append(UnconfirmedPop(item, is_gone=True))


async def delete_conversation(locked: LockedConversation) -> None:
    """Delete the conversation; one that is gone already is as good. The API keeps its items."""
    locked.cancellation.has_begun = True
    with suppress(NotFoundError):
        await locked.client.delete_conversation(locked.conversation_id)
    locked.known.forget()


async def delete_all_items(locked: LockedConversation, progress: Progress | None) -> None:
    """Delete every item, newest first, eight at a time, until a second listing shows nothing.

    Raises:
        Exception: A request failed; some items may be left.
    """
    locked.cancellation.has_begun = True
    done = total = 0

    def count(_: str) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    items = await locked.newest(None)
    for _ in range(_MAX_LISTINGS):
        total += len(items)
        await locked.delete([item["id"] for item in items], on_deleted=count)
        items = await locked.newest(None)
        if not items:
            break
    locked.known.settle_everything()


async def replace_items(locked: LockedConversation, items: Sequence[Item]) -> None:
    """Put items in the place of the whole history, under the same conversation id.

    The new items are stored before the first old one is deleted, so that a crash at any point loses
    nothing. Until it is done, readers in other processes see both.
    """
    await settle_all(locked)
    old = await locked.newest(None)
    await append_to_tail(locked, items)
    await locked.delete([item["id"] for item in old])
