"""The newest whole turns of a history, within limits of turns, tokens and items."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache

from openai_sessions._arguments import checked_maximum
from openai_sessions._conversation.counting import start_of_newest
from openai_sessions._conversation.locked import LockedConversation, settle_all
from openai_sessions._conversation.reading import CursorGoneError, HistoryCache, ItemList, PageWalk
from openai_sessions._items.turns import TurnLimits
from openai_sessions._items.types import CountTokens, Item
from openai_sessions.tokens import ServerTokens, checked_count_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLimits:
    """How much of a history the model sees: the newest whole turns within all limits.

    They apply to `get_items()` without arguments, which is how the Runner of the Agents SDK calls it, unless
    `session_settings` has a limit, which the Runner passes.

    A compaction item stands for everything before it, and OpenAI's guide to compaction allows to drop that.
    What is read starts at the newest one; at the messages directly before it that are not the assistant's,
    as `/responses/compact` returns these with it; or at a call before it whose output follows it. The items
    after it are limited as without it. If all of them are within the limits, it is kept with those before it:
    they count for `max_tokens`, but not as a turn, and the messages are left out if they are too long.

    Attributes:
        max_turns: Maximum number of turns; None for no limit.
        max_tokens: Maximum number of tokens, of the texts that `openai_sessions.tokens.item_text` returns, or
            of a whole request with `ServerTokens`; None for no limit.
        count_tokens: Returns the number of tokens of a text, or an `openai_sessions.tokens.ServerTokens`; by
            default tiktoken counts.
        from_compaction: Whether reads start at the newest compaction item; False for all items. Unlike the
            other limits, it applies too if `session_settings` has a limit, or turns or tokens are given.

    Raises:
        TypeError: A value is of the wrong type.
        ValueError: A limit is less than 1.
    """

    max_turns: int | None = None
    max_tokens: int | None = None
    count_tokens: CountTokens | ServerTokens | None = None
    from_compaction: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.from_compaction, bool):
            raise TypeError(f"from_compaction must be True or False, not {self.from_compaction!r}")
        checked_maximum("max_turns", self.max_turns, "turns")
        checked_maximum("max_tokens", self.max_tokens, "tokens")
        checked_count_tokens(self.count_tokens)


async def read_newest_turns(
    locked: LockedConversation, limits: TurnLimits, history: HistoryCache | None
) -> tuple[list[Item], bool]:
    """Return the newest whole turns as listed, and whether they are the whole history.

    They are read back from the newest page as far as needed; if neither turns nor tokens are limited, from
    both ends.
    """
    await settle_all(locked)
    count = limits.count_tokens
    counting = replace(limits, count_tokens=cache(count)) if callable(count) else limits
    if history is None and limits.are_of_turns:
        with suppress(CursorGoneError):
            newest = await _read_back(locked, counting)
            if newest is not None:
                return newest
    if limits.from_compaction:
        items, is_whole = await locked.from_compaction(history)
    else:
        items, is_whole = await locked.newest(None, history), True
    start = await start_of_newest(locked.client, counting, items, is_all=True)
    return items[start:], is_whole and start == 0


async def _read_back(locked: LockedConversation, limits: TurnLimits) -> tuple[list[Item], bool] | None:
    """Return the newest whole turns; None if a page shows items that this process has deleted."""
    walk = PageWalk(ItemList(locked.client, locked.conversation_id, "desc"))
    start = None
    items: list[Item] = []
    while start is None:
        await walk.step()
        items = list(walk.items.values())[::-1]
        start = await start_of_newest(locked.client, limits, items, is_all=walk.is_at_end)
    if not locked.known.tail.gone.isdisjoint(item.get("id") for item in items):
        return None
    locked.known.tail.learn(items, is_whole=walk.is_at_end)
    return items[start:], walk.is_at_end and start == 0
