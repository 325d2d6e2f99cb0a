"""The items themselves, recorded only where the application asks for it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

from opentelemetry import metrics, trace
from opentelemetry.metrics import Meter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from openai_sessions._instrumentation import (
    Counted,
    Event,
    Handled,
    Reconciled,
    Requested,
    Retried,
    SessionOperation,
)
from openai_sessions._items.forms import NotJSONError, plain_json
from openai_sessions.telemetry import _names

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The variable by which the instrumentations of OpenTelemetry are asked for contents."""

_ON_SPANS = frozenset({"true", "span_only", "span_and_event"})


def is_captured(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether contents are to be recorded on spans."""
    return environ.get(CAPTURE, "").strip().lower() in _ON_SPANS


def as_records(items: Iterable[object]) -> str:
    """Return items as the convention has the records of a memory: JSON, each item the content of one."""
    return json.dumps([{"content": _content(item)} for item in items], ensure_ascii=False)


def _content(item: object) -> object:
    try:
        return plain_json(item)
    except NotJSONError:  # the operation refuses it
        return None


CANCELLED = "cancelled"


def error_type(error: BaseException) -> str:
    """Return the canonical name of an error, such as "openai.RateLimitError", or that it was cancelled."""
    if isinstance(error, asyncio.CancelledError):
        return CANCELLED
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def description(error: BaseException) -> str | None:
    """Return what is said of the status of a span: never the message, as that of the API may quote items."""
    if isinstance(error, asyncio.CancelledError):
        return CANCELLED
    status = status_code(getattr(error, "response", None))
    return None if status is None else f"HTTP {status}"


def status_code(response: object) -> int | None:
    """Return the status of an answer; None where there is none."""
    status = getattr(response, "status_code", None)
    return status if isinstance(status, int) else None


Attributes = Mapping[str, str | int | float]


class Instruments:
    """What a meter counts and measures."""

    def __init__(self, meter: Meter) -> None:
        self._duration = meter.create_histogram(
            _names.DURATION_METRIC,
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_names.DURATION_BUCKETS,
        )
        self._requests = meter.create_counter(
            _names.REQUESTS, unit="{request}", description="Requests that have ended."
        )
        self._retries = meter.create_counter(
            _names.RETRIES, unit="{retry}", description="Requests that were to be sent again."
        )
        self._reconciliations = meter.create_counter(
            _names.RECONCILIATIONS,
            unit="{reconciliation}",
            description="Steps of looking for writes whose outcome was unknown, and of undoing writes.",
        )
        self._items = meter.create_counter(
            _names.ITEMS, unit="{item}", description="Items that were read, written or deleted."
        )

    def operation(self, seconds: float, attributes: Attributes) -> None:
        """Take up an operation that has ended."""
        self._duration.record(seconds, attributes)

    def request(self, attributes: Attributes) -> None:
        """Count a request."""
        self._requests.add(1, attributes)

    def retry(self, attributes: Attributes) -> None:
        """Count a retry."""
        self._retries.add(1, attributes)

    def reconciliation(self, attributes: Attributes) -> None:
        """Count a step of a reconciliation."""
        self._reconciliations.add(1, attributes)

    def items(self, number: int, attributes: Attributes) -> None:
        """Count items."""
        self._items.add(number, attributes)


Attributes_observer = dict[str, str | int | float]

_ABOUT = ("read", "deleted")
"""What the count of records is, of an operation that neither takes nor returns items."""


class Telemetry:
    """Observe operations as spans and metrics.

    Args:
        tracer_provider: Takes the spans; None for the global one.
        meter_provider: Takes the metrics; None for the global one.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        release = _version()
        self._tracer = trace.get_tracer(_names.INSTRUMENTATION, release, tracer_provider)
        meter = metrics.get_meter(_names.INSTRUMENTATION, release or "", meter_provider)
        self._instruments = Instruments(meter)

    def begin(self, operation: SessionOperation) -> ObservedSpan:
        """Return a span, begun, of an operation that begins."""
        name = _names.operation_name(operation.name, operation.arguments)
        span = self._tracer.start_span(
            name,
            kind=SpanKind.CLIENT,
            attributes={
                _names.OPERATION_NAME: name,
                _names.PROVIDER_NAME: "openai",
                _names.OWN_OPERATION: operation.name,
                **_conversation(operation.subject.conversation_id),
                **{f"openai_sessions.{key}": _plain(value) for key, value in operation.arguments.items()},
            },
        )
        return ObservedSpan(span, self._instruments, operation, name)


class ObservedSpan:
    """An operation as a span, which is the current one while the operation goes on."""

    def __init__(self, span: Span, instruments: Instruments, operation: SessionOperation, name: str) -> None:
        self._span = span
        self._instruments = instruments
        self._subject = operation.subject
        self._common: Attributes_observer = {_names.OPERATION_NAME: name, _names.PROVIDER_NAME: "openai"}
        self._had = operation.subject.conversation_id
        self._counts: Counter[str] = Counter()
        self._handled_items: int | None = None
        self._begun_at = time.perf_counter()

    def entered(self) -> AbstractContextManager[object]:
        """Return a context manager in which the span is the current one."""
        return trace.use_span(self._span, record_exception=False, set_status_on_exception=False)

    def tell(self, event: Event) -> None:
        """Record an event of the operation."""
        if isinstance(event, Requested):
            self._requested(event)
        elif isinstance(event, Retried):
            self._retried(event)
        elif isinstance(event, Reconciled):
            self._reconciled(event)
        elif isinstance(event, Counted):
            self._counts[f"{_names.ITEMS}.{event.action}"] += event.items
            self._instruments.items(event.items, {**self._common, _names.ITEMS_ACTION: event.action})
        else:
            self._handled(event)

    def end(self, error: BaseException | None) -> None:
        """End the span, and record how long the operation took."""
        seconds = time.perf_counter() - self._begun_at
        attributes = dict(self._common)
        if error is not None:
            attributes[_names.ERROR_TYPE] = error_type(error)
            self._span.set_status(Status(StatusCode.ERROR, description(error)))
        self._instruments.operation(seconds, attributes)
        self._span.set_attributes(
            {
                **attributes,
                **self._counts,
                **_conversation(self._subject.conversation_id or self._had),
                **self._record_count(),
            }
        )
        self._span.end()

    def _record_count(self) -> dict[str, int]:
        """Return how many items the operation is about: those given or returned, else read or deleted."""
        counts = [self._handled_items, *(self._counts.get(f"{_names.ITEMS}.{does}") for does in _ABOUT)]
        known = [count for count in counts if count is not None]
        return {_names.RECORD_COUNT: known[0]} if known else {}

    def _requested(self, event: Requested) -> None:
        self._common.update(_server(event.base_url))
        response = getattr(event.error, "response", None) if event.response is None else event.response
        attributes = _request(event, response)
        self._counts[_names.REQUESTS] += 1
        if event.name == _names.LIST_ITEMS and event.error is None:
            self._counts[_names.PAGES] += 1
        self._instruments.request({**self._common, **attributes})
        attributes[_names.REQUEST_NAME] = event.name
        attributes[_names.REQUEST_DURATION] = event.seconds
        if event.attempt > 1:
            attributes[_names.RESEND_COUNT] = event.attempt - 1
        request_id = None if response is None else response.headers.get("x-request-id")
        self._span.add_event(
            _names.REQUEST_EVENT, {**attributes, **({_names.REQUEST_ID: [request_id]} if request_id else {})}
        )

    def _retried(self, event: Retried) -> None:
        attributes: Attributes_observer = {
            _names.RETRY_REQUEST: event.operation,
            _names.RETRY_OUTCOME: event.outcome,
        }
        self._counts[_names.RETRIES] += 1
        self._instruments.retry({**self._common, **attributes})
        self._span.add_event(
            _names.RETRY_EVENT,
            {**attributes, _names.RETRY_ATTEMPT: event.attempt, _names.RETRY_WAIT: event.wait},
        )

    def _reconciled(self, event: Reconciled) -> None:
        attributes: Attributes_observer = {_names.RECONCILIATION_RESULT: event.result}
        self._counts[_names.RECONCILIATIONS] += 1
        self._instruments.reconciliation({**self._common, **attributes})
        self._span.add_event(
            _names.RECONCILIATION_EVENT, {**attributes, _names.RECONCILIATION_ITEMS: event.items}
        )

    def _handled(self, event: Handled) -> None:
        self._handled_items = len(event.items)
        if self._span.is_recording() and is_captured():
            self._span.set_attribute(_names.RECORDS, as_records(event.items))


def _conversation(conversation_id: str | None) -> dict[str, str]:
    if conversation_id is None:
        return {}
    return {_names.CONVERSATION_ID: conversation_id, _names.STORE_ID: conversation_id}


def _server(base_url: str) -> Attributes_observer:
    url = urlsplit(base_url)
    return {
        _names.SERVER_ADDRESS: url.hostname or "",
        _names.SERVER_PORT: url.port or (443 if url.scheme == "https" else 80),
    }


def _request(event: Requested, response: object) -> Attributes_observer:
    """Return what both the event and the metric say of a request."""
    attributes: Attributes_observer = {}
    if event.name in _names.ROUTES:
        method, path = _names.ROUTES[event.name]
        attributes[_names.REQUEST_METHOD] = method
        attributes[_names.URL_TEMPLATE] = urlsplit(event.base_url).path.rstrip("/") + path
    status = status_code(response)
    if status is not None:
        attributes[_names.STATUS_CODE] = status
    if event.error is not None:
        attributes[_names.ERROR_TYPE] = error_type(event.error) if status is None else str(status)
    return attributes


def _version(distribution: str = "openai-sessions") -> str | None:
    """Return the version of this library, for the scope of what is recorded; None in a bare copy of it."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _plain(value: object) -> str | int | float | bool:
    """Return what an attribute may hold of an argument."""
    return value if isinstance(value, (str, int, float, bool)) else type(value).__name__
