"""The usage of runs, kept in the metadata of their conversation; each run is counted once.

The API can only replace all metadata at once. The session objects of a process, and processes that share a
lock, take turns, so that none of their counts is lost. Without a lock, two processes may overwrite each
other's totals, as may a request that the server applies long after its reply was lost.
"""

from __future__ import annotations

import json
import operator
import secrets
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, fields
from typing import Any

from openai_sessions._arguments import is_whole_number
from openai_sessions._conversation.locked import LockedConversation
from openai_sessions._conversation.metadata import check_room, replace_metadata
from openai_sessions.errors import InvalidUsageError

USAGE_KEY = "openai_sessions.usage"
"""The metadata key of a conversation's totals."""

WINDOW = 8
"""Number of counts whose ids a record keeps: only these are known to be in the total."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The requests and tokens of one run or of many; usages can be added.

    Attributes:
        requests: Requests to the model.
        input_tokens: Input tokens, including cached ones.
        cached_tokens: Input tokens read from the cache.
        output_tokens: Output tokens, including reasoning.
        reasoning_tokens: Output tokens of reasoning.
        total_tokens: Input and output tokens, as reported by the API.
    """

    requests: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0

    @classmethod
    def of_run(cls, result: object) -> Usage | None:
        """Return the usage of a run of the Agents SDK so far; None if its usage is None.

        Args:
            result: The result of `Runner.run` or `Runner.run_streamed`: its `context_wrapper.usage` is read.
                While a stream is being read, its last requests are missing. Numbers and details that are
                None count as 0.

        Raises:
            TypeError: It has no `context_wrapper.usage`, or a number there is not a whole number.
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
        """Raise unless this usage can be stored.

        Raises:
            ValueError: A number is negative or not a whole number.
        """
        for name, number in asdict(self).items():
            if not _is_count(number):
                raise ValueError(f"the usage has {name}={number!r}: give a whole number, 0 or more")

    def since(self, earlier: Usage) -> Usage:
        """Return the usage since an earlier state of the same run.

        If less is used now, the run has started again: all of its usage is new.
        """
        differences = tuple(map(operator.sub, astuple(self), astuple(earlier)))
        return Usage(*differences) if min(differences) >= 0 else self


def usage_object(result: object) -> Any:
    """Return the object in which a run of the Agents SDK counts its usage, or None.

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
    """Return the objects that identify a run: the model's responses, and last the object that counts usage.

    A resumed run continues with the same object that counts, or since openai-agents 0.24 with a copy; the
    responses up to then are the same objects.
    """
    return [*(getattr(result, "raw_responses", None) or ()), usage_object(result)]


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _number(holder: object, name: str) -> int:
    value = getattr(holder, name, None)
    if value is None:
        return 0
    if not is_whole_number(value):
        raise TypeError(f"the usage of the run has {name}={value!r}, which is not a whole number")
    if value < 0:
        raise ValueError(f"the usage of the run has {name}={value!r}, which is negative")
    return int(value)


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """The total of a conversation, and the ids of its newest counts.

    Attributes:
        total: The sum of all counts.
        counts: The number of counts. It grows by twice `WINDOW` when the total is replaced, so that no
            earlier count is taken for lost.
        last: The ids of the newest counts, oldest first; at most `WINDOW`.
    """

    total: Usage
    counts: int = 0
    last: tuple[str, ...] = ()

    def plus(self, count_id: str, usage: Usage) -> UsageRecord:
        """Return the record with one more count."""
        return UsageRecord(self.total + usage, self.counts + 1, (*self.last, count_id)[-WINDOW:])

    def replaced_by(self, total: Usage) -> UsageRecord:
        """Return the record with another total, after which every earlier count is taken for stored."""
        return UsageRecord(total, self.counts + 2 * WINDOW)

    def lacks(self, count: Count) -> bool:
        """Return whether a count is certainly not in the total.

        A count after which `WINDOW` others may have followed is taken for stored: nothing is counted twice.
        """
        return count.count_id not in self.last and self.counts - count.number < WINDOW

    def as_value(self) -> str:
        """Return the record as a metadata value: compact JSON of less than 512 characters."""
        fields_of_json = {**asdict(self.total), "counts": self.counts, "last": self.last}
        return json.dumps(fields_of_json, separators=(",", ":"))

    @classmethod
    def from_value(cls, value: str) -> UsageRecord:
        """Return the record in a metadata value.

        Raises:
            ValueError: It is not a record; says why.
        """
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("it is not JSON") from None
        numbers = (*(field.name for field in fields(Usage)), "counts")
        if not isinstance(parsed, Mapping) or parsed.keys() != {*numbers, "last"}:
            raise ValueError(f"it is not a JSON object with {', '.join(numbers)} and last")
        if not all(_is_count(parsed[name]) for name in numbers):
            raise ValueError("one of its numbers is negative or not a whole number")
        last = parsed["last"]
        if not isinstance(last, list) or not all(isinstance(count_id, str) for count_id in last):
            raise ValueError("its last is not a list of strings")
        *used, counts = (parsed[name] for name in numbers)
        return cls(Usage(*used), counts, tuple(last))


@dataclass(slots=True, eq=False)
class Count:
    """One addition to the total of a conversation.

    Attributes:
        usage: The usage to add.
        number: Its place among the counts of the conversation; the lowest one for which it was ever sent.
        count_id: Its id in the record.
    """

    usage: Usage
    number: int = 0
    count_id: str = field(default_factory=lambda: secrets.token_hex(4))


@dataclass(slots=True, eq=False)
class CountedRun:
    """How much of one run was counted in one conversation.

    Attributes:
        seen: The usage of the run when it was last counted.
        pending: Its counts that are not known to be stored.
    """

    seen: Usage = field(default_factory=Usage)
    pending: list[Count] = field(default_factory=list)


_runs: dict[int, tuple[weakref.ref[object], dict[str, CountedRun]]] = {}
"""The registry of the process: how much of each run was counted, by the identity of a mark and by the
conversation id. An entry lives as long as the mark."""

_guard = threading.Lock()


def counted_run(marks: Sequence[object], conversation_id: str) -> CountedRun:
    """Return how much of a run was counted in a conversation.

    Args:
        marks: The objects that identify the run, the best last: see `marks_of`. The last of them that was
            counted says how much.
        conversation_id: The conversation.
    """
    with _guard:
        known = [_counted_at(mark).get(conversation_id) for mark in marks]
        if known[-1] is not None:
            return known[-1]
        before = next((run for run in reversed(known) if run is not None), CountedRun())
        run = CountedRun(before.seen, list(before.pending))
        for mark in marks[-2:]:
            _counted_at(mark)[conversation_id] = run
        return run


def _counted_at(mark: object) -> dict[str, CountedRun]:
    """Return the counted runs of a mark, by conversation.

    Nothing is kept of an object without weak references.
    """
    key = id(mark)
    if key not in _runs:
        try:
            _runs[key] = weakref.ref(mark, lambda _: _runs.pop(key, None)), {}
        except TypeError:
            return {}
    return _runs[key][1]


async def count_run(locked: LockedConversation, marks: Sequence[object], total: Usage) -> bool:
    """Count the usage of a run since it was last counted, in two requests; in none if nothing is new."""
    counted = counted_run(marks, locked.conversation_id)
    since = total.since(counted.seen)
    if since == Usage() and not counted.pending:
        return True
    metadata = await locked.client.metadata_of(locked.conversation_id)
    before = _record_in(metadata, locked.conversation_id)
    counts = [count for count in counted.pending if before is None or before.lacks(count)]
    if since != Usage():
        check_room(locked.conversation_id, {**metadata, USAGE_KEY: ""})
        counts.append(Count(since))
    record = before or UsageRecord(Usage())
    for count in counts:
        record = record.plus(count.count_id, count.usage)
        count.number = min(count.number or record.counts, record.counts)
    counted.seen, counted.pending = total, counts
    if counts:
        await _store(locked, metadata, record)
        counted.pending = []
    return True


async def read_usage(locked: LockedConversation) -> Usage | None:
    """Return the totals, or None if nothing was counted."""
    record = _record_in(await locked.client.metadata_of(locked.conversation_id), locked.conversation_id)
    return record.total if record else None


async def replace_usage(locked: LockedConversation, usage: Usage) -> bool:
    """Replace the totals, whatever they are."""
    metadata = await locked.client.metadata_of(locked.conversation_id)
    try:
        before = _record_in(metadata, locked.conversation_id) or UsageRecord(Usage())
    except InvalidUsageError:
        before = UsageRecord(Usage())
    await _store(locked, metadata, before.replaced_by(usage))
    return True


async def _store(locked: LockedConversation, metadata: Mapping[str, str], record: UsageRecord) -> None:
    after = {**metadata, USAGE_KEY: record.as_value()}
    check_room(locked.conversation_id, after)
    await replace_metadata(locked, after)


def _record_in(metadata: Mapping[str, str], conversation_id: str) -> UsageRecord | None:
    value = metadata.get(USAGE_KEY)
    if value is None:
        return None
    try:
        return UsageRecord.from_value(value)
    except ValueError as error:
        raise InvalidUsageError(conversation_id, value, str(error)) from None
