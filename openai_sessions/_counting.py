"""Which runs were counted in which conversation, so that each is counted once.

A total that is read and written back can be overwritten: by a process without the lock, or by an
earlier request that the server applies late. Each count has an id, which the stored record names for
a while. A count of this process that should be named and is not was overwritten, and is made again.
"""

from __future__ import annotations

import secrets
import threading
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from openai_sessions._conversation import Conversation
from openai_sessions._usage import Usage, UsageRecord


@dataclass(slots=True, eq=False)
class Count:
    """One addition to the total of a conversation.

    Attributes:
        usage: What is added.
        number: Which count of the conversation it is; the lowest of all places that it was ever sent for.
        is_stored: Whether it was seen in the total. One that is gone from there was overwritten.
        count_id: How the record names it.
    """

    usage: Usage
    number: int = 0
    is_stored: bool = False
    count_id: str = field(default_factory=lambda: secrets.token_hex(4))


@dataclass(slots=True, eq=False)
class CountedRun:
    """How far one run was counted in one conversation.

    Attributes:
        seen: What the run had used when it was last counted.
        counts: Its counts that were sent, as far as they are not known to be stored.
    """

    seen: Usage = field(default_factory=Usage)
    counts: list[Count] = field(default_factory=list)

    @property
    def unconfirmed(self) -> list[Count]:
        """The counts of which it is not known whether they are stored."""
        return [count for count in self.counts if not count.is_stored]

    def note(self, count: Count, seen: Usage) -> None:
        """Take up that a count is being sent."""
        self.counts[:] = [*self.unconfirmed, count]
        self.seen = seen


class RecentCounts:
    """The newest counts that this process has made in one conversation."""

    def __init__(self) -> None:
        self._counts: list[Count] = []

    @property
    def newest(self) -> int:
        """The number of the newest one, or 0."""
        return max((count.number for count in self._counts), default=0)

    def add(self, counts: Iterable[Count]) -> None:
        """Take up counts, unless they are known."""
        self._counts += [count for count in counts if count not in self._counts]

    def missing_in(self, record: UsageRecord | None) -> list[Count]:
        """Return the counts that a record should name and does not.

        Those too old to be named are forgotten, and taken for stored. Where there is no record, it was
        removed: only what was never stored is missing then.
        """
        for count in self._counts:
            if record is not None:
                count.is_stored = count.count_id in record.last or not record.tells_of(count.number)
        self._counts = [count for count in self._counts if _may_be_missing(count, record)]
        return [count for count in self._counts if not count.is_stored]


def _may_be_missing(count: Count, record: UsageRecord | None) -> bool:
    return not count.is_stored if record is None else record.tells_of(count.number)


_runs: dict[int, tuple[weakref.ref[object], dict[str, CountedRun]]] = {}
"""The registry of the process: how far runs were counted, by the identity of a mark and the conversation id.
An entry lives as long as the mark."""

_recent: weakref.WeakKeyDictionary[Conversation, RecentCounts] = weakref.WeakKeyDictionary()
"""The registry of the process: the newest counts of each conversation that is in use."""

_guard = threading.Lock()


def counted_run(marks: Sequence[object], conversation_id: str) -> CountedRun:
    """Return how far a run was counted in a conversation.

    Args:
        marks: What tells the run from others, the best last: see `marks_of`. A run was counted as far as
            at the last one at which it was counted.
        conversation_id: The conversation.
    """
    with _guard:
        known = [_counted_at(mark).get(conversation_id) for mark in marks]
        if known[-1] is not None:
            return known[-1]
        before = next((run for run in reversed(known) if run is not None), CountedRun())
        run = CountedRun(before.seen, before.unconfirmed)
        for mark in marks[-2:]:
            _counted_at(mark)[conversation_id] = run
        return run


def _counted_at(mark: object) -> dict[str, CountedRun]:
    """Return how far a run was counted at a mark, by conversation.

    Nothing is kept of an object that has no weak references.
    """
    key = id(mark)
    if key not in _runs:
        try:
            _runs[key] = weakref.ref(mark, lambda _: _runs.pop(key, None)), {}
        except TypeError:
            return {}
    return _runs[key][1]


def recent_counts(conversation: Conversation) -> RecentCounts:
    """Return the newest counts that this process has made in a conversation."""
    with _guard:
        return _recent.setdefault(conversation, RecentCounts())
