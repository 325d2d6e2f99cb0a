"""How many items travel in one request, and which stay together."""

from __future__ import annotations

from collections.abc import Sequence

from openai_sessions._pairing import partners
from openai_sessions._types import Item

MAX_ITEMS_PER_REQUEST = 20
"""The API's limit for one create request."""

MAX_PAGE_SIZE = 100
"""The API's limit for one page of a list."""


def batches(items: Sequence[Item]) -> list[list[Item]]:
    """Split items into requests of at most 20, in order.

    A call and its output, and a reasoning item and what follows it, stay in one request where they
    fit. Among the splits that tear the fewest such pairs, the one with the fewest requests is taken,
    and among those the one whose first requests are fullest.
    """
    ends = partners(items)
    best: list[tuple[int, int, int]] = [(0, 0, len(items))] * (len(items) + 1)
    for start in reversed(range(len(items))):
        best[start] = min(_cuts(start, ends, best))
    return _split(items, [-negative_end for _, _, negative_end in best])


def _cuts(
    start: int, ends: Sequence[list[int]], best: Sequence[tuple[int, int, int]]
) -> list[tuple[int, int, int]]:
    """Return for each end of a request from `start`: pairs torn, requests, and the end, negated."""
    cuts = []
    last = min(start + MAX_ITEMS_PER_REQUEST, len(ends))
    partners: list[int] = []
    for end in range(start + 1, last + 1):
        partners += ends[end - 1]
        torn = sum(partner >= end for partner in partners)
        cuts.append((torn + best[end][0], 1 + best[end][1], -end))
    return cuts


def _split(items: Sequence[Item], ends: Sequence[int]) -> list[list[Item]]:
    requests = []
    start = 0
    while start < len(items):
        requests.append(list(items[start : ends[start]]))
        start = ends[start]
    return requests
