"""Reading a history in as few round trips as the API allows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import Any

from openai_sessions._api.client import ConversationsClient, NotFoundError, Order, Page
from openai_sessions._arguments import MAX_PAGE_SIZE
from openai_sessions._items.types import Item
from openai_sessions.errors import CursorError

_AT_A_TIME = 16
"""How many pages are asked for at once."""


class CursorGoneError(Exception):
    """Tell that the item behind a cursor is no longer there."""


@dataclass(frozen=True, slots=True)
class ItemList:
    """The items of a conversation, in one order.

    Attributes:
        client: The client.
        conversation_id: The conversation.
        order: From the oldest, or from the newest.
        exempt: The retries of its requests are not paid for.
    """

    client: ConversationsClient
    conversation_id: str
    order: Order
    exempt: bool = False

    async def page(self, cursor: str | None, size: int) -> Page:
        """Ask for the page after a cursor; None for the first."""
        request = partial(
            self.client.list_items, self.conversation_id, limit=size, order=self.order, exempt=self.exempt
        )
        return await (request() if cursor is None else request(after=cursor))


class PagesAhead:
    """Full pages that are asked for at once, before it is known whether their cursors still hold."""

    def __init__(self, listing: ItemList, cursors: Sequence[str | None]) -> None:
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
class PageWalk:
    """A walk from the first page of a list to its end, page by page.

    Attributes:
        listing: What is walked through.
        ahead: Pages that were asked for in advance.
        items: What was met so far, in the order of the list, by id; each once.
        is_at_end: Whether that is all.
    """

    listing: ItemList
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
            async with listing.client.confirming_not_found(listing.conversation_id):
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


_MAX_RESTARTS = 5
"""How often a read begins again because the item that it had come to was deleted meanwhile."""


def page_ends(items: Sequence[Item]) -> tuple[str, ...]:
    """Return the ids at which the full pages of a whole history end that others follow."""
    ends = (items[index].get("id") for index in range(MAX_PAGE_SIZE - 1, len(items) - 1, MAX_PAGE_SIZE))
    return tuple(str(end) for end in takewhile(bool, ends))


async def read_all(client: ConversationsClient, conversation_id: str, ends: Sequence[str] = ()) -> list[Item]:
    """Return the whole history as listed, oldest first, each id once.

    Where the pages of an earlier read ended, the pages of this one are asked for at once, and one
    whose predecessor no longer ends there is asked for anew: the result is one that reading page by
    page could have given. Otherwise the first page goes alone, and what follows it is read from both
    ends until they meet: items that are there throughout appear, once and in order; those added or
    deleted meanwhile may or may not.

    Args:
        client: The client.
        conversation_id: The conversation.
        ends: What `page_ends` gave for an earlier read.

    Raises:
        CursorError: The server's pages contradict each other.
    """
    if ends:
        oldest = ItemList(client, conversation_id, "asc")
        try:
            return await _read_ahead(oldest, ends)
        except CursorGoneError:
            return await _walk(oldest, lambda _: MAX_PAGE_SIZE)
    return await _restarting(conversation_id, lambda: _read_from_both_ends(client, conversation_id))


async def read_newest(client: ConversationsClient, conversation_id: str, limit: int) -> list[Item]:
    """Return the newest `limit` items or fewer as listed, oldest first, each id once.

    Raises:
        CursorError: The server's pages contradict each other.
    """
    newest = await _walk(ItemList(client, conversation_id, "desc"), lambda items: limit - len(items))
    return newest[:limit][::-1]


async def read_newest_page(client: ConversationsClient, conversation_id: str) -> tuple[list[Item], bool]:
    """Return the newest page of up to 100 items as listed, oldest first, and whether nothing precedes it."""
    walk = PageWalk(ItemList(client, conversation_id, "desc"))
    await walk.step()
    return list(walk.items.values())[::-1], walk.is_at_end


async def read_back(
    client: ConversationsClient, conversation_id: str, reaches: Callable[[Collection[object]], bool]
) -> list[Item]:
    """Return the newest items as listed, oldest first, as far back as is needed.

    Args:
        client: The client.
        conversation_id: The conversation.
        reaches: Tells, of the ids read so far, whether they go back far enough.

    Raises:
        CursorError: The server's pages contradict each other.
    """
    listing = ItemList(client, conversation_id, "desc", exempt=True)
    newest = await _walk(listing, lambda ids: 0 if ids and reaches(ids) else MAX_PAGE_SIZE)
    return newest[::-1]


async def _restarting(conversation_id: str, read: Callable[[], Awaitable[list[Item]]]) -> list[Item]:
    cursor = ""
    for _ in range(1 + _MAX_RESTARTS):
        try:
            return await read()
        except CursorGoneError as gone:
            cursor = str(gone)
    raise CursorError(conversation_id, cursor, "is gone each time, as items are being deleted meanwhile")


async def _walk(listing: ItemList, wanted: Callable[[Collection[object]], int]) -> list[Item]:
    """Read page by page while more items are wanted, as `wanted` tells of the ids read so far."""

    async def read() -> list[Item]:
        walk = PageWalk(listing)
        while not walk.is_at_end and (size := wanted(walk.items.keys())) > 0:
            await walk.step(min(MAX_PAGE_SIZE, size))
        return list(walk.items.values())

    return await _restarting(listing.conversation_id, read)


async def _read_ahead(listing: ItemList, ends: Sequence[str]) -> list[Item]:
    ahead = PagesAhead(listing, [None, *ends])
    try:
        return await _finish(PageWalk(listing, ahead))
    finally:
        await ahead.stop()


async def _finish(walk: PageWalk) -> list[Item]:
    while not walk.is_at_end:
        await walk.step()
    return list(walk.items.values())


async def _read_from_both_ends(client: ConversationsClient, conversation_id: str) -> list[Item]:
    oldest = PageWalk(ItemList(client, conversation_id, "asc"))
    newest = PageWalk(ItemList(client, conversation_id, "desc"))
    await oldest.step()
    while not (oldest.is_at_end or newest.is_at_end):
        failed, gone = await asyncio.gather(oldest.step(), newest.step(), return_exceptions=True)
        if failed is not None:
            raise failed
        if isinstance(gone, CursorGoneError):
            break  # the newest items are being taken: the oldest are read on alone
        if gone is not None:
            raise gone
        if next(reversed(oldest.items)) in newest.items:
            return _joined(oldest, newest)
        if not oldest.items.keys().isdisjoint(newest.items):
            break  # where the oldest end has come to was deleted meanwhile
    return await _finish(oldest)


def _joined(oldest: PageWalk, newest: PageWalk) -> list[Item]:
    """Join two walks that have met at the newest item that both have met."""
    behind = takewhile(lambda item_id: item_id not in oldest.items, newest.items)
    return [*oldest.items.values(), *reversed([newest.items[item_id] for item_id in behind])]


class HistoryCache:
    """All items of a conversation as they were last listed."""

    def __init__(self) -> None:
        self._conversation_id: str | None = None
        self._items: list[Item] = []

    def is_of(self, conversation_id: str) -> bool:
        """Tell whether the items of this conversation are known."""
        return self._conversation_id == conversation_id

    def learn(self, conversation_id: str, items: Sequence[Item]) -> None:
        """Take up what a read of all items has shown, oldest first."""
        self._conversation_id = conversation_id
        self._items = list(items)

    def joined(self, page: Sequence[Item], *, is_all: bool) -> list[Item] | None:
        """Return the whole history, given its newest page, or None when the page does not fit.

        It fits when what it shows of the known items is a row of them without a gap, and its other
        items follow: then others have only appended, or deleted the newest.

        Args:
            page: The newest items as listed, oldest first.
            is_all: Whether nothing precedes them.
        """
        if is_all:
            return list(page)
        start = self._position(page[0].get("id")) if page else None
        if start is None:
            return None
        row = self._items[start:]
        shown = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(page, row, strict=False)))
        known = {item.get("id") for item in (*self._items[:start], *row[shown:])}
        if any(item.get("id") in known for item in page[shown:]):
            return None
        return [*self._items[:start], *page]

    def _position(self, item_id: object) -> int | None:
        """Return where an item is, looked for from the newest."""
        for position in reversed(range(len(self._items))):
            if item_id is not None and self._items[position].get("id") == item_id:
                return position
        return None


def copied(value: Any) -> Any:
    """Copy the dicts and lists of a JSON value."""
    if isinstance(value, dict):
        return {key: copied(part) for key, part in value.items()}
    if isinstance(value, list):
        return [copied(part) for part in value]
    return value
