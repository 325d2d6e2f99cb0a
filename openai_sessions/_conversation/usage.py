"""The usage of runs, its cost, and its totals in the metadata of a conversation; each run is counted once.

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
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal
from functools import partial, reduce
from typing import Any

from openai_sessions._agents import responses_of_run
from openai_sessions._arguments import MAX_METADATA_VALUE, is_whole_number
from openai_sessions._conversation.locked import LockedConversation
from openai_sessions._conversation.metadata import check_room, replace_metadata
from openai_sessions.errors import InvalidUsageError, UnknownCostError

USAGE_KEY = "openai_sessions.usage"
"""The metadata key of a conversation's totals."""

WINDOW = 8
"""Number of counts whose ids a record keeps: only these are known to be in the total."""


LONG_INPUT = 272_000
"""The input tokens of a request above which OpenAI's models with a long context cost more."""

MAX_MODEL = 100
"""The maximum number of characters of a model's name."""


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Numbers of requests and tokens: see `Usage`."""

    requests: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0

    def numbers(self) -> tuple[int, ...]:
        """Return the numbers in the order of `COUNTS`."""
        return tuple(getattr(self, name) for name in COUNTS)


COUNTS = tuple(field.name for field in fields(TokenCounts))
"""The names of the numbers."""

_ZERO = TokenCounts().numbers()


@dataclass(frozen=True, slots=True)
class ModelUsage(TokenCounts):
    """The requests and tokens of one model: the numbers of a `Usage`, and the model.

    Attributes:
        model: The name of the model; "" if it is not known.
        long_input: Whether the requests had more than 272,000 input tokens each, for which OpenAI has higher
            prices.
    """

    model: str = ""
    long_input: bool = False

    @property
    def key(self) -> tuple[str, bool]:
        """Usages with the same key are added."""
        return self.model, self.long_input


@dataclass(frozen=True, slots=True)
class Usage(TokenCounts):
    """The requests and tokens of one run or of many; usages can be added.

    Attributes:
        requests: Requests to the model.
        input_tokens: Input tokens, including cached ones.
        cached_tokens: Input tokens read from the cache.
        cache_write_tokens: Input tokens written to the cache.
        output_tokens: Output tokens, including reasoning.
        reasoning_tokens: Output tokens of reasoning.
        total_tokens: Input and output tokens, as reported by the API.
        models: The part of each model, ordered by name. Requests whose model is not known are in no part.
    """

    models: tuple[ModelUsage, ...] = ()

    @classmethod
    def of_run(cls, result: object, *, model: str | None = None) -> Usage | None:
        """Return the usage of a run of the Agents SDK so far, or of a response; None if its usage is None.

        Args:
            result: The result of `Runner.run` or `Runner.run_streamed`: its `context_wrapper.usage` is read.
                While a stream is being read, its last requests are missing. Or a `Response` of openai.
                Numbers and details that are None or missing count as 0.
            model: The model of all requests; None for the one that the response names, or that the agent
                has that made the request. The result of a run shows neither a model in `RunConfig` nor the
                model of an agent that is used as a tool.

        Raises:
            TypeError: It has no usage, a number there is not a whole number, or the model is not a string.
            ValueError: A number there is negative, or the model is empty, longer than 100 characters or not
                printable.
        """
        if model is not None:
            check_model(model)
        used = usage_object(result)
        return None if used is None else cls.of_models(_parts_of(result, used, model))

    @classmethod
    def of_models(cls, parts: Iterable[ModelUsage]) -> Usage:
        """Return the sum of the usages of models."""
        sums: dict[tuple[str, bool], tuple[int, ...]] = {}
        for part in parts:
            sums[part.key] = _add(sums.get(part.key, _ZERO), part.numbers())
        models = tuple(
            ModelUsage(**named(numbers), model=model, long_input=long_input)
            for (model, long_input), numbers in sorted(sums.items())
            if model and any(numbers)
        )
        return cls(**named(reduce(_add, sums.values(), _ZERO)), models=models)

    def parts(self) -> tuple[ModelUsage, ...]:
        """Return the part of each model, and last, with the model "", what is in none of them."""
        known = reduce(_add, (each.numbers() for each in self.models), _ZERO)
        rest = _subtract(self.numbers(), known)
        return (*self.models, ModelUsage(**named(rest))) if any(rest) else self.models

    def __add__(self, other: object) -> Usage:
        if not isinstance(other, Usage):
            return NotImplemented
        return Usage.of_models((*self.parts(), *other.parts()))

    def check(self) -> None:
        """Raise unless this usage can be stored.

        Raises:
            ValueError: A number is negative or not a whole number, the name of a model cannot be stored, or
                the models do not fit the total.
        """
        for each in (self, *self.models):
            for name, number in zip(COUNTS, each.numbers(), strict=True):
                if not _is_count(number):
                    raise ValueError(f"the usage has {name}={number!r}: give a whole number, 0 or more")
        for part in self.models:
            check_model(part.model)
        if self != Usage.of_models(self.parts()) or any(min(part.numbers()) < 0 for part in self.parts()):
            raise ValueError(
                "the models of the usage are not ordered by name, or have used more than its total: "
                "`Usage.of_models(models)` makes a usage of them"
            )

    def since(self, earlier: Usage) -> Usage:
        """Return the usage since an earlier state of the same run.

        If less is used now, the run has started again: all of its usage is new. If only one model has used
        less now, requests that were counted have another model now, and the model of the new ones is unknown.
        """
        differences = _subtract(self.numbers(), earlier.numbers())
        if min(differences) < 0:
            return self
        before = {part.key: part.numbers() for part in earlier.parts()}
        now = {part.key: part.numbers() for part in self.parts()}
        new = {
            key: _subtract(now.get(key, _ZERO), before.get(key, _ZERO)) for key in before.keys() | now.keys()
        }
        if any(min(numbers) < 0 for numbers in new.values()):
            return Usage(**named(differences))
        return Usage.of_models(
            ModelUsage(**named(numbers), model=model, long_input=long_input)
            for (model, long_input), numbers in new.items()
        )

    def cost(self, *, models: Mapping[str, str] | None = None, at: datetime | None = None) -> Decimal:
        """Return the price of the tokens in US dollars, from the price lists of the package genai-prices.

        These are the prices of OpenAI's standard service tier, and of other providers by the names of their
        models. Fees per call of hosted tools, discounts and taxes are not included.

        Args:
            models: For the name of a model the one whose price it has, as in {"my-deployment": "gpt-5.2"};
                "" for the requests whose model is not known.
            at: The prices of this time; a time without a zone is UTC. None for those of now.

        Returns:
            The sum, not rounded; 0 if nothing was used.

        Raises:
            UnknownCostError: A model has no price, or the model of some requests is not known. It has the
                cost of the others.
            ImportError: genai-prices is not installed.
        """
        known, unknown = Decimal(0), Counter[str]()
        for part in self.parts():
            try:
                known += _price(part, (models or {}).get(part.model, part.model), at)
            except (LookupError, ValueError):
                unknown[part.model] += part.requests
        if unknown:
            raise UnknownCostError(known, unknown)
        return known


def named(numbers: Iterable[int]) -> dict[str, Any]:
    """Return numbers in the order of `COUNTS` as arguments."""
    return dict(zip(COUNTS, numbers, strict=True))


def _add(first: Iterable[int], second: Iterable[int]) -> tuple[int, ...]:
    return tuple(map(operator.add, first, second))


def _subtract(first: Iterable[int], second: Iterable[int]) -> tuple[int, ...]:
    return tuple(map(operator.sub, first, second))


_SCALE = 12
"""The tokens of short inputs are divided by 10 to the power of this before they are priced, and the price is
multiplied: many short inputs do not have the price of a long one."""


def _price(part: ModelUsage, model: str, at: datetime | None) -> Decimal:
    """Return the price of what a model has used.

    Raises:
        LookupError: The model has no price.
        ValueError: More tokens are cached than there are.
        ImportError: genai-prices is not installed.
    """
    if not any((part.input_tokens, part.output_tokens, part.total_tokens)):
        return Decimal(0)  # requests that failed
    try:
        from genai_prices import Usage as Tokens  # noqa: PLC0415 - an extra, which takes 0.15 seconds
        from genai_prices import calc_price  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            "Usage.cost requires genai-prices: pip install 'openai-sessions[prices]'", name=error.name
        ) from error
    scale = 0 if part.long_input else _SCALE
    tokens = Tokens(
        input_tokens=Decimal(part.input_tokens).scaleb(-scale),
        cache_read_tokens=Decimal(part.cached_tokens).scaleb(-scale),
        cache_write_tokens=Decimal(part.cache_write_tokens).scaleb(-scale),
        output_tokens=Decimal(part.output_tokens).scaleb(-scale),
    )
    provider, _, name = model.partition("/") if "/" in model else ("", "", model)
    price = partial(calc_price, model_ref=name, provider_id=provider or None, genai_request_timestamp=at)
    of_a_request = price(Tokens()).total_price
    return (price(tokens).total_price - of_a_request).scaleb(scale) + of_a_request * part.requests


def check_model(model: object) -> None:
    """Reject what is not the name of a model.

    Raises:
        TypeError: It is not a string.
        ValueError: It is empty, too long, or not printable.
    """
    if not isinstance(model, str):
        raise TypeError(f"model must be a string, not {type(model).__name__}")
    if not _is_model(model):
        raise ValueError(
            f"model={model!r}: give the name of a model, of at most {MAX_MODEL} printable characters"
        )


def _is_model(name: str) -> bool:
    return 0 < len(name) <= MAX_MODEL and name.isprintable()


def usage_object(result: object) -> Any:
    """Return the object that counts the usage of a run of the Agents SDK or of a response, or None.

    Raises:
        TypeError: It is neither the result of a run nor a response.
    """
    try:
        return result.usage if _is_response(result) else result.context_wrapper.usage  # type: ignore[attr-defined]
    except AttributeError:
        raise TypeError(
            f"a {type(result).__name__} has no context_wrapper.usage: give the result of Runner.run, "
            "or of Runner.run_streamed once its events are read, or a response"
        ) from None


def _is_response(result: Any) -> bool:
    return hasattr(result, "usage") and isinstance(getattr(result, "model", None), str)


def _parts_of(result: Any, used: Any, model: str | None) -> list[ModelUsage]:
    """Return the usage of each request of a run or a response, and last what is in none of them."""
    if _is_response(result):
        total, requests = _numbers(used, requests=1), [(model or result.model, used)]
    else:
        total, requests = _numbers(used), _requests_of_run(result, used, model)
    parts = [_part(name, _numbers(each, requests=1)) for name, each in requests if each is not None]
    rest = reduce(_subtract, (part.numbers() for part in parts), total)
    if min(rest) < 0:  # the run does not have all of these requests
        return [ModelUsage(**named(total), model=model or "")]
    return [*parts, ModelUsage(**named(rest), model=model or "")]


def _requests_of_run(result: Any, used: Any, model: str | None) -> list[tuple[str, Any]]:
    """Return the model and the usage of each request of a run that is known."""
    if model is None:
        return [(name, response.usage) for name, response in responses_of_run(result)]
    return [(model, request) for request in getattr(used, "request_usage_entries", None) or ()]


def _part(model: str, numbers: Sequence[int]) -> ModelUsage:
    part = ModelUsage(**named(numbers))
    if not _is_model(model):
        return part
    return replace(part, model=model, long_input=part.input_tokens > LONG_INPUT)


def _numbers(used: object, *, requests: int = 0) -> tuple[int, ...]:
    """Return the numbers of a usage object of openai or the Agents SDK.

    Args:
        used: The object.
        requests: The number of requests, if the object does not have it.
    """
    inputs = getattr(used, "input_tokens_details", None)
    return TokenCounts(
        requests=_number(used, "requests") if hasattr(used, "requests") else requests,
        input_tokens=_number(used, "input_tokens"),
        cached_tokens=_number(inputs, "cached_tokens"),
        cache_write_tokens=_number(inputs, "cache_write_tokens"),
        output_tokens=_number(used, "output_tokens"),
        reasoning_tokens=_number(getattr(used, "output_tokens_details", None), "reasoning_tokens"),
        total_tokens=_number(used, "total_tokens"),
    ).numbers()


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
        """Return the record as a metadata value: compact JSON of at most 512 characters.

        If the models do not fit, those with the fewest requests are left out: the tokens are then among those
        whose model is not known.
        """
        total = self.total
        while len(value := self._json(total)) > MAX_METADATA_VALUE and total.models:
            fewest = min(total.models, key=lambda part: part.requests)
            total = replace(total, models=tuple(part for part in total.models if part != fewest))
        return value

    def _json(self, total: Usage) -> str:
        rows = [(part.model, int(part.long_input), *part.numbers()) for part in total.parts()]
        return json.dumps({"models": rows, "counts": self.counts, "last": self.last}, separators=(",", ":"))

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
        if not isinstance(parsed, dict) or parsed.keys() != {"models", "counts", "last"}:
            raise ValueError("it is not a JSON object with models, counts and last")
        models, counts, last = parsed["models"], parsed["counts"], parsed["last"]
        if not isinstance(models, list) or not all(map(_is_row, models)):
            raise ValueError(f"its models are not lists of a name, 0 or 1, and {len(COUNTS)} numbers")
        if not _is_count(counts):
            raise ValueError("its counts is not a whole number, 0 or more")
        if not isinstance(last, list) or not all(isinstance(count_id, str) for count_id in last):
            raise ValueError("its last is not a list of strings")
        parts = (
            ModelUsage(**named(numbers), model=name, long_input=bool(long)) for name, long, *numbers in models
        )
        return cls(Usage.of_models(parts), counts, tuple(last))


def _is_row(row: object) -> bool:
    """Return whether a value is the part of a model in a record."""
    if not isinstance(row, list) or len(row) != 2 + len(COUNTS):
        return False
    name, long, *numbers = row
    return isinstance(name, str) and long in (0, 1) and all(map(_is_count, numbers))


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
