"""What runs have used, kept in the metadata of their conversation; each run once."""

from __future__ import annotations

import json
import logging
import operator
import secrets
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, fields
from typing import Any

from openai_sessions._conversation.locked import LockedConversation
from openai_sessions._conversation.metadata import check_room, replace_metadata
from openai_sessions._conversation.state import Conversation
from openai_sessions.errors import InvalidUsageError

USAGE_KEY = "openai_sessions.usage"
"""The key of the metadata under which the total of a conversation is kept."""

WINDOW = 8
"""How many of the newest counts a record names. Whether an older one is in the total is not to be seen."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one run or many have used. Two may be added.

    Attributes:
        requests: Requests to the model.
        input_tokens: Tokens sent, those of the cache included.
        cached_tokens: Which of them were read from the cache.
        output_tokens: Tokens received, those of reasoning included.
        reasoning_tokens: Which of them were reasoning.
        total_tokens: Tokens sent and received, as the API says.
    """

    requests: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0

    @classmethod
    def of_run(cls, result: object) -> Usage | None:
        """Return what a run of the Agents SDK has used so far; None when its usage is None.

        Args:
            result: What `Runner.run` or `Runner.run_streamed` returned: its `context_wrapper.usage` is read.
                While a stream is read, the last requests are missing. Numbers and details that are None
                count as 0.

        Raises:
            TypeError: It has no `context_wrapper.usage`, or a number there is no whole number.
            ValueError: A number there is negative.
        """
        used = usage_object(result)
        if used is None:
            return None
        return cls(
            requests=_number(used, "requests"),
            input_tokens=_number(used, "input_tokens"),
            cached_tokens=_number(getattr(used, "input_tokens_details", None), "cached_tokens"),
            output_tokens=_number(used, "output_tokens"),
            reasoning_tokens=_number(getattr(used, "output_tokens_details", None), "reasoning_tokens"),
            total_tokens=_number(used, "total_tokens"),
        )

    def __add__(self, other: object) -> Usage:
        if not isinstance(other, Usage):
            return NotImplemented
        return Usage(*map(operator.add, astuple(self), astuple(other)))

    def check(self) -> None:
        """Do nothing if this can be kept.

        Raises:
            ValueError: A number is no whole number from 0.
        """
        for name, number in asdict(self).items():
            if not _is_count(number):
                raise ValueError(f"the usage has {name}={number!r}: give a whole number from 0")

    def since(self, earlier: Usage) -> Usage:
        """Return what has come since an earlier state of the same run.

        A run of which less was used than before has begun anew: all of it has come since.
        """
        differences = tuple(map(operator.sub, astuple(self), astuple(earlier)))
        return Usage(*differences) if min(differences) >= 0 else self


def usage_object(result: object) -> Any:
    """Return the object in which a run of the Agents SDK counts what it uses, or None.

    Raises:
        TypeError: It is not the result of a run.
    """
    try:
        return result.context_wrapper.usage  # type: ignore[attr-defined]
    except AttributeError:
        raise TypeError(
            f"a {type(result).__name__} has no context_wrapper.usage: give the result of Runner.run, "
            "or of Runner.run_streamed once its events are read"
        ) from None


def marks_of(result: object) -> list[object]:
    """Return the objects that tell a run from others: the one that counts last, before it the responses.

    A run that is resumed goes on with the same object that counts, or since openai-agents 0.24 with a copy;
    the model's responses until then are the same ones.
    """
    return [*(getattr(result, "raw_responses", None) or ()), usage_object(result)]


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _number(holder: object, name: str) -> int:
    value = getattr(holder, name, None)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"the usage of the run has {name}={value!r}, which is no whole number")
    if value < 0:
        raise ValueError(f"the usage of the run has {name}={value!r}, which is negative")
    return int(value)


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """The total of a conversation, and which counts it was last made of.

    Attributes:
        total: The sum of all counts.
        counts: How many there were. It jumps by `WINDOW` where the total is replaced, so that nobody
            takes what it held before for lost.
        last: The ids of the newest counts, oldest first; at most `WINDOW`.
    """

    total: Usage
    counts: int = 0
    last: tuple[str, ...] = ()

    def plus(self, count_id: str, usage: Usage) -> UsageRecord:
        """Return the record with one more count."""
        return UsageRecord(self.total + usage, self.counts + 1, (*self.last, count_id)[-WINDOW:])

    def replaced_by(self, total: Usage, *, behind: int = 0) -> UsageRecord:
        """Return the record with another total, made of no count that anybody knows.

        Args:
            total: The new total.
            behind: The number of a count that was begun, which is not to be added to it.
        """
        return UsageRecord(total, max(self.counts, behind) + WINDOW)

    def tells_of(self, number: int) -> bool:
        """Tell whether the count that was the `number`-th would be named if it were in the total."""
        return self.counts - number < WINDOW

    def as_value(self) -> str:
        """Return the record as a value of metadata, below 512 characters: compact JSON."""
        fields_of_json = {**asdict(self.total), "counts": self.counts, "last": self.last}
        return json.dumps(fields_of_json, separators=(",", ":"))

    @classmethod
    def from_value(cls, value: str) -> UsageRecord:
        """Return the record that a value of metadata holds.

        Raises:
            ValueError: It is no record. Says why.
        """
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("it is not JSON") from None
        numbers = (*(field.name for field in fields(Usage)), "counts")
        if not isinstance(parsed, Mapping) or parsed.keys() != {*numbers, "last"}:
            raise ValueError(f"it is no JSON object of {', '.join(numbers)} and last")
        if not all(_is_count(parsed[name]) for name in numbers):
            raise ValueError("a number of it is no whole number from 0")
        last = parsed["last"]
        if not isinstance(last, list) or not all(isinstance(count_id, str) for count_id in last):
            raise ValueError("its last is no list of strings")
        *used, counts = (parsed[name] for name in numbers)
        return cls(Usage(*used), counts, tuple(last))


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


logger = logging.getLogger("openai_sessions")


async def _count_run(locked: LockedConversation, marks: Sequence[object], total: Usage) -> bool:
    """Count what a run has used since it was counted last, in two requests or, when that is nothing, none."""
    counted = counted_run(marks, locked.conversation_id)
    since = total.since(counted.seen)
    if since == Usage() and not counted.unconfirmed:
        return True
    metadata = await locked.client.metadata_of(locked.conversation_id)
    record = _record_in(metadata, locked.conversation_id)
    recent = recent_counts(locked.known)
    recent.add(counted.unconfirmed)
    counts = recent.missing_in(record)
    if since != Usage():
        check_room(locked.conversation_id, {**metadata, USAGE_KEY: ""})
        count = Count(since)
        counted.note(count, total)
        recent.add([count])
        counts.append(count)
    if counts:
        await _write(locked, metadata, _with_counts(record, counts), counts)
    return True


async def _read_usage(locked: LockedConversation) -> Usage | None:
    metadata = await locked.client.metadata_of(locked.conversation_id)
    record = _record_in(metadata, locked.conversation_id)
    missing = recent_counts(locked.known).missing_in(record)
    if not missing:
        return record.total if record else None
    completed = _with_counts(record, missing)
    try:
        await _write(locked, metadata, completed, missing)
    except Exception as error:  # noqa: BLE001 -- the totals are known; the next operation tries again
        logger.warning("%s: a count could not be completed: %s", locked.conversation_id, type(error).__name__)
    return completed.total


async def _replace_usage(locked: LockedConversation, usage: Usage) -> bool:
    metadata = await locked.client.metadata_of(locked.conversation_id)
    try:
        before = _record_in(metadata, locked.conversation_id) or UsageRecord(Usage())
    except InvalidUsageError:
        before = UsageRecord(Usage())
    record = before.replaced_by(usage, behind=recent_counts(locked.known).newest)
    await _write(locked, metadata, record)
    return True


def _with_counts(record: UsageRecord | None, counts: Sequence[Count]) -> UsageRecord:
    """Return the record with more counts in it, and number these."""
    record = record or UsageRecord(Usage())
    for count in counts:
        record = record.plus(count.count_id, count.usage)
        count.number = min(count.number or record.counts, record.counts)
    return record


async def _write(
    locked: LockedConversation, metadata: Mapping[str, str], record: UsageRecord, counts: Sequence[Count] = ()
) -> None:
    after = {**metadata, USAGE_KEY: record.as_value()}
    check_room(locked.conversation_id, after)
    await replace_metadata(locked, after)
    for count in counts:
        count.is_stored = True


def _record_in(metadata: Mapping[str, str], conversation_id: str) -> UsageRecord | None:
    value = metadata.get(USAGE_KEY)
    if value is None:
        return None
    try:
        return UsageRecord.from_value(value)
    except ValueError as error:
        raise InvalidUsageError(conversation_id, value, str(error)) from None
