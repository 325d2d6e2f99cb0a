"""Reading a history in as few round trips as the API allows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from itertools import takewhile

from openai_sessions._gateway import Gateway
from openai_sessions._pages import CursorGoneError, Listing, PagesAhead, Walk
from openai_sessions._planning import MAX_PAGE_SIZE
from openai_sessions._types import Item
from openai_sessions.errors import CursorError

_MAX_RESTARTS = 5
"""How often a read begins again because the item that it had come to was deleted meanwhile."""


def page_ends(items: Sequence[Item]) -> tuple[str, ...]:
    """Return the ids at which the full pages of a whole history end that others follow."""
    ends = (items[index].get("id") for index in range(MAX_PAGE_SIZE - 1, len(items) - 1, MAX_PAGE_SIZE))
    return tuple(str(end) for end in takewhile(bool, ends))


async def read_all(gateway: Gateway, conversation_id: str, ends: Sequence[str] = ()) -> list[Item]:
    """Return the whole history as listed, oldest first, each id once.

    Where the pages of an earlier read ended, the pages of this one are asked for at once, and one
    whose predecessor no longer ends there is asked for anew: the result is one that reading page by
    page could have given. Otherwise the first page goes alone, and what follows it is read from both
    ends until they meet: items that are there throughout appear, once and in order; those added or
    deleted meanwhile may or may not.

    Args:
        gateway: The client.
        conversation_id: The conversation.
        ends: What `page_ends` gave for an earlier read.

    Raises:
        CursorError: The server's pages contradict each other.
    """
    if ends:
        oldest = Listing(gateway, conversation_id, "asc")
        try:
            return await _read_ahead(oldest, ends)
        except CursorGoneError:
            return await _walk(oldest, lambda _: MAX_PAGE_SIZE)
    return await _restarting(conversation_id, lambda: _read_from_both_ends(gateway, conversation_id))


async def read_newest(gateway: Gateway, conversation_id: str, limit: int) -> list[Item]:
    """Return the newest `limit` items or fewer as listed, oldest first, each id once.

    Raises:
        CursorError: The server's pages contradict each other.
    """
    newest = await _walk(Listing(gateway, conversation_id, "desc"), lambda items: limit - len(items))
    return newest[:limit][::-1]


async def read_newest_page(gateway: Gateway, conversation_id: str) -> tuple[list[Item], bool]:
    """Return the newest page of up to 100 items as listed, oldest first, and whether nothing precedes it."""
    walk = Walk(Listing(gateway, conversation_id, "desc"))
    await walk.step()
    return list(walk.items.values())[::-1], walk.is_at_end


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
    listing = Listing(gateway, conversation_id, "desc", exempt=True)
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


async def _walk(listing: Listing, wanted: Callable[[Collection[object]], int]) -> list[Item]:
    """Read page by page while more items are wanted, as `wanted` tells of the ids read so far."""

    async def read() -> list[Item]:
        walk = Walk(listing)
        while not walk.is_at_end and (size := wanted(walk.items.keys())) > 0:
            await walk.step(min(MAX_PAGE_SIZE, size))
        return list(walk.items.values())

    return await _restarting(listing.conversation_id, read)


async def _read_ahead(listing: Listing, ends: Sequence[str]) -> list[Item]:
    ahead = PagesAhead(listing, [None, *ends])
    try:
        return await _finish(Walk(listing, ahead))
    finally:
        await ahead.stop()


async def _finish(walk: Walk) -> list[Item]:
    while not walk.is_at_end:
        await walk.step()
    return list(walk.items.values())


async def _read_from_both_ends(gateway: Gateway, conversation_id: str) -> list[Item]:
    oldest = Walk(Listing(gateway, conversation_id, "asc"))
    newest = Walk(Listing(gateway, conversation_id, "desc"))
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


def _joined(oldest: Walk, newest: Walk) -> list[Item]:
    """Join two walks that have met at the newest item that both have met."""
    behind = takewhile(lambda item_id: item_id not in oldest.items, newest.items)
    return [*oldest.items.values(), *reversed([newest.items[item_id] for item_id in behind])]
