"""What runs of a model have used, and how the total stands in a conversation's metadata; pure."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, fields
from typing import Any

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
