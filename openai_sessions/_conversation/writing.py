"""Changing a history: append, pop, replace, delete. An append stores all of its items once, or none.

Read from top to bottom, this is how an append works, under the lock of its conversation:

1. what earlier writes have left is deleted, by the ids that the server had acknowledged;
2. the items are sent in requests of at most 20 items and 8 MB, each once; the response must list them, under
   new ids;
3. a request whose outcome is unknown is searched for among the newest items, twice, and sent again only if it
   is not found; if the listing does not tell, nothing is assumed;
4. if the write fails, or its caller is cancelled, the items that it has stored are deleted;
5. what cannot be deleted goes into a receipt: the next operation deletes acknowledged ids, and nothing else;
   only `settle(receipt)` searches for a request by its content again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import anyio

from openai_sessions._api.client import NotFoundError
from openai_sessions._api.retries import Outcome, RequestKind
from openai_sessions._arguments import MAX_ITEMS_PER_REQUEST
from openai_sessions._conversation.locked import READS, LockedConversation, settle_all
from openai_sessions._conversation.shielding import OperationCancelledError
from openai_sessions._conversation.state import CannotTellError, Receipt, SentItems, UnconfirmedPop
from openai_sessions._instrumentation import Counted, Reconciled, tell
from openai_sessions._items.turns import batches
from openai_sessions._items.types import Item, is_compaction
from openai_sessions.errors import ConversationNotFoundError, UnfinishedDeletionError, UnsettledWriteError

logger = logging.getLogger("openai_sessions")

Progress = Callable[[int, int], object]
"""Called with the number of items deleted so far, and of all items."""


class OvertakenError(Exception):
    """Others have written before the items of a write were stored, or have deleted the item before them.

    Attributes:
        item_id: The newest of their items, or the item that is gone.
    """

    def __init__(self, item_id: str) -> None:
        super().__init__(item_id)
        self.item_id = item_id


_MAX_LISTINGS = 20
"""How often a history is listed and deleted while other writers add items to it."""

_MAX_TAKEN_BY_OTHERS = 20
"""How often another process may delete the newest item first before a pop gives up."""


async def append_items(locked: LockedConversation, items: Sequence[Item]) -> Receipt:
    """Append items in order, and return their ids.

    Raises:
        ConversationNotFoundError: A reply was lost, and the conversation was gone before it was searched for.
        UnsettledWriteError: The write failed and could not be undone; the cause says how it failed.
        Exception: The write failed, and none of its items remains stored.
    """
    await settle_all(locked)
    await locked.know_the_tail()
    return (await _write(locked, items)).receipt()


async def append_behind(locked: LockedConversation, items: Sequence[Item]) -> tuple[str, ...]:
    """Append items to a history that this operation has just read, and return their ids in order.

    Raises:
        UnsettledWriteError: The write failed and could not be undone.
        Exception: The write failed, and none of its items remains stored.
    """
    return (await _write(locked, items)).ids if items else ()


async def _write(
    locked: LockedConversation,
    items: Sequence[Item],
    old: Sequence[Sequence[str]] = (),
    *,
    behind: str | None = None,
    split: int = 0,
) -> _Write:
    """Append items while nothing is unsettled and the newest items are known; then delete old ones.

    Those from the position `split` on are not sent together with those before it, unless all fit into one
    request.

    Raises:
        OvertakenError: Others have written between the item `behind`, if one is given, and these items.
        Exception: As `append_items`.
    """
    locked.cancellation.has_begun = True
    requests = _requests(locked, items)
    if len(requests) > 1 and split:
        requests = [*_requests(locked, items[:split]), *_requests(locked, items[split:])]
    write = _Write(locked, requests)
    deletion = _Deletion(locked, old)
    try:
        for batch in write.batches:
            await write.send(batch)
        if behind is not None:
            await write.expect_behind(behind)
        locked.cancellation.check()
        await deletion.run()
    except BaseException as error:
        if not deletion.may_have_begun:
            await write.undo(error)
            raise
        deletion.leave_unsettled()
        if not isinstance(error, Exception):
            raise
    return write


def _requests(locked: LockedConversation, items: Sequence[Item]) -> list[list[Item]]:
    return batches(items, MAX_ITEMS_PER_REQUEST, locked.client.max_bytes)


class _Deletion:
    """The items that a write replaces.

    Args:
        locked: The conversation.
        groups: Their ids, oldest first, in groups that are deleted one after the other.
    """

    def __init__(self, locked: LockedConversation, groups: Sequence[Sequence[str]]) -> None:
        self._locked = locked
        self._groups = groups
        self._left = [item_id for group in groups for item_id in group]
        self.may_have_begun = False
        """Whether an item may be deleted: then the write is not undone, and its deletions are completed."""

    async def run(self) -> None:
        """Delete the items, newest first in each group."""
        if not self._left:
            return
        self._locked.check_lock()
        outcomes: list[Outcome] = []
        count = len(self._left)
        try:
            for group in self._groups:
                await self._locked.delete(group, on_deleted=self._left.remove, outcomes=outcomes)
        except Exception:
            self.may_have_begun = len(self._left) < count or Outcome.UNKNOWN in outcomes
            raise
        except BaseException:
            self.may_have_begun = True
            raise

    def leave_unsettled(self) -> None:
        """Leave what is not deleted to the next operation."""
        logger.warning(
            "%s: %d item(s) that a write has replaced could not be deleted; the next operation deletes them",
            self._locked.conversation_id,
            len(self._left),
        )
        self._locked.known.leave_unsettled(Receipt(self._locked.conversation_id, stored=tuple(self._left)))


class _Write:
    """One write.

    Attributes:
        batches: Its items, by request.
    """

    def __init__(self, locked: LockedConversation, requests: Sequence[Sequence[Item]]) -> None:
        self.batches = requests
        self._locked = locked
        self._anchors = locked.known.anchors
        self._before = frozenset(locked.known.tail.ids)
        self._stored: list[str] = []
        """The ids of its items that are stored, and known to be; none that was known before."""
        self._found: set[str] = set()
        """Those of them that the server has not acknowledged."""
        self._ids: list[str] = []
        """The ids of the items of completed requests, in the order of the items."""
        self._sent = SentItems((), (), sends=0)
        """The latest request."""
        self._known: set[str] = set()
        """The ids that none of its items can have."""
        self._is_found_out = True
        """Whether it is known if the latest request was applied."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the items that were sent, in their order."""
        return tuple(self._ids)

    def receipt(self, unknown: Sequence[SentItems] = ()) -> Receipt:
        """Return what is stored of the write."""
        stored = tuple(item_id for item_id in self._stored if item_id not in self._found)
        found = tuple(item_id for item_id in self._stored if item_id in self._found)
        return Receipt(self._locked.conversation_id, self._anchors, stored, found, tuple(unknown))

    async def send(self, batch: Sequence[Item]) -> None:
        """Send one request; again only if it was searched for and not found."""
        locked = self._locked
        # An id that the caller gives may be known: of an item that another process has deleted since.
        self._known = {*locked.known.tail.ids} - {item.get("id") for item in batch}
        anchors = tuple(anchor for anchor in locked.known.anchors if anchor in self._known)
        self._sent = SentItems(tuple(batch), anchors or locked.known.anchors, sends=0)
        attempts = locked.client.retries.attempts(
            RequestKind.APPEND,
            conversation_id=locked.conversation_id,
            stopped=locked.cancellation.is_set,
            sleep=self._sleep,
        )
        ids: list[str] | None = None
        async for attempt in attempts:
            with attempt:
                try:
                    ids = await self._send_once()
                    self._stored += [item_id for item_id in ids if item_id not in self._before]
                    attempts.succeeded()
                except Exception as error:
                    if not attempts.must_look(error):
                        raise
                    with attempts.looking():
                        ids = await self._look()
                    if ids is None:
                        raise
        self._ids += ids or []
        locked.known.tail.add(ids or [])
        if any(map(is_compaction, batch)):
            locked.known.tail.is_compacted = True
        tell(Counted("written", len(ids or [])))

    async def _send_once(self) -> list[str]:
        locked, items = self._locked, self._sent.items
        locked.cancellation.check()
        locked.check_lock()
        if self._sent.sends:
            tell(Reconciled("sent again", len(items)))
        self._is_found_out = False
        try:
            ids = await locked.client.create_items(locked.conversation_id, items, known=self._known)
        except BaseException as error:
            failure = locked.client.retries.classify(error)
            if failure is None or failure.outcome is Outcome.UNKNOWN:
                self._sent = replace(self._sent, sends=self._sent.sends + 1)
            else:
                self._is_found_out = not self._sent.sends
            raise
        self._is_found_out = True
        return ids

    async def _look(self) -> list[str] | None:
        """Search the newest items for the request, twice; return the ids of its items."""
        retries = self._locked.client.retries
        found = await self._one_copy()
        if found is None:
            await retries.sleep(retries.policy.settle_after)  # also if the caller is cancelled
            found = await self._one_copy()
        self._is_found_out = True
        tell(Reconciled("not found" if found is None else "found", len(found or ())))
        return found

    async def _one_copy(self) -> list[str] | None:
        """Return the ids of one copy of the request; delete others, one for each time that it was sent."""
        locked = self._locked
        listed = await locked.back_to([self._sent.anchors])
        copies = self._sent.copies_in(listed, self._known)
        not_new = self._found | self._before
        new = [item_id for copy in copies for item_id in copy if item_id not in not_new]
        self._stored += new
        self._found.update(new)
        extra = [item_id for copy in copies[1:] for item_id in copy if item_id in self._stored]
        await locked.delete(extra, on_deleted=self._stored.remove)
        if extra:
            tell(Reconciled("deleted copy", len(extra)))
        return copies[0] if copies else None

    async def expect_behind(self, item_id: str) -> None:
        """Read the newest items, which must show nothing else between an item and those of the write.

        A listing that lacks items of the write may be stale, and is requested again; what it still lacks then
        was deleted by others.

        Raises:
            OvertakenError: There is something else, the item is gone, or all of the write is.
        """
        own = frozenset(self._ids)
        after: list[str] = []
        for _ in range(READS):
            listed = [str(item["id"]) for item in await self._locked.back_to([[item_id]])]
            if item_id not in listed:
                raise OvertakenError(item_id)
            after = listed[listed.index(item_id) + 1 :]
            if own.issubset(after):
                break
        end = max((place for place, each in enumerate(after, 1) if each in own), default=0)
        others = [each for each in after[:end] if each not in own]
        if others or (own and own.isdisjoint(after)):
            raise OvertakenError((others or [item_id])[-1])

    async def undo(self, error: BaseException) -> None:
        """Delete the items that the write has stored, newest first, within a deadline of its own.

        Raises:
            ConversationNotFoundError: The conversation is gone, and the items with it.
            UnsettledWriteError: The items could not be deleted, or must not be: the listing does not tell
                which they are.
        """
        locked = self._locked
        is_cut = isinstance(error, asyncio.CancelledError)
        if isinstance(error, CannotTellError) or (is_cut and locked.cancellation.is_over):
            self._leave_unsettled(error)
            return
        # A task cut by others than its caller, as by an event loop that is being closed, is undone too.
        deadline = locked.client.retries.policy.deadline
        try:
            with anyio.fail_after(min(deadline, locked.cancellation.grace) if is_cut else deadline):
                async with locked.client.confirming_not_found(locked.conversation_id):
                    await self._roll_back()
        except ConversationNotFoundError:
            if not is_cut:
                raise
            # The items are gone with the conversation.
        except BaseException as problem:  # noqa: BLE001 -- raised here, with what remains
            logger.warning("%s: a write could not be undone: %r", locked.conversation_id, type(problem))
            self._leave_unsettled(error if isinstance(problem, Exception) else problem)

    async def _roll_back(self) -> None:
        if not self._is_found_out:
            self._ids += await self._look() or []
        stored = len(self._stored)
        await self._locked.delete(self._stored, on_deleted=self._stored.remove)
        if stored:
            tell(Reconciled("rolled back", stored))

    def _leave_unsettled(self, error: BaseException) -> None:
        """Put what remains into a receipt, and raise."""
        locked = self._locked
        unknown = () if self._is_found_out else (self._sent,)
        receipt = self.receipt(unknown)
        locked.known.leave_unsettled(receipt)
        tell(Reconciled("left unsettled", len(self._stored)))
        if isinstance(error, asyncio.CancelledError):
            logger.warning("%s: a write was cut; its outcome is unknown", locked.conversation_id)
            raise error
        raise UnsettledWriteError(
            receipt.as_json(),
            stored_ids=receipt.ids,
            unknown=[item for sent in unknown for item in sent.items],
            not_stored=self._not_stored(unknown),
        ) from error

    def _not_stored(self, unknown: Sequence[SentItems]) -> list[Item]:
        """Return the items that are neither stored nor of unknown outcome."""
        items = [item for batch in self.batches for item in batch]
        by_id = zip(self._ids, items, strict=False)
        stored = {id(item) for item_id, item in by_id if item_id in self._stored}
        in_question = {id(item) for sent in unknown for item in sent.items}
        return [item for item in items if id(item) not in stored | in_question]

    async def _sleep(self, seconds: float) -> None:
        await self._locked.cancellation.cut_short(self._locked.client.retries.sleep(seconds))


async def append_and_delete(
    locked: LockedConversation,
    items: Sequence[Item],
    old: Sequence[Sequence[str]],
    *,
    behind: str | None = None,
    split: int = 0,
) -> tuple[str, ...]:
    """Append items, then delete others, and return the ids of the new ones in order.

    All or nothing until the first item is deleted. Once one may be deleted, the write succeeds, and deletions
    that failed are left to the next operation.

    Args:
        locked: The conversation, with nothing unsettled.
        items: The new items.
        old: The ids of the items to delete, oldest first, in groups that are deleted one after the other.
            Those that are gone already count as deleted.
        behind: The id of the newest item, directly behind which the new ones must be stored; None for any.
        split: The position of the first item that is not sent together with those before it, unless all fit
            into one request; so that a process which is killed has sent more of those from there on, or none.

    Raises:
        OvertakenError: Others have written between it and the new items, which were deleted again.
        Exception: As `append_items`; or a deletion was refused, and the new items were deleted again.
    """
    if items:
        await locked.know_the_tail()
    return (await _write(locked, items, old, behind=behind, split=split)).ids


async def delete_appended(locked: LockedConversation, appended: Receipt) -> None:
    """Undo an append that had succeeded when its caller was cancelled."""
    deleted: list[str] = []
    try:
        await locked.delete(appended.ids, on_deleted=deleted.append)
        tell(Reconciled("rolled back", len(deleted)))
    finally:
        locked.known.leave_unsettled(appended.without(deleted))


async def replace_items(
    locked: LockedConversation, items: Sequence[Item], expected: Sequence[str] | None, count: int | None
) -> bool:
    """Replace the newest items, or all, under the same conversation id.

    The new items are stored before the first old one is deleted, so that a crash at any point loses nothing.
    Until the end, readers in other processes see both.

    Args:
        locked: The conversation.
        items: The new items.
        expected: The ids that must be the newest, oldest first, or else nothing is done and False returned;
            empty if there must be no item. None to replace whatever there is. If others have written before
            the new items were stored, these are deleted again.
        count: The number of items to replace; None for all.
    """
    await settle_all(locked)
    old = [str(item["id"]) for item in await locked.newest(count)]
    if expected is not None and (old[len(old) - len(expected) :] != list(expected) or (old and not expected)):
        return False
    try:
        await _write(locked, items, behind=expected[-1] if expected else None)
    except OvertakenError:
        return False
    await locked.delete(old)
    return True


async def pop_newest(locked: LockedConversation) -> Item | None:
    """Delete the newest item and return it as listed, or None if there is none.

    An item whose deletion got no response is kept: if it turns out to be gone, the next pop returns it. If
    another process deletes the item first, the next one is popped.
    """
    await settle_all(locked)
    popped = await _popped_before(locked)
    if popped is not None:
        return popped
    for remaining in reversed(range(_MAX_TAKEN_BY_OTHERS)):
        newest = await locked.newest(1)
        if not newest:
            return None
        try:
            return await _pop(locked, newest[0])
        except NotFoundError:
            locked.known.tail.remove([newest[0]["id"]])
            if not remaining:
                raise
    return None


async def _popped_before(locked: LockedConversation) -> Item | None:
    """Return an item that an earlier pop has deleted without returning it."""
    while locked.known.unconfirmed_pops:
        pop = locked.known.unconfirmed_pops[0]
        if not pop.is_gone:
            pop.is_gone = not await locked.client.has_item(locked.conversation_id, pop.item["id"])
        locked.known.unconfirmed_pops.remove(pop)
        if pop.is_gone:
            locked.known.tail.remove([pop.item["id"]])
            return pop.item
    return None


async def _pop(locked: LockedConversation, item: Item) -> Item:
    """Delete an item and return it; keep it while it is unknown whether it was deleted."""
    pop = UnconfirmedPop(item, is_gone=False)
    locked.known.unconfirmed_pops.append(pop)
    locked.cancellation.has_begun = True
    outcomes: list[Outcome] = []
    try:
        await locked.client.delete_item(locked.conversation_id, item["id"], outcomes=outcomes)
    except Exception:
        if Outcome.UNKNOWN not in outcomes:
            locked.known.unconfirmed_pops.remove(pop)
        raise
    locked.known.tail.remove([item["id"]])
    if locked.cancellation.is_set():
        pop.is_gone = True
        raise OperationCancelledError
    locked.known.unconfirmed_pops.remove(pop)
    return item


async def put_back(locked: LockedConversation, item: Item | None) -> None:
    """Undo a pop that had succeeded when its caller was cancelled: the next pop returns the item."""
    if item is not None:
        locked.known.unconfirmed_pops.append(UnconfirmedPop(item, is_gone=True))


async def confirm_pops(locked: LockedConversation) -> None:
    """Find out which items failed pops have deleted, while no other process can; forget the others."""
    for pop in list(locked.known.unconfirmed_pops):
        if not pop.is_gone:
            with suppress(Exception):
                pop.is_gone = not await locked.client.has_item(locked.conversation_id, pop.item["id"])
    locked.known.unconfirmed_pops[:] = [pop for pop in locked.known.unconfirmed_pops if pop.is_gone]


@dataclass(frozen=True, slots=True)
class Journal:
    """Records the deletion of items outside of this process.

    Attributes:
        before: Called with the items of each listing before they are deleted.
        after: Called with the ids of those that were deleted, also if others were not.
    """

    before: Callable[[Sequence[Item]], Awaitable[object]]
    after: Callable[[Sequence[str]], Awaitable[object]]


async def delete_all_items(
    locked: LockedConversation, journal: Journal | None = None, *, on_progress: Progress | None = None
) -> None:
    """Delete every item, newest first, eight at a time, until a second listing is empty.

    Args:
        locked: The conversation.
        journal: Records the deletions.
        on_progress: Called with the number of items deleted so far, and of all items.

    Raises:
        UnfinishedDeletionError: Items are still listed, after 20 listings: others keep adding them.
        Exception: A request failed; some items may remain stored.
    """
    locked.cancellation.has_begun = True
    deleted: list[str] = []
    total = 0

    def count(item_id: str) -> None:
        deleted.append(item_id)
        if on_progress is not None:
            on_progress(len(deleted), total)

    items = await locked.newest(None)
    for _ in range(_MAX_LISTINGS):
        before, total = len(deleted), total + len(items)
        if journal is not None:
            await journal.before(items)
        try:
            await locked.delete([item["id"] for item in items], on_deleted=count)
        finally:
            if journal is not None:
                await journal.after(deleted[before:])
        items = await locked.newest(None)
        if not items:
            locked.known.tail.remove(locked.known.tail.ids)
            locked.known.settle_everything()
            return
    left = tuple(item["id"] for item in items)
    receipt = Receipt(locked.conversation_id, deleting=left)
    raise UnfinishedDeletionError(receipt.as_json(), deleted_ids=deleted)


async def delete_conversation(locked: LockedConversation) -> bool:
    """Delete the conversation, and return whether it still existed. The API keeps its items."""
    locked.cancellation.has_begun = True
    was_there = await locked.client.delete_conversation(locked.conversation_id)
    locked.known.forget()
    return was_there
