"""The newest whole turns of a history."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import cache

from openai_sessions._arguments import (
    checked_count_tokens,
    checked_maximum,
)
from openai_sessions._conversation.locked import LockedConversation
from openai_sessions._conversation.reading import CursorGoneError, HistoryCache, ItemList, PageWalk
from openai_sessions._items.turns import Turn, TurnLimits
from openai_sessions._items.types import CountTokens, Item
from openai_sessions.tokens import tiktoken_counter


def _items_of(turns: Iterable[Turn]) -> list[Item]:
    return [item for turn in turns for item in turn.items]


def turn_limits(max_turns: object, max_tokens: object, count_tokens: CountTokens | None) -> TurnLimits:
    """Return the limits of a session's reads without arguments, as its constructor takes them.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: A limit is less than 1.
        ImportError: Tokens are to be counted by tiktoken, and it is not installed.
        VocabularyError: tiktoken could not fetch its vocabulary.
    """
    tokens = checked_maximum("max_tokens", max_tokens, "tokens")
    return TurnLimits(
        turns=checked_maximum("max_turns", max_turns, "turns"),
        tokens=tokens,
        count_tokens=checked_count_tokens(count_tokens) or (None if tokens is None else tiktoken_counter()),
    )


async def _newest_turns(
    locked: LockedConversation, limits: TurnLimits, history: HistoryCache | None
) -> list[Item]:
    """Return the newest whole turns as listed, read back from the newest page only as far as needed."""
    counting = replace(limits, count_tokens=limits.count_tokens and cache(limits.count_tokens))
    if history is None and not locked.known.in_doubt:
        with suppress(CursorGoneError):
            newest = await _walked_back(locked, counting)
            if newest is not None:
                return newest
    items = await locked.newest(None, history)
    return items[counting.start_of_newest(items, is_all=True) :]


async def _walked_back(locked: LockedConversation, limits: TurnLimits) -> list[Item] | None:
    """Return the newest whole turns; None when a page shows what this process has deleted."""
    walk = PageWalk(ItemList(locked.client, locked.conversation_id, "desc"))
    start = None
    items: list[Item] = []
    while start is None:
        await walk.step()
        items = list(walk.items.values())[::-1]
        start = limits.start_of_newest(items, is_all=walk.is_at_end)
    if not locked.known.tail.gone.isdisjoint(item.get("id") for item in items):
        return None
    locked.known.tail.learn(items, is_whole=walk.is_at_end)
    return items[start:]
