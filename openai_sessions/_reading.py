"""Reading a history page by page, from servers whose pages may lie."""

from __future__ import annotations

from openai_sessions._gateway import Gateway, NotFoundError, Order, Page
from openai_sessions._planning import MAX_PAGE_SIZE
from openai_sessions._types import Item
from openai_sessions.errors import CursorError

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
        return await _read(gateway, conversation_id, "asc", None)
    newest = await _read(gateway, conversation_id, "desc", limit)
    return newest[::-1]


async def _read(gateway: Gateway, conversation_id: str, order: Order, limit: int | None) -> list[Item]:
    cursor = ""
    for _ in range(1 + _MAX_RESTARTS):
        try:
            return await _read_once(gateway, conversation_id, order, limit)
        except _CursorGoneError as gone:
            cursor = str(gone)
    raise CursorError(conversation_id, cursor, "is gone each time, as items are being deleted meanwhile")


async def _read_once(gateway: Gateway, conversation_id: str, order: Order, limit: int | None) -> list[Item]:
    items: dict[object, Item] = {}
    cursors: list[str] = []
    while True:
        size = MAX_PAGE_SIZE if limit is None else min(MAX_PAGE_SIZE, limit - len(items))
        page = await _next_page(gateway, conversation_id, order, size, cursors)
        ids = [item.get("id") or object() for item in page.items]
        if cursors:
            _check(conversation_id, page, cursors, repeated=any(item_id in items for item_id in ids))
        for item_id, item in zip(ids, page.items, strict=True):
            items.setdefault(item_id, item)
        if not page.items or not page.has_more or (limit is not None and len(items) >= limit):
            return list(items.values())[:limit]
        if page.last_id is None:
            raise CursorError(conversation_id, "an item without an id", "cannot be asked for")
        cursors.append(page.last_id)


async def _next_page(
    gateway: Gateway, conversation_id: str, order: Order, size: int, cursors: list[str]
) -> Page:
    """Ask for the page after the newest cursor. Some servers answer 404 when its item was deleted."""
    if not cursors:
        return await gateway.list_items(conversation_id, limit=size, order=order)
    try:
        async with gateway.confirming_not_found(conversation_id):
            return await gateway.list_items(conversation_id, limit=size, order=order, after=cursors[-1])
    except NotFoundError:
        raise _CursorGoneError(cursors[-1]) from None


def _check(conversation_id: str, page: Page, cursors: list[str], *, repeated: bool) -> None:
    """Refuse a page that leads nowhere; other servers begin again at page one for a deleted cursor."""
    cursor = cursors[-1]
    if any(item.get("id") == cursor for item in page.items):
        raise CursorError(conversation_id, cursor, "contains that very item")
    if repeated:
        raise _CursorGoneError(cursor)
    if page.last_id in cursors:
        raise CursorError(conversation_id, cursor, f"leads back to {page.last_id}")
