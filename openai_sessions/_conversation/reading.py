"""Reading a history in as few round trips as the API allows.

A history of N items takes at most ⌈N/100⌉ + 2 requests. A cold read sends the first page alone and then reads
from both ends, two requests at a time; what a model needs starts with the newest page, which is enough if the
compaction item is there. A warm read sends all requests at once, after the cursors at which the
pages of the previous read ended. Servers may contradict themselves: a page is believed only as far as it fits
the pages before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from openai_sessions._api.client import ConversationsClient, NotFoundError, Order, Page
from openai_sessions._arguments import MAX_PAGE_SIZE
from openai_sessions._items.turns import compaction_start, newest_compaction
from openai_sessions._items.types import Item
from openai_sessions.errors import CursorError

_CONCURRENT_PAGES = 16
"""Maximum number of pages requested at once."""

_MAX_RESTARTS = 5
"""How often a read starts again because the item at its cursor was deleted meanwhile."""


class CursorGoneError(Exception):
    """The item at a cursor no longer exists."""


@dataclass(frozen=True, slots=True)
class ItemList:
    """The items of a conversation, in one order.

    Attributes:
        client: The client.
        conversation_id: The conversation.
        order: "asc" for the oldest item first, "desc" for the newest.
        exempt: Retries of its requests are not paid for.
    """

    client: ConversationsClient
    conversation_id: str
    order: Order
    exempt: bool = False

    def page(self, cursor: str | None, size: int) -> Awaitable[Page]:
        """Return the page after a cursor; None for the first page."""
        return self.client.list_items(
            self.conversation_id, limit=size, order=self.order, after=cursor, exempt=self.exempt
        )


async def read_all(client: ConversationsClient, conversation_id: str, ends: Sequence[str] = ()) -> list[Item]:
    """Return the whole history as listed, oldest first, each id once.

    Items that exist throughout appear once and in order; those added or deleted meanwhile may or may not.

    Args:
        client: The client.
        conversation_id: The conversation.
        ends: What `page_ends` returned for an earlier read: its pages are requested at once, and one whose
            predecessor no longer ends there is requested again.

    Raises:
        CursorError: The server's pages contradict each other.
    """
    if not ends:
        items, _ = await read_from_both_ends(client, conversation_id)
        return items
    oldest = ItemList(client, conversation_id, "asc")
    ahead = PagesAhead(oldest, [None, *ends])
    walk = PageWalk(oldest, ahead)
    try:
        while not walk.is_at_end:
            await walk.step()
        return list(walk.items.values())
    except CursorGoneError:
        return await _read_while(oldest, lambda _: MAX_PAGE_SIZE)
    finally:
        await ahead.stop()


async def read_newest(client: ConversationsClient, conversation_id: str, limit: int) -> list[Item]:
    """Return the newest `limit` items or fewer as listed, oldest first, each id once.

    Raises:
        CursorError: The server's pages contradict each other.
    """
    newest = ItemList(client, conversation_id, "desc")
    items = await _read_while(newest, lambda ids: limit - len(ids))
    return items[:limit][::-1]


async def read_newest_page(client: ConversationsClient, conversation_id: str) -> tuple[list[Item], bool]:
    """Return the newest page of up to 100 items as listed, oldest first, and whether it is the only page."""
    walk = PageWalk(ItemList(client, conversation_id, "desc"))
    await walk.step()
    return list(walk.items.values())[::-1], walk.is_at_end


async def read_back(
    client: ConversationsClient, conversation_id: str, reaches: Callable[[Collection[object]], bool]
) -> list[Item]:
    """Return the newest items as listed, oldest first, as far back as needed.

    Args:
        client: The client. Retries are not paid for.
        conversation_id: The conversation.
        reaches: Returns whether the ids read so far go back far enough.

    Raises:
        CursorError: The server's pages contradict each other.
    """
    newest = ItemList(client, conversation_id, "desc", exempt=True)
    items = await _read_while(newest, lambda ids: 0 if ids and reaches(ids) else MAX_PAGE_SIZE)
    return items[::-1]


def page_ends(items: Sequence[Item]) -> tuple[str, ...]:
    """Return the last ids of the full pages of a whole history, except of the last page."""
    ends = (items[index].get("id") for index in range(MAX_PAGE_SIZE - 1, len(items) - 1, MAX_PAGE_SIZE))
    return tuple(str(end) for end in takewhile(bool, ends))


async def _read_while(items: ItemList, wanted: Callable[[Collection[object]], int]) -> list[Item]:
    """Read page by page while `wanted`, given the ids read so far, returns how many more are wanted."""
    cursor = ""
    for _ in range(1 + _MAX_RESTARTS):
        walk = PageWalk(items)
        try:
            while not walk.is_at_end and (size := wanted(walk.items.keys())) > 0:
                await walk.step(min(MAX_PAGE_SIZE, size))
            return list(walk.items.values())
        except CursorGoneError as gone:
            cursor = str(gone)
    raise _always_gone(items.conversation_id, cursor)


async def read_from_both_ends(
    client: ConversationsClient, conversation_id: str, *, from_compaction: bool = False
) -> tuple[list[Item], bool]:
    """Read pages from the oldest and from the newest item until the two walks meet.

    Args:
        client: The client.
        conversation_id: The conversation.
        from_compaction: Read the newest page first, and nothing else once the newest pages have a compaction
            item and what is needed from before it. By default the oldest page is the first.

    Returns:
        The items, oldest first, each id once, and whether they are the whole history.

    Raises:
        CursorError: The server's pages contradict each other.
    """
    cursor = ""
    for _ in range(1 + _MAX_RESTARTS):
        oldest = PageWalk(ItemList(client, conversation_id, "asc"))
        newest = PageWalk(ItemList(client, conversation_id, "desc"))
        try:
            await (newest if from_compaction else oldest).step()
            if newest.is_at_end:
                return list(newest.items.values())[::-1], True
            while not (oldest.is_at_end or newest.is_at_end):
                if from_compaction and (needed := _from_compaction(newest)) is not None:
                    return needed, False
                errors = await asyncio.gather(oldest.step(), newest.step(), return_exceptions=True)
                if _is_newest_gone(*errors):
                    break  # the newest items are being popped: go on from the oldest end alone
                if next(reversed(oldest.items), None) in newest.items:
                    return _joined(oldest, newest), True
                if not oldest.items.keys().isdisjoint(newest.items):
                    break  # the item at the oldest end's cursor was deleted meanwhile
            while not oldest.is_at_end:
                await oldest.step()
            return list(oldest.items.values()), True
        except CursorGoneError as error:
            cursor = str(error)
    raise _always_gone(conversation_id, cursor)


def _is_newest_gone(of_oldest: BaseException | None, of_newest: BaseException | None) -> bool:
    """Return whether only the cursor of the walk from the newest item is gone; raise any other error."""
    if of_oldest is not None:
        raise of_oldest
    if of_newest is not None and not isinstance(of_newest, CursorGoneError):
        raise of_newest
    return of_newest is not None


def _from_compaction(newest: PageWalk) -> list[Item] | None:
    """Return what a model needs of a walk from the newest item, or None if it is not there yet."""
    items = list(newest.items.values())[::-1]
    compaction = newest_compaction(items)
    start = None if compaction is None else compaction_start(items, compaction, is_all=False)
    return None if start is None else items[start:]


def _always_gone(conversation_id: str, cursor: str) -> CursorError:
    return CursorError(conversation_id, cursor, "is gone each time, as items are being deleted meanwhile")


@dataclass(slots=True, eq=False)
class PageWalk:
    """A walk through a list, page by page.

    Attributes:
        listed: The list.
        ahead: Pages that were requested in advance, or None.
        items: The items met so far, in the order of the list, by id.
        is_at_end: Whether these are all.
    """

    listed: ItemList
    ahead: PagesAhead | None = None
    items: dict[object, Item] = field(default_factory=dict)
    is_at_end: bool = False
    _cursors: list[str | None] = field(default_factory=lambda: [None])

    async def step(self, size: int = MAX_PAGE_SIZE) -> None:
        """Read the next page, of at most `size` items.

        Raises:
            CursorGoneError: The item at the cursor no longer exists.
            CursorError: The page leads nowhere.
        """
        page = await self._next_page(size)
        if not page.items and page.has_more:  # it contradicts itself: request it once more
            page = await self._next_page(size)
        ids = [item.get("id") or object() for item in page.items]
        if len(self._cursors) > 1:
            self._check(page, ids)
        for item_id, item in zip(ids, page.items, strict=True):
            self.items.setdefault(item_id, item)
        self.is_at_end = not page.items or not page.has_more
        self._cursors.append(page.last_id)

    async def _next_page(self, size: int) -> Page:
        """Return the page at the cursor. Some servers answer 404 if its item was deleted."""
        cursor, listed = self._cursors[-1], self.listed
        if cursor is None and len(self._cursors) > 1:
            raise CursorError(listed.conversation_id, "an item without an id", "cannot be requested")
        requested = self.ahead.take(cursor) if self.ahead else None
        if self.ahead and requested is None:  # the page before has moved, and with it all that follow
            await self.ahead.stop()
            self.ahead = None
        page = listed.page(cursor, size) if requested is None else requested
        if cursor is None:
            return await page
        try:
            async with listed.client.confirming_not_found(listed.conversation_id):
                return await page
        except NotFoundError:
            raise CursorGoneError(cursor) from None

    def _check(self, page: Page, ids: Sequence[object]) -> None:
        """Reject a page that leads nowhere; for a deleted cursor, some servers return page one again."""
        conversation_id, cursor = self.listed.conversation_id, str(self._cursors[-1])
        if cursor in ids:
            raise CursorError(conversation_id, cursor, "contains that very item")
        if not self.items.keys().isdisjoint(ids):
            raise CursorGoneError(cursor)
        if page.last_id is not None and page.last_id in self._cursors:
            raise CursorError(conversation_id, cursor, f"leads back to {page.last_id}")


class PagesAhead:
    """Full pages that are requested at once, before it is known whether their cursors still exist."""

    def __init__(self, listed: ItemList, cursors: Sequence[str | None]) -> None:
        limiter = asyncio.Semaphore(_CONCURRENT_PAGES)

        async def read(cursor: str | None) -> Page:
            async with limiter:
                return await listed.page(cursor, MAX_PAGE_SIZE)

        self._pages = {cursor: asyncio.ensure_future(read(cursor)) for cursor in cursors}

    def take(self, cursor: str | None) -> asyncio.Future[Page] | None:
        """Return a page, or None if it was not requested, or taken before."""
        return self._pages.pop(cursor, None)

    async def stop(self) -> None:
        """Cancel the requests for pages that nobody has taken."""
        for page in self._pages.values():
            page.cancel()
        await asyncio.gather(*self._pages.values(), return_exceptions=True)


def _joined(oldest: PageWalk, newest: PageWalk) -> list[Item]:
    """Join two walks at the newest item that both have met."""
    behind = takewhile(lambda item_id: item_id not in oldest.items, newest.items)
    return [*oldest.items.values(), *reversed([newest.items[item_id] for item_id in behind])]


class HistoryCache:
    """The items of a conversation as they were last listed: all, or what a model needs of them.

    Attributes:
        is_whole: Whether they are all items.
    """

    def __init__(self) -> None:
        self._conversation_id: str | None = None
        self._revision: object = None
        self._items: list[Item] = []
        self.is_whole = False

    def is_of(self, conversation_id: str, revision: object = None) -> bool:
        """Return whether the items are those of this conversation, and of this revision of it."""
        return self._conversation_id == conversation_id and self._revision is revision

    def learn(
        self,
        conversation_id: str,
        items: Sequence[Item],
        revision: object = None,
        *,
        is_whole: bool = True,
    ) -> None:
        """Store what a read has returned, oldest first; `is_whole`: it was all items."""
        self.is_whole = is_whole
        self._conversation_id = conversation_id
        self._revision = revision
        self._items = list(items)

    def joined(self, page: Sequence[Item], *, is_all: bool) -> list[Item] | None:
        """Return the history as far back as it is known, given its newest page; None if that does not fit.

        It fits if the known items that it shows follow each other without a gap, and its other items follow
        them: then others have only appended, or deleted the newest.

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
        """Return the position of an item, searched from the newest."""
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
