"""What another process does to a conversation, as data, and what property tests draw it from.

READING_EXAMPLES=50 in the environment makes the property tests of this folder fifty times as long.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st

from tests.selection import examples

BENIGN = ("append", "newest", "clear")
"""The changes that an incremental read promises to see: items appended, popped, and all deleted."""

FURTHER_BACK = ("oldest", "middle", "page end", "around a page end")

KINDS = (*BENIGN, *FURTHER_BACK)


@dataclass(frozen=True)
class Change:
    """One thing that another process does.

    Attributes:
        kind: Items appended, or those that are deleted.
        count: How many.
        page: Of which page, for deletions at its end.
    """

    kind: str
    count: int = 1
    page: int = 0

    @property
    def is_benign(self) -> bool:
        return self.kind in BENIGN

    def deletes(self, labels: Sequence[str]) -> list[str]:
        """Return what is deleted of a history, oldest first."""
        if self.kind == "append":
            return []
        start, stop = {
            "newest": (max(0, len(labels) - self.count), len(labels)),
            "clear": (0, len(labels)),
            "oldest": (0, self.count),
            "middle": (len(labels) // 2, len(labels) // 2 + self.count),
            "page end": (100 * self.page + 99, 100 * self.page + 100),
            "around a page end": (100 * self.page + 99 - self.count // 2, 100 * self.page + 99 + self.count),
        }[self.kind]
        return list(labels[max(0, start) : stop])


def some(number: int) -> settings:
    """Return settings for so many examples, as `examples` counts them, times READING_EXAMPLES."""
    times = int(os.environ.get("READING_EXAMPLES", "1"))
    return settings(max_examples=times * examples(number), deadline=None)


def sizes(hundreds: int = 7) -> st.SearchStrategy[int]:
    """Return numbers of items, most of them about a multiple of a page."""
    about = st.builds(lambda pages, more: max(0, 100 * pages + more), st.integers(0, hundreds), OFFSETS)
    return about | about | st.integers(0, 100 * hundreds)


OFFSETS = st.sampled_from([0, 1, -1, 2, 50])


def changes(
    *, kinds: Sequence[str] = KINDS, counts: Sequence[int] = (1, 2, 30, 99, 100, 101, 150)
) -> st.SearchStrategy[Change]:
    return st.builds(Change, st.sampled_from(kinds), st.sampled_from(counts), st.integers(0, 6))


def moments(
    *,
    most: int = 3,
    latest: int = 24,
    kinds: Sequence[str] = KINDS,
    counts: Sequence[int] = (1, 2, 30, 99, 100, 101, 150),
) -> st.SearchStrategy[list[tuple[int, Change]]]:
    """Return changes, each with the step of a read before which it happens."""
    moment = st.tuples(st.integers(0, latest), changes(kinds=kinds, counts=counts))
    return st.lists(moment, min_size=1, max_size=most).map(
        lambda found: sorted(found, key=lambda pair: pair[0])
    )


ORDERS = st.lists(st.integers(0, 15), max_size=30)
"""Which of the requests under way is served or answered next; the oldest when nothing is said."""
