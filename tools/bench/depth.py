"""How many requests had to wait for each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from tools.bench.delayed import Exchange

_ITEMS = "/items"


def depth(exchanges: Iterable[Exchange]) -> int:
    """Return the length of the longest chain of exchanges, each begun after the one before had ended."""
    length, reached = 0, float("-inf")
    for exchange in sorted(exchanges, key=lambda each: each.ended):
        if exchange.started >= reached:
            length, reached = length + 1, exchange.ended
    return length


def depth_of_each(exchanges: Iterable[Exchange]) -> int | None:
    """Return the greatest depth within one of the conversations; None when a conversation was created.

    The request that creates one does not name it, so that nothing tells which chain it is part of.
    """
    chains: defaultdict[str, list[Exchange]] = defaultdict(list)
    for exchange in exchanges:
        conversation, _, _ = exchange.path.partition(_ITEMS)
        if conversation.endswith("/conversations"):
            return None
        chains[conversation].append(exchange)
    return max(map(depth, chains.values()), default=0)
