"""A history of any length, page by page, in little memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence

from openai_sessions._api.client import NotFoundError, Page
from openai_sessions._arguments import MAX_PAGE_SIZE
from openai_sessions._conversation.locked import READS, LockedConversation, settle_all
from openai_sessions._items.types import Item
from openai_sessions.errors import ConversationNotCreatedError, ConversationNotFoundError, CursorError

_REMEMBERED = MAX_PAGE_SIZE
"""Number of ids remembered: one of them shows where a page continues."""


class ItemStream:
    """A walk from one item of a conversation to the newest, which remembers the latest ids.

    Each page is requested after the last item but one, and so starts with the last one. If it does not, the
    server may have returned page one for the id of a deleted item, as some do, or the last item was deleted:
    then the page is requested after items further back, until one starts with an item that is known to
    follow, or after any item that still exists.

    Args:
        after: The id of the item after which the walk starts, or None for the first item.

    Attributes:
        is_at_end: Whether all items were met.

    Raises:
        TypeError: `after` is neither an id nor None.
    """

    def __init__(self, after: object) -> None:
        self._conversation_id: str | None = None
        self._after = _checked_cursor(after)
        self._met: deque[object] = deque([] if after is None else [after], maxlen=_REMEMBERED)
        self._is_whole = after is None
        self.is_at_end = False

    def expect_no_conversation(self) -> None:
        """Do nothing if it is right that the session has no conversation.

        Raises:
            ConversationNotFoundError: It had one.
            ConversationNotCreatedError: The walk is to start after an item.
        """
        if self._conversation_id is not None:
            raise ConversationNotFoundError(self._conversation_id)
        if self._after is not None:
            raise ConversationNotCreatedError

    async def step(self, locked: LockedConversation) -> list[Item]:
        """Return the items of the next page, oldest first, as listed; each item once.

        Raises:
            ConversationNotFoundError: The conversation is not the one in which the walk started.
            CursorError: It is unknown where to continue, or the page leads nowhere.
        """
        if self._conversation_id not in (None, locked.conversation_id):
            raise ConversationNotFoundError(str(self._conversation_id))
        is_first = self._conversation_id is None
        self._conversation_id = locked.conversation_id
        await settle_all(locked)
        page = await self._first_page(locked) if is_first else await self._next_page(locked)
        return self._add(page)

    async def _first_page(self, locked: LockedConversation) -> Page:
        if self._after is None:
            page = await _read(locked, None, ())
        else:
            page = await self._confirmed_page(locked, 0)
        if page is None:
            raise CursorError(
                locked.conversation_id,
                str(self._after),
                "cannot be requested: the conversation does not have that item",
                remedy="Read from the first item, or after an item that exists.",
            )
        return page

    async def _next_page(self, locked: LockedConversation) -> Page:
        if not all(isinstance(item_id, str) for item_id in self._met):
            raise self._error("an item without an id", "cannot be requested")
        for place in _further_and_further_back(len(self._met)):
            page = await _read(locked, str(self._met[place]), self._met)
            if page is not None and self._starts_with_a_known_item(page, place):
                return page
        if (page := await self._page_one(locked)) is not None:
            return page
        for place in reversed(range(len(self._met))):
            if (page := await self._confirmed_page(locked, place)) is not None:
                return page
        raise self._error(
            self._met[-1],
            f"cannot be found again: the server contradicts itself, or the {len(self._met)} items before it "
            "were deleted meanwhile",
        )

    def _starts_with_a_known_item(self, page: Page, place: int) -> bool:
        """Return whether the page after a known item starts with one that was met after it."""
        ids = [item.get("id") for item in page.items]
        return not ids or (ids[0] in list(self._met)[place + 1 :] and self._is_after(page, place))

    def _is_after(self, page: Page, place: int) -> bool:
        """Return whether a page has no item that was met up to a place."""
        return set(list(self._met)[: place + 1]).isdisjoint(item.get("id") for item in page.items)

    async def _page_one(self, locked: LockedConversation) -> Page | None:
        """Return the first page if the walk can continue there: all before it was met, or nothing remains."""
        page = await _read(locked, None, self._met)
        if page is None or not (self._is_whole or not page.items):
            return None
        has_new_items = not {item.get("id") for item in page.items}.issubset(self._met)
        return page if has_new_items or not page.has_more else None

    async def _confirmed_page(self, locked: LockedConversation, place: int) -> Page | None:
        """Return the page after an item that exists: then the server has not returned page one instead.

        An item that exists after the listing existed during it.
        """
        cursor = str(self._met[place])
        page = await _read(locked, cursor, self._met)
        if page is None or not self._is_after(page, place):
            return None
        return page if await locked.client.has_item(locked.conversation_id, cursor) else None

    def _add(self, page: Page) -> list[Item]:
        """Remember the ids of a page, and return its new items."""
        met = set(self._met)
        new: dict[object, Item] = {}
        for item in page.items:
            item_id = item.get("id") or object()
            if item_id not in met:
                new.setdefault(item_id, item)
        self.is_at_end = not new or not page.has_more
        if len(self._met) + len(new) > _REMEMBERED:
            self._is_whole = False
        self._met.extend(new)
        return list(new.values())

    def _error(self, cursor: object, reason: str) -> CursorError:
        return CursorError(str(self._conversation_id), str(cursor), reason)


def whole_until(items: Sequence[Item]) -> int:
    """Return how many items, from the first, have a replay form that no later item can change.

    Reasoning waits for the item that follows it, and calls right after it are replayed with it.
    """
    end = len(items)
    while end and str(items[end - 1].get("type")).endswith("_call"):
        end -= 1
    if not end or not _is_reasoning(items[end - 1]):
        return len(items)
    while end and _is_reasoning(items[end - 1]):
        end -= 1
    return end


def _is_reasoning(item: Item) -> bool:
    return item.get("type") == "reasoning"


def _checked_cursor(after: object) -> str | None:
    if after is None or (isinstance(after, str) and after):
        return after
    raise TypeError(f"after must be the id of a stored item such as 'msg_...', or None, not {after!r}")


def _further_and_further_back(met: int) -> Iterator[int]:
    """Yield the places of the items after which to request a page, the last but one first."""
    back = 2
    while back <= met:
        yield met - back
        back = 2 * back - 1


async def _read(locked: LockedConversation, cursor: str | None, met: Collection[object]) -> Page | None:
    """Return a page; None if the cursor does not exist.

    A page that shows items which this process has deleted may be stale, and is requested again.
    """
    for reads_left in reversed(range(READS)):
        page = await _listed(locked, cursor)
        if page is None:
            return None
        ids = [item.get("id") for item in page.items]
        leads_nowhere = page.has_more and all(item_id in met for item_id in ids)
        if not reads_left or not (leads_nowhere or not locked.known.tail.gone.isdisjoint(ids)):
            locked.known.tail.believe(ids)
            return page
    return None


async def _listed(locked: LockedConversation, cursor: str | None) -> Page | None:
    client, conversation_id = locked.client, locked.conversation_id
    if cursor is None:
        return await client.list_items(conversation_id, limit=MAX_PAGE_SIZE, order="asc")
    try:
        async with client.confirming_not_found(conversation_id):
            return await client.list_items(conversation_id, limit=MAX_PAGE_SIZE, order="asc", after=cursor)
    except NotFoundError:
        return None
