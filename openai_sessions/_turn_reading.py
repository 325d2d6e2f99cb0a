"""A history by its turns: read, searched, and read within limits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache

from openai_sessions import _agents
from openai_sessions._arguments import (
    checked_count_tokens,
    checked_limit,
    checked_maximum,
    checked_number,
    checked_text,
)
from openai_sessions._history import KnownHistory, copied
from openai_sessions._holding import Held
from openai_sessions._identity import Identity
from openai_sessions._items import to_replay
from openai_sessions._operations import operation
from openai_sessions._pages import CursorGoneError, Listing, Walk
from openai_sessions._settling import settle_all
from openai_sessions._turn_limits import CountTokens, TurnLimits
from openai_sessions._turns import Turn, split_turns
from openai_sessions._types import Item
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


class TurnHistory(Identity):
    """The part of a session that reads its history by turns."""

    _history: KnownHistory | None
    _turn_limits: TurnLimits
    """Those of reads without arguments."""

    @operation(arguments=["last"], gives="read", items=_items_of)
    async def turns(self, last: int | None = None) -> list[Turn]:
        """Return the turns of the history, oldest first: user messages, each with all that follows it.

        Two user messages in a row begin two turns. Where a user message stands between a call and its
        output, the two turns are one. What precedes the first user message is turn 0. Numbers count from the
        beginning, so that the whole history is read, however few are asked for.

        Args:
            last: How many of the newest turns; None for all. 0 and negative numbers give an empty list
                without a request.

        Raises:
            TypeError: `last` is not a whole number.
            ConversationNotFoundError: The server does not know the conversation.
            CursorError: The server's pages contradict each other.
            openai.OpenAIError: A request failed; transient failures were repeated in vain.
        """
        wanted = checked_number("last", last, "turns")
        if wanted is not None and wanted <= 0:
            return []

        async def read(held: Held) -> list[Item]:
            await settle_all(held)
            return await held.newest(None, self._history)

        turns = split_turns(self._own(await self._conversation.run(read) or []))
        return turns if wanted is None else turns[-wanted:]

    @operation(arguments=["case_sensitive"], gives="read", items=_items_of)
    async def find_turns(self, text: str, *, case_sensitive: bool = False) -> list[Turn]:
        """Return the turns that say something, oldest first; the whole history is read.

        Searched are the texts of all messages, whoever wrote them, the summaries of reasoning, and of calls
        and their outputs the names, the arguments and what they gave: what `openai_sessions.tokens.item_text`
        returns. Each text is searched by itself, without regard to its form: a `*` stands for itself.

        Args:
            text: What to look for; not empty.
            case_sensitive: Whether "Paris" is different from "PARIS".

        Raises:
            TypeError: The text is not a string.
            ValueError: The text is empty.
            ConversationNotFoundError: The server does not know the conversation.
            CursorError: The server's pages contradict each other.
            openai.OpenAIError: A request failed; transient failures were repeated in vain.
        """
        wanted = checked_text("text", text)
        return [turn for turn in await self.turns() if turn.says(wanted, case_sensitive=case_sensitive)]

    async def _limits_for(
        self, limit: int | None, turns: int | None, max_tokens: int | None, count_tokens: CountTokens | None
    ) -> TurnLimits | None:
        """Return the limits of a read, with those of the session where none is given; None for no turns."""
        given = TurnLimits(
            turns=checked_number("turns", turns, "turns"),
            tokens=checked_number("max_tokens", max_tokens, "tokens"),
        )
        if limit is None and given.turns is None and given.tokens is None:
            given = self._turn_limits
        count = checked_count_tokens(count_tokens)
        if count is not None and given.tokens is None:
            raise ValueError(
                "count_tokens= counts for max_tokens=, which is not given: give both, or neither"
            )
        if given.turns is None and given.tokens is None:
            return None
        if given.tokens is not None and count is None:
            count = self._turn_limits.count_tokens or await asyncio.to_thread(tiktoken_counter)
        items = checked_limit(_agents.limit_of(self.session_settings) if limit is None else limit)
        return replace(given, items=items, count_tokens=count)

    async def _read_turns(self, limits: TurnLimits) -> list[Item]:
        """Return the newest whole turns within limits, in replay form."""
        if limits.admit_nothing:
            return []

        async def read(held: Held) -> list[Item]:
            await settle_all(held)
            return await _newest_turns(held, limits, self._history)

        return to_replay(self._own(await self._conversation.run(read) or []))

    def _own(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return items that the caller may change: copies of those that the session keeps."""
        return items if self._history is None else list(copied(items))


async def _newest_turns(held: Held, limits: TurnLimits, history: KnownHistory | None) -> list[Item]:
    """Return the newest whole turns as listed, read back from the newest page only as far as needed."""
    counting = replace(limits, count_tokens=limits.count_tokens and cache(limits.count_tokens))
    if history is None and not held.known.doubts:
        with suppress(CursorGoneError):
            newest = await _walked_back(held, counting)
            if newest is not None:
                return newest
    items = await held.newest(None, history)
    return items[counting.start_of_newest(items, is_all=True) :]


async def _walked_back(held: Held, limits: TurnLimits) -> list[Item] | None:
    """Return the newest whole turns; None when a page shows what this process has deleted."""
    walk = Walk(Listing(held.gateway, held.conversation_id, "desc"))
    start = None
    items: list[Item] = []
    while start is None:
        await walk.step()
        items = list(walk.items.values())[::-1]
        start = limits.start_of_newest(items, is_all=walk.is_at_end)
    if not held.known.tail.gone.isdisjoint(item.get("id") for item in items):
        return None
    held.known.tail.learn(items, is_whole=walk.is_at_end)
    return items[start:]
