"""Reading a history page by page, from servers whose pages may lie."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from openai_sessions._gateway import Gateway, NotFoundError, Order, Page
from openai_sessions._planning import MAX_PAGE_SIZE
from openai_sessions._types import Item
from openai_sessions.errors import CursorError

Wanted = Callable[[Collection[object]], int]
"""Tells, of the ids read so far, how many more items are wanted; 0 or less when there are enough."""

_MAX_RESTARTS = 5
"""How often a read begins again because the item that it had come to was deleted meanwhile."""


class _CursorGoneError(Exception):
    """Tell that the item behind a cursor is no longer there."""


async def read_items(gateway: Gateway, conversation_id: str, limit: int | None) -> list[Item]:
    """Return the newest `limit` items as listed (None: all), oldest first, each id once.

    Items that are there throughout appear; those added or deleted meanwhile may or may not.

    Raises:
        CursorError: The server's pages contradict each other.
    """
    if limit is None:
        return await _read(gateway, conversation_id, "asc", lambda _: MAX_PAGE_SIZE)
    newest = await _read(gateway, conversation_id, "desc", lambda items: limit - len(items))
    return newest[:limit][::-1]


async def read_back(
    gateway: Gateway, conversation_id: str, reaches: Callable[[Collection[object]], bool]
) -> list[Item]:
    """Return the newest items as listed, oldest first, as far back as is needed.

    Args:
        gateway: The client.
        conversation_id: The conversation.
        reaches: Tells, of the ids read so far, whether they go back far enough.

    Raises:
        CursorError: The server's pages contradict each other.
    """
    newest = await _read(
        gateway,
        conversation_id,
        "desc",
        lambda items: 0 if items and reaches(items) else MAX_PAGE_SIZE,
        exempt=True,
    )
    return newest[::-1]


async def _read(
    gateway: Gateway, conversation_id: str, order: Order, wanted: Wanted, *, exempt: bool = False
) -> list[Item]:
    cursor = ""
    for _ in range(1 + _MAX_RESTARTS):
        try:
            return await _read_once(_Pages(gateway, conversation_id, order, exempt), wanted)
        except _CursorGoneError as gone:
            cursor = str(gone)
    raise CursorError(conversation_id, cursor, "is gone each time, as items are being deleted meanwhile")


@dataclass(frozen=True, slots=True)
class _Pages:
    """The pages of one list."""

    gateway: Gateway
    conversation_id: str
    order: Order
    exempt: bool

    async def after(self, cursor: str | None, size: int) -> Page:
        """Ask for the page after a cursor. Some servers answer 404 when its item was deleted."""
        request = partial(
            self.gateway.list_items, self.conversation_id, limit=size, order=self.order, exempt=self.exempt
        )
        if cursor is None:
            return await request()
        try:
            async with self.gateway.confirming_not_found(self.conversation_id):
                return await request(after=cursor)
        except NotFoundError:
            raise _CursorGoneError(cursor) from None

    def check(self, page: Page, cursors: list[str], *, repeated: bool) -> None:
        """Refuse a page that leads nowhere; other servers begin again at page one for a deleted cursor."""
        cursor = cursors[-1]
        if any(item.get("id") == cursor for item in page.items):
            raise CursorError(self.conversation_id, cursor, "contains that very item")
        if repeated:
            raise _CursorGoneError(cursor)
        if page.last_id in cursors:
            raise CursorError(self.conversation_id, cursor, f"leads back to {page.last_id}")


async def _read_once(pages: _Pages, wanted: Wanted) -> list[Item]:
    items: dict[object, Item] = {}
    cursors: list[str] = []
    is_empty = False
    while True:
        size = min(MAX_PAGE_SIZE, wanted(items))
        page = await pages.after(cursors[-1] if cursors else None, size)
        if not page.items and page.has_more and not is_empty:
            is_empty = True  # a page without items that others follow contradicts itself: ask once more
            continue
        ids = [item.get("id") or object() for item in page.items]
        if cursors:
            pages.check(page, cursors, repeated=any(item_id in items for item_id in ids))
        for item_id, item in zip(ids, page.items, strict=True):
            items.setdefault(item_id, item)
        if not page.items or not page.has_more or wanted(items) <= 0:
            return list(items.values())
        if page.last_id is None:
            raise CursorError(pages.conversation_id, "an item without an id", "cannot be asked for")
        cursors.append(page.last_id)
