"""A conversation under its lock, and settling what an earlier write has left."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

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

_DELETES_AT_A_TIME = 8

_ENOUGH_ANCHORS = 20
"""How many items are read before a write to a conversation of which nothing is known."""

_READS = 3
"""How often a listing is asked for that shows items which are gone."""

_SHORTEST_TIMEOUT = 30.0
"""Seconds that a request is taken to last at least when it is not known how long the server goes on."""


class _LockedError(Exception):
    """Tell that a deletion was refused as another request holds the conversation."""


def _stop_when_locked(outcome: Outcome) -> None:
    if outcome is Outcome.LOCKED:
        raise _LockedError


@dataclass(frozen=True, slots=True)
class LockedConversation:
    """A conversation whose lock is held.

    Attributes:
        gateway: The client of the running event loop.
        conversation_id: The id.
        known: What the process knows of the conversation.
        interruption: What the operation sees of its caller's cancellation.
    """

    client: ConversationsClient
    conversation_id: str
    known: Conversation
    cancellation: Cancellation = field(default_factory=Cancellation)

    async def newest(self, limit: int | None, history: HistoryCache | None = None) -> list[Item]:
        """Return the newest items (None: all) as listed, oldest first, without copies nobody wants.

        While a request that was cut may yet be applied, it is looked for, and its copies are deleted.
        A listing that shows what this process has deleted is an old one, and is asked for again.

        Args:
            limit: How many.
            history: What a read of all items may be joined from, and learns.
        """
        now = self.client.retrier.clock()
        items: list[Item] = []
        for _ in range(_READS):
            items = await self._listed(limit, history, now)
            gone = self.known.tail.gone
            if gone.isdisjoint(item.get("id") for item in items):
                break
            items = [item for item in items if item.get("id") not in gone]
        self.known.in_doubt[:] = [doubt for doubt in self.known.in_doubt if now < doubt.until]
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
        """Make sure that the newest items are known and none is an unwanted copy, in one read if need be."""
        is_anchored = self.known.tail.is_whole or bool(self.known.anchors)
        if self.known.in_doubt or not (self.known.tail.is_known and is_anchored):
            await self.newest(_ENOUGH_ANCHORS)

    async def back_to(self, anchors: Iterable[Collection[str]], at_least: int | None = 0) -> list[Item]:
        """Return the newest items, back to one of each group of anchors; all where a group is empty."""
        groups = [frozenset(group) for group in anchors]

        def reaches(ids: Collection[object]) -> bool:
            seen = frozenset(ids)
            enough = at_least is not None and len(seen) >= at_least
            return enough and all(group & seen for group in groups)

        return await read_back(self.client, self.conversation_id, reaches)

    def doubt(self, sent: SentItems) -> InDoubtWrite:
        """Look for a request in every operation until it can no longer be applied."""
        timeout = max(self.client.timeout or 0.0, _SHORTEST_TIMEOUT)
        tail = self.known.tail
        doubt = InDoubtWrite(
            sent,
            until=self.client.retrier.clock() + 2 * timeout,
            is_whole=tail.is_whole and self.known.anchors == sent.anchors,
        )
        self.known.in_doubt.append(doubt)
        return doubt

    async def delete(
        self, item_ids: Collection[str], *, on_deleted: Callable[[str], object] = lambda _: None
    ) -> None:
        """Delete items, newest first, eight at a time; those that are gone already are as good.

        Once the server says that the conversation is locked, perhaps by another of these requests, it
        goes on with one at a time.

        Args:
            item_ids: The ids, oldest first.
            on_deleted: Called with each id that is gone.

        Raises:
            Exception: Some could not be deleted. Those that follow one that was refused were tried.
        """
        waiting = deque(reversed(list(item_ids)))
        refused: list[str] = []
        failures: list[Exception] = []
        limiter = anyio.Semaphore(_DELETES_AT_A_TIME)

        async def delete(item_id: str, on_failure: Callable[[Outcome], object]) -> None:
            try:
                with suppress(NotFoundError):
                    await self.client.delete_item(
                        self.conversation_id, item_id, exempt=True, on_failure=on_failure
                    )
            except _LockedError:
                refused.append(item_id)
            except Exception as error:  # noqa: BLE001 -- raised below, once the others have ended
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
                if refused or self._is_useless(failures):
                    limiter.release()
                    break
                tasks.start_soon(delete, waiting.popleft(), _stop_when_locked)
        for item_id in (*refused, *waiting):
            if not self._is_useless(failures):
                await limiter.acquire()
                await delete(item_id, lambda _: None)
        if failures:
            raise failures[0]

    def _is_useless(self, failures: list[Exception]) -> bool:
        """Tell whether further deletions would fail too."""
        outcomes = [self.client.retrier.classify(failure) for failure in failures]
        one_by_one = all(each is not None and each.outcome is Outcome.REFUSED for each in outcomes)
        return not one_by_one or len(failures) >= _DELETES_AT_A_TIME

    async def _without_copies(self, limit: int | None, now: float) -> list[Item]:
        in_doubt = self.known.in_doubt
        copies = sum(len(doubt.sent.items) * doubt.sent.sends for doubt in in_doubt)
        # One item more than is wanted, so that one is known before what a pop may take.
        at_least = None if limit is None else limit + copies + 1
        items = await self.back_to((doubt.sent.anchors for doubt in in_doubt), at_least)
        for doubt in list(in_doubt):
            are_all = at_least is None or len(items) < at_least
            self._find_copies(doubt, items, are_all=are_all, is_late=doubt.until <= now)
        unwanted = frozenset(self.known.unwanted)
        await self.delete_unwanted()
        return [item for item in items if item.get("id") not in unwanted]

    def _find_copies(self, doubt: InDoubtWrite, items: list[Item], *, are_all: bool, is_late: bool) -> None:
        """Have the copies of a request deleted; late ones, which may be another's, only if unanswered."""
        not_of_it = {*self.known.tail.ids, *self.known.unwanted, *doubt.acknowledged}
        try:
            copies = doubt.sent.copies_in(items, not_of_it)
        except CannotTellError as error:
            logger.warning("%s: a request that was cut cannot be told apart: %s", self.conversation_id, error)
            return
        ids = [item.get("id") for item in items]
        if is_late and copies and not not_of_it.union(*copies).issuperset(ids[ids.index(copies[0][0]) :]):
            logger.warning("%s: items like those of a request that was cut stay", self.conversation_id)
            return
        if copies:
            logger.info("%s: deleting a copy of a request that was cut", self.conversation_id)
        self.known.unwanted.update(item_id for copy in copies for item_id in copy)
        doubt.sent = replace(doubt.sent.behind(items), sends=doubt.sent.sends - len(copies))
        doubt.is_whole = doubt.is_whole or are_all
        if not doubt.sent.sends:
            self.known.resolve(doubt)

    async def delete_unwanted(self) -> None:
        """Delete the copies that were found. Those that cannot be deleted are tried by the next operation."""
        if copies := [*self.known.unwanted]:
            await self.delete(copies)
            tell(Reconciled("deleted copy", len(copies)))


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of the items of an unsettled write.

    Attributes:
        deleted: The ids of items that were deleted: nothing of them is left.
        standing: The ids of items that stay, because someone has added items behind them.
    """

    deleted: tuple[str, ...] = ()
    standing: tuple[str, ...] = ()


async def settle_all(locked: LockedConversation) -> None:
    """Settle every write of this process that is unsettled, and delete copies that were found.

    Raises:
        Exception: A request failed; what is left stays unsettled.
    """
    if locked.known.unsettled and locked.known.in_doubt:
        await locked.newest(1)  # a copy that appears behind an unsettled write is not someone's answer
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
        UnsettledWriteError: The listing does not show which items are of the write, or some of them
            could not be deleted; its receipt takes the place of this one.
        Exception: The items could not be listed; the receipt stays good.
    """
    settling = _Settling(locked, receipt)
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

    def __init__(self, locked: LockedConversation, receipt: Receipt) -> None:
        self._held = locked
        self.left = receipt

    async def run(self) -> Settlement:
        """Delete what the write has left, unless someone has added items behind it.

        Raises:
            CannotTellError: The listing does not show which items are of the write. Nothing was deleted.
            Exception: A request failed; what is left is unsettled.
        """
        locked, left = self._held, self.left
        listed = await locked.back_to([left.anchors, *(sent.anchors for sent in left.unknown)])
        ours = self._ours_in(listed)
        ids = [str(item.get("id")) for item in listed]
        stored = tuple(item_id for item_id in ids if item_id in ours)
        if stored and not ours.issuperset(ids[ids.index(stored[0]) :]):
            self._keep(None)
            logger.warning(
                "%s: %d item(s) of a failed write stay, as others follow", locked.conversation_id, len(stored)
            )
            tell(Reconciled("left standing", len(stored)))
            return Settlement(standing=stored)
        # Once the first is deleted its requests are no longer whole: only ids tell what is left.
        remaining = list(stored)
        try:
            await locked.delete(stored, on_deleted=remaining.remove)
        finally:
            self._keep(Receipt(locked.conversation_id, left.anchors, tuple(remaining)) if remaining else None)
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
