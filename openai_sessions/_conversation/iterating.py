"""A history of any length, page by page."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from openai_sessions._api.client import NotFoundError, Page
from openai_sessions._arguments import MAX_PAGE_SIZE
from openai_sessions._conversation.locked import LockedConversation, settle_all
from openai_sessions._items.types import Item
from openai_sessions.errors import ConversationNotCreatedError, ConversationNotFoundError, CursorError

if TYPE_CHECKING:
    pass


_REMEMBERED = MAX_PAGE_SIZE
"""How many of the ids that were met last are remembered: a page shows where it begins by one of them."""

_READS = 3
"""How often a page is asked for that contradicts itself, or shows items which are gone."""


def whole_until(items: Sequence[Item]) -> int:
    """Return how many items, from the first, have a replay form that no item after the last can change.

    Reasoning waits for what it leads to, and calls right after it are shown as it is.
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
    raise TypeError(f"after is the id of a stored item such as 'msg_...', or None, not {after!r}")


class ItemStream:
    """A walk from one item of a conversation to the newest, that remembers the ids which were met last.

    Each page is asked for after the last item but one, and so begins with the last one. A page that does
    not may come from a server that begins again at page one for the id of a deleted item, as some do, or
    the last item was deleted: then the page is asked for after items further back, until one begins with
    an item that is known to follow, or after any item that is still there.

    Args:
        after: The id of the item behind which it begins, or None for the first.

    Attributes:
        is_at_end: Whether all items were met.
    """

    def __init__(self, after: str | None) -> None:
        self._conversation_id: str | None = None
        self._after = after
        self._met: deque[object] = deque([] if after is None else [after], maxlen=_REMEMBERED)
        self._is_whole = after is None
        self.is_at_end = False

    def expect_none(self) -> None:
        """Take up that the session has no conversation.

        Raises:
            ConversationNotFoundError: It had one.
            ConversationNotCreatedError: It is to begin behind an item.
        """
        if self._conversation_id is not None:
            raise ConversationNotFoundError(self._conversation_id)
        if self._after is not None:
            raise ConversationNotCreatedError

    async def step(self, locked: LockedConversation) -> list[Item]:
        """Return the items of the next page, oldest first, as listed; none that was met before.

        Raises:
            ConversationNotFoundError: The conversation is not the one that the walk began in.
            CursorError: It is not known where to go on, or the page leads nowhere.
        """
        if self._conversation_id not in (None, locked.conversation_id):
            raise ConversationNotFoundError(str(self._conversation_id))
        is_first = self._conversation_id is None
        self._conversation_id = locked.conversation_id
        await settle_all(locked)
        if locked.known.in_doubt:
            await locked.newest(1)  # copies of a request that was cut are deleted
        page = await self._first_page(locked) if is_first else await self._next_page(locked)
        return self._taken_up(page)

    async def _first_page(self, locked: LockedConversation) -> Page:
        if self._after is None:
            page = await _read(locked, None, ())
        else:
            page = await self._genuine_page(locked, 0)
        if page is None:
            raise CursorError(
                locked.conversation_id,
                str(self._after),
                "cannot be asked for: the conversation does not hold that item",
                remedy="Read from the beginning, or after an item that is there.",
            )
        return page

    async def _next_page(self, locked: LockedConversation) -> Page:
        if not all(isinstance(item_id, str) for item_id in self._met):
            raise self._error("an item without an id", "cannot be asked for")
        for place in _further_and_further_back(len(self._met)):
            page = await _read(locked, str(self._met[place]), self._met)
            if page is not None and self._begins_with_a_known_item(page, place):
                return page
        if (page := await self._page_one(locked)) is not None:
            return page
        for place in reversed(range(len(self._met))):
            if (page := await self._genuine_page(locked, place)) is not None:
                return page
        raise self._error(
            self._met[-1],
            f"cannot be told from others: the server contradicts itself, or the {len(self._met)} items "
            "before it were deleted meanwhile",
        )

    def _begins_with_a_known_item(self, page: Page, place: int) -> bool:
        """Tell whether the page after an item that was met begins with one that was met behind it."""
        ids = [item.get("id") for item in page.items]
        return not ids or (ids[0] in list(self._met)[place + 1 :] and self._is_behind(page, place))

    def _is_behind(self, page: Page, place: int) -> bool:
        """Tell whether a page shows nothing that was met up to an item."""
        return set(list(self._met)[: place + 1]).isdisjoint(item.get("id") for item in page.items)

    async def _page_one(self, locked: LockedConversation) -> Page | None:
        """Return the first page if it can be gone on with: all that precedes was met, or nothing is left."""
        page = await _read(locked, None, self._met)
        if page is None or not (self._is_whole or not page.items):
            return None
        goes_on = not {item.get("id") for item in page.items}.issubset(self._met)
        return page if goes_on or not page.has_more else None

    async def _genuine_page(self, locked: LockedConversation, place: int) -> Page | None:
        """Return the page after an item that is there: then the server has not begun again at page one.

        What is there after the listing was there during it.
        """
        cursor = str(self._met[place])
        page = await _read(locked, cursor, self._met)
        if page is None or not self._is_behind(page, place):
            return None
        return page if await locked.client.has_item(locked.conversation_id, cursor) else None

    def _taken_up(self, page: Page) -> list[Item]:
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


def _further_and_further_back(met: int) -> Iterator[int]:
    """Yield the places of the items behind which to ask, the last but one first."""
    back = 2
    while back <= met:
        yield met - back
        back = 2 * back - 1


async def _read(locked: LockedConversation, cursor: str | None, met: Collection[object]) -> Page | None:
    """Return a page without items that are gone or unwanted; None when the cursor is not known."""
    for reads_left in reversed(range(_READS)):
        page = await _listed(locked, cursor)
        if page is None:
            return None
        hidden = locked.known.tail.gone | locked.known.unwanted
        items = tuple(item for item in page.items if item.get("id") not in hidden)
        leads_nowhere = page.has_more and all(item.get("id") in met for item in items)
        is_odd = leads_nowhere or len(items) < len(page.items)
        if not is_odd or not reads_left:
            return Page(items, page.has_more, page.last_id)
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
