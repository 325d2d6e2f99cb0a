"""How much of a history a read returns: the newest whole turns within limits; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from openai_sessions._item_texts import item_text
from openai_sessions._items import replay_form
from openai_sessions._turns import turn_starts
from openai_sessions._types import Item

CountTokens = Callable[[str], int]
"""Returns how many tokens a text takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnLimits:
    """The most that a read returns. Each limit that is not None holds.

    Attributes:
        turns: Turns; what precedes the first user message is one.
        tokens: Tokens of the texts of items.
        items: Items.
        count_tokens: Counts the tokens of a text; not None where tokens are limited.
    """

    turns: int | None = None
    tokens: int | None = None
    items: int | None = None
    count_tokens: CountTokens | None = None

    @property
    def admit_nothing(self) -> bool:
        """Whether no item is within the limits."""
        return any(limit is not None and limit <= 0 for limit in (self.turns, self.tokens, self.items))

    def start_of_newest(self, items: Sequence[Item], *, is_all: bool) -> int | None:
        """Return where the newest whole turns within the limits begin; None when more must be known.

        Args:
            items: The newest items as listed, oldest first.
            is_all: Whether nothing precedes them.
        """
        start = counted = len(items)
        tokens = 0
        for number, (candidate, is_certain) in enumerate(_candidates(items, is_all=is_all), 1):
            if _exceeds(number, self.turns) or _exceeds(len(items) - candidate, self.items):
                return start
            if self.tokens is not None and self.count_tokens is not None:
                tokens += _counted(items[max(0, candidate) : counted], self.count_tokens)
                counted = max(0, candidate)
                if tokens > self.tokens:
                    return start
            if not is_certain:
                return None
            start = candidate
        return start


def _candidates(items: Sequence[Item], *, is_all: bool) -> list[tuple[int, bool]]:
    """Return where turns begin or may begin, the newest first, and whether each is certain.

    The last is what precedes the first user message, or, at -1, a turn that begins before the items.
    """
    starts = turn_starts(items, is_all=is_all)
    if not is_all:
        return [*starts, (-1, False)]
    return starts if not items or (starts and starts[-1][0] == 0) else [*starts, (0, True)]


def _exceeds(number: int, limit: int | None) -> bool:
    return limit is not None and number > limit


def _counted(items: Sequence[Item], count_tokens: CountTokens) -> int:
    total = 0
    for item in items:
        tokens: object = count_tokens(item_text(replay_form(item)))
        if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
            raise TypeError(f"count_tokens returns a number of tokens, 0 or more, not {tokens!r}")
        total += tokens
    return total
