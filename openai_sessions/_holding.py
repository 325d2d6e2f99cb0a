"""A conversation under its lock, and what every operation on it does first."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import anyio

from openai_sessions._conversation import Conversation, Doubt
from openai_sessions._gateway import Gateway, NotFoundError
from openai_sessions._history import KnownHistory
from openai_sessions._observing import Counted, Reconciled, tell
from openai_sessions._owned import Interruption
from openai_sessions._policy import Outcome
from openai_sessions._reading import page_ends, read_all, read_back, read_newest, read_newest_page
from openai_sessions._receipts import CannotTellError, SentItems
from openai_sessions._types import Item

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
class Held:
    """A conversation whose lock is held.

    Attributes:
        gateway: The client of the running event loop.
        conversation_id: The id.
        known: What the process knows of the conversation.
        interruption: What the operation sees of its caller's cancellation.
    """

    gateway: Gateway
    conversation_id: str
    known: Conversation
    interruption: Interruption = field(default_factory=Interruption)

    async def newest(self, limit: int | None, history: KnownHistory | None = None) -> list[Item]:
        """Return the newest items (None: all) as listed, oldest first, without copies nobody wants.

        While a request that was cut may yet be applied, it is looked for, and its copies are deleted.
        A listing that shows what this process has deleted is an old one, and is asked for again.

        Args:
            limit: How many.
            history: What a read of all items may be joined from, and learns.
        """
        now = self.gateway.retrier.clock()
        items: list[Item] = []
        for _ in range(_READS):
            items = await self._listed(limit, history, now)
            gone = self.known.tail.gone
            if gone.isdisjoint(item.get("id") for item in items):
                break
            items = [item for item in items if item.get("id") not in gone]
        self.known.doubts[:] = [doubt for doubt in self.known.doubts if now < doubt.until]
        if history is not None and limit is None:
            history.learn(self.conversation_id, items)
        self.known.tail.learn(items, is_whole=limit is None or len(items) < limit)
        return items if limit is None else items[max(0, len(items) - limit) :]

    async def _listed(self, limit: int | None, history: KnownHistory | None, now: float) -> list[Item]:
        if self.known.doubts:
            return await self._without_copies(limit, now)
        if limit is not None:
            return await read_newest(self.gateway, self.conversation_id, limit)
        if history is not None and history.is_of(self.conversation_id):
            page, is_all = await read_newest_page(self.gateway, self.conversation_id)
            joined = history.joined(page, is_all=is_all)
            if joined is not None:
                self.known.tail.page_ends = page_ends(joined)
                return joined
        items = await read_all(self.gateway, self.conversation_id, self.known.tail.page_ends)
        self.known.tail.page_ends = page_ends(items)
        return items

    async def know_the_tail(self) -> None:
        """Make sure that the newest items are known and none is an unwanted copy, in one read if need be."""
        is_anchored = self.known.tail.is_whole or bool(self.known.anchors)
        if self.known.doubts or not (self.known.tail.is_known and is_anchored):
            await self.newest(_ENOUGH_ANCHORS)

    async def back_to(self, anchors: Iterable[Collection[str]], at_least: int | None = 0) -> list[Item]:
        """Return the newest items, back to one of each group of anchors; all where a group is empty."""
        groups = [frozenset(group) for group in anchors]

        def reaches(ids: Collection[object]) -> bool:
            seen = frozenset(ids)
            enough = at_least is not None and len(seen) >= at_least
            return enough and all(group & seen for group in groups)

        return await read_back(self.gateway, self.conversation_id, reaches)

    def doubt(self, sent: SentItems) -> Doubt:
        """Look for a request in every operation until it can no longer be applied."""
        timeout = max(self.gateway.timeout or 0.0, _SHORTEST_TIMEOUT)
        tail = self.known.tail
        doubt = Doubt(
            sent,
            until=self.gateway.retrier.clock() + 2 * timeout,
            is_whole=tail.is_whole and self.known.anchors == sent.anchors,
        )
        self.known.doubts.append(doubt)
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
        locked: list[str] = []
        failures: list[Exception] = []
        limiter = anyio.Semaphore(_DELETES_AT_A_TIME)

        async def delete(item_id: str, on_failure: Callable[[Outcome], object]) -> None:
            try:
                with suppress(NotFoundError):
                    await self.gateway.delete_item(
                        self.conversation_id, item_id, exempt=True, on_failure=on_failure
                    )
            except _LockedError:
                locked.append(item_id)
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
                if locked or self._is_useless(failures):
                    limiter.release()
                    break
                tasks.start_soon(delete, waiting.popleft(), _stop_when_locked)
        for item_id in (*locked, *waiting):
            if not self._is_useless(failures):
                await limiter.acquire()
                await delete(item_id, lambda _: None)
        if failures:
            raise failures[0]

    def _is_useless(self, failures: list[Exception]) -> bool:
        """Tell whether further deletions would fail too."""
        outcomes = [self.gateway.retrier.classify(failure) for failure in failures]
        one_by_one = all(each is not None and each.outcome is Outcome.REFUSED for each in outcomes)
        return not one_by_one or len(failures) >= _DELETES_AT_A_TIME

    async def _without_copies(self, limit: int | None, now: float) -> list[Item]:
        doubts = self.known.doubts
        copies = sum(len(doubt.sent.items) * doubt.sent.sends for doubt in doubts)
        # One item more than is wanted, so that one is known before what a pop may take.
        at_least = None if limit is None else limit + copies + 1
        items = await self.back_to((doubt.sent.anchors for doubt in doubts), at_least)
        for doubt in list(doubts):
            are_all = at_least is None or len(items) < at_least
            self._find_copies(doubt, items, are_all=are_all, is_late=doubt.until <= now)
        unwanted = frozenset(self.known.unwanted)
        await self.delete_unwanted()
        return [item for item in items if item.get("id") not in unwanted]

    def _find_copies(self, doubt: Doubt, items: list[Item], *, are_all: bool, is_late: bool) -> None:
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
            self.known.no_longer_doubt(doubt)

    async def delete_unwanted(self) -> None:
        """Delete the copies that were found. Those that cannot be deleted are tried by the next operation."""
        if copies := [*self.known.unwanted]:
            await self.delete(copies)
            tell(Reconciled("deleted copy", len(copies)))
