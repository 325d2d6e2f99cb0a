"""One way through the pages of a list, from servers whose pages may lie."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from openai_sessions._answers import Page
from openai_sessions._gateway import Gateway, NotFoundError, Order
from openai_sessions._planning import MAX_PAGE_SIZE
from openai_sessions._types import Item
from openai_sessions.errors import CursorError

_AT_A_TIME = 16
"""How many pages are asked for at once."""


class CursorGoneError(Exception):
    """Tell that the item behind a cursor is no longer there."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The items of a conversation, in one order.

    Attributes:
        gateway: The client.
        conversation_id: The conversation.
        order: From the oldest, or from the newest.
        exempt: The retries of its requests are not paid for.
    """

    gateway: Gateway
    conversation_id: str
    order: Order
    exempt: bool = False

    async def page(self, cursor: str | None, size: int) -> Page:
        """Ask for the page after a cursor; None for the first."""
        request = partial(
            self.gateway.list_items, self.conversation_id, limit=size, order=self.order, exempt=self.exempt
        )
        return await (request() if cursor is None else request(after=cursor))


class PagesAhead:
    """Full pages that are asked for at once, before it is known whether their cursors still hold."""

    def __init__(self, listing: Listing, cursors: Sequence[str | None]) -> None:
        limiter = asyncio.Semaphore(_AT_A_TIME)

        async def ask(cursor: str | None) -> Page:
            async with limiter:
                return await listing.page(cursor, MAX_PAGE_SIZE)

        self._asked = {cursor: asyncio.ensure_future(ask(cursor)) for cursor in cursors}

    def take(self, cursor: str | None) -> asyncio.Future[Page] | None:
        """Return a page, or None when it was not asked for, or was taken before."""
        return self._asked.pop(cursor, None)

    async def stop(self) -> None:
        """Wait no longer for the pages that nobody has taken."""
        for page in self._asked.values():
            page.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)


@dataclass(slots=True, eq=False)
class Walk:
    """A walk from the first page of a list to its end, page by page.

    Attributes:
        listing: What is walked through.
        ahead: Pages that were asked for in advance.
        items: What was met so far, in the order of the list, by id; each once.
        is_at_end: Whether that is all.
    """

    listing: Listing
    ahead: PagesAhead | None = None
    items: dict[object, Item] = field(default_factory=dict)
    is_at_end: bool = False
    _cursors: list[str | None] = field(default_factory=lambda: [None])

    async def step(self, size: int = MAX_PAGE_SIZE) -> None:
        """Read the next page, of at most `size` items.

        Raises:
            CursorGoneError: The item that the walk has come to is no longer there.
            CursorError: The page leads nowhere.
        """
        page = await self._next_page(size)
        if not page.items and page.has_more:  # it contradicts itself: ask once more
            page = await self._next_page(size)
        ids = [item.get("id") or object() for item in page.items]
        if len(self._cursors) > 1:
            self._check(page, ids)
        for item_id, item in zip(ids, page.items, strict=True):
            self.items.setdefault(item_id, item)
        self.is_at_end = not page.items or not page.has_more
        self._cursors.append(page.last_id)

    async def _next_page(self, size: int) -> Page:
        """Ask for the page after the last one. Some servers answer 404 when its item was deleted."""
        cursor, listing = self._cursors[-1], self.listing
        if cursor is None and len(self._cursors) > 1:
            raise CursorError(listing.conversation_id, "an item without an id", "cannot be asked for")
        asked = self.ahead.take(cursor) if self.ahead else None
        if self.ahead and asked is None:  # the page before has moved, and so have all that follow
            await self.ahead.stop()
            self.ahead = None
        asking = listing.page(cursor, size) if asked is None else asked
        if cursor is None:
            return await asking
        try:
            async with listing.gateway.confirming_not_found(listing.conversation_id):
                return await asking
        except NotFoundError:
            raise CursorGoneError(cursor) from None

    def _check(self, page: Page, ids: Sequence[object]) -> None:
        """Refuse a page that leads nowhere; other servers begin again at page one for a deleted cursor."""
        conversation_id, cursor = self.listing.conversation_id, str(self._cursors[-1])
        if cursor in ids:
            raise CursorError(conversation_id, cursor, "contains that very item")
        if not self.items.keys().isdisjoint(ids):
            raise CursorGoneError(cursor)
        if page.last_id is not None and page.last_id in self._cursors:
            raise CursorError(conversation_id, cursor, f"leads back to {page.last_id}")
