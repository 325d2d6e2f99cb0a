"""A conversation under its lock, and what every operation on it does first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

import anyio

from openai_sessions._conversation import Conversation, Doubt
from openai_sessions._gateway import Gateway, NotFoundError
from openai_sessions._owned import Interruption
from openai_sessions._reading import read_back, read_items
from openai_sessions._receipts import CannotTellError, SentItems
from openai_sessions._types import Item

logger = logging.getLogger("openai_sessions")

_DELETES_AT_A_TIME = 8

_ENOUGH_ANCHORS = 20
"""How many items are read before a write to a conversation of which nothing is known."""

_READS = 3
"""How often a listing is asked for that shows items which are gone."""

_DEFAULT_TIMEOUT = 30.0
"""Seconds that a request without a timeout is taken to last at most."""


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

    async def newest(self, limit: int | None) -> list[Item]:
        """Return the newest items (None: all) as listed, oldest first, without copies nobody wants.

        While a request that was cut may yet be applied, it is looked for, and its copies are deleted.
        A listing that shows what this process has deleted is an old one, and is asked for again.
        """
        self._drop_old_doubts()
        items: list[Item] = []
        for _ in range(_READS):
            items = await self._listed(limit)
            if not any(item.get("id") in self.known.tail.gone for item in items):
                break
        items = [item for item in items if item.get("id") not in self.known.tail.gone]
        self.known.tail.learn(items)
        return items if limit is None else items[max(0, len(items) - limit) :]

    async def _listed(self, limit: int | None) -> list[Item]:
        if self.known.doubts:
            return await self._without_copies(limit)
        return await read_items(self.gateway, self.conversation_id, limit)

    async def know_the_tail(self) -> None:
        """Make sure that the newest items are known, in one read if they are not."""
        if not self.known.tail.is_known:
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
        timeout = self.gateway.timeout or _DEFAULT_TIMEOUT
        doubt = Doubt(sent, self.gateway.retrier.clock() + 2 * timeout)
        self.known.doubts.append(doubt)
        return doubt

    async def delete(
        self, item_ids: Collection[str], *, on_deleted: Callable[[str], object] = lambda _: None
    ) -> None:
        """Delete items, newest first, eight at a time; those that are gone already are as good.

        Args:
            item_ids: The ids, oldest first.
            on_deleted: Called with each id that is gone.

        Raises:
            Exception: Some could not be deleted; the others were.
        """
        limiter = anyio.Semaphore(_DELETES_AT_A_TIME)
        failures: list[Exception] = []

        async def delete(item_id: str) -> None:
            try:
                await self.gateway.delete_item(self.conversation_id, item_id, exempt=True)
            except NotFoundError:
                pass
            except Exception as error:  # noqa: BLE001 -- raised below, once the others have ended
                failures.append(error)
                return
            finally:
                limiter.release()
            self.known.tail.remove([item_id])
            on_deleted(item_id)

        async with anyio.create_task_group() as tasks:
            for item_id in reversed(list(item_ids)):
                await limiter.acquire()
                if failures:
                    limiter.release()
                    break
                tasks.start_soon(delete, item_id)
        if failures:
            raise failures[0]

    async def _without_copies(self, limit: int | None) -> list[Item]:
        doubts = self.known.doubts
        extra = sum(len(doubt.sent.items) * doubt.sent.sends for doubt in doubts)
        items = await self.back_to(
            (doubt.sent.anchors for doubt in doubts), None if limit is None else limit + extra
        )
        unwanted: set[str] = set()
        for doubt in list(doubts):
            unwanted |= self._copies_of(doubt, items, unwanted)
        await self.delete([item["id"] for item in items if item.get("id") in unwanted])
        return [item for item in items if item.get("id") not in unwanted]

    def _copies_of(self, doubt: Doubt, items: list[Item], taken: set[str]) -> set[str]:
        try:
            copies = doubt.sent.copies_in(items, {*self.known.tail.ids, *taken, *doubt.acknowledged})
        except CannotTellError as error:
            logger.warning("%s: a request that was cut cannot be told apart: %s", self.conversation_id, error)
            return set()
        doubt.sent = replace(doubt.sent, sends=doubt.sent.sends - len(copies))
        if not doubt.sent.sends:
            self.known.no_longer_doubt(doubt)
        if copies:
            logger.info("%s: deleting a copy of a request that was cut", self.conversation_id)
        return {item_id for copy in copies for item_id in copy}

    def _drop_old_doubts(self) -> None:
        now = self.gateway.retrier.clock()
        self.known.doubts[:] = [doubt for doubt in self.known.doubts if now < doubt.until]
