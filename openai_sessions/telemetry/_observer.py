"""Record session operations as OpenTelemetry spans and metrics."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from urllib.parse import urlsplit

from opentelemetry import metrics, trace
from opentelemetry.metrics import Meter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from openai_sessions import __version__
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

Attributes = dict[str, str | int | float]

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The environment variable that enables content capture in OpenTelemetry instrumentations."""

_ON_SPANS = frozenset({"true", "span_only", "span_and_event"})

_CANCELLED = "cancelled"


class Telemetry:
    """Observe operations as spans and metrics.

    Args:
        tracer_provider: Receives the spans; None for the global provider.
        meter_provider: Receives the metrics; None for the global provider.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(_names.INSTRUMENTATION, __version__, tracer_provider)
        meter = metrics.get_meter(_names.INSTRUMENTATION, __version__, meter_provider)
        self._instruments = Instruments(meter)

    def start(self, operation: SessionOperation) -> ObservedSpan:
        """Start a span for an operation."""
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
    """An operation as a span, which is the current span while the operation runs."""

    def __init__(self, span: Span, instruments: Instruments, operation: SessionOperation, name: str) -> None:
        self._span = span
        self._instruments = instruments
        self._subject = operation.subject
        self._common: Attributes = {_names.OPERATION_NAME: name, _names.PROVIDER_NAME: "openai"}
        self._first_conversation_id = operation.subject.conversation_id
        self._counts: Counter[str] = Counter()
        self._handled_items: int | None = None
        self._started_at = time.perf_counter()

    def entered(self) -> AbstractContextManager[object]:
        """Return a context manager inside which the span is current."""
        return trace.use_span(self._span, record_exception=False, set_status_on_exception=False)

    def tell(self, event: Event) -> None:
        """Record an event of the operation."""
        if isinstance(event, Requested):
            self._record_request(event)
        elif isinstance(event, Retried):
            self._record_retry(event)
        elif isinstance(event, Reconciled):
            self._record_reconciliation(event)
        elif isinstance(event, Counted):
            self._counts[f"{_names.ITEMS}.{event.action}"] += event.items
            self._instruments.items.add(event.items, {**self._common, _names.ITEMS_ACTION: event.action})
        else:
            self._record_items(event)

    def end(self, error: BaseException | None) -> None:
        """End the span and record the duration of the operation."""
        seconds = time.perf_counter() - self._started_at
        attributes = dict(self._common)
        if error is not None:
            attributes[_names.ERROR_TYPE] = error_type(error)
            self._span.set_status(Status(StatusCode.ERROR, _description(error)))
        self._instruments.duration.record(seconds, attributes)
        self._span.set_attributes(
            {
                **attributes,
                **self._counts,
                **_conversation(self._subject.conversation_id or self._first_conversation_id),
                **self._record_count(),
            }
        )
        self._span.end()

    def _record_count(self) -> dict[str, int]:
        """Return the number of items given or returned; without these, of items read, else deleted."""
        counts = [
            self._handled_items,
            *(self._counts.get(f"{_names.ITEMS}.{action}") for action in ("read", "deleted")),
        ]
        known = [count for count in counts if count is not None]
        return {_names.RECORD_COUNT: known[0]} if known else {}

    def _record_request(self, event: Requested) -> None:
        self._common.update(_server(event.base_url))
        response = getattr(event.error, "response", None) if event.response is None else event.response
        attributes = _request(event, response)
        self._counts[_names.REQUESTS] += 1
        if event.name == _names.LIST_ITEMS and event.error is None:
            self._counts[_names.PAGES] += 1
        self._instruments.requests.add(1, {**self._common, **attributes})
        attributes[_names.REQUEST_NAME] = event.name
        attributes[_names.REQUEST_DURATION] = event.seconds
        if event.attempt > 1:
            attributes[_names.RESEND_COUNT] = event.attempt - 1
        request_id = None if response is None else response.headers.get("x-request-id")
        self._span.add_event(
            _names.REQUEST_EVENT, {**attributes, **({_names.REQUEST_ID: [request_id]} if request_id else {})}
        )

    def _record_retry(self, event: Retried) -> None:
        attributes: Attributes = {
            _names.RETRY_REQUEST: event.operation,
            _names.RETRY_OUTCOME: event.outcome,
        }
        self._counts[_names.RETRIES] += 1
        self._instruments.retries.add(1, {**self._common, **attributes})
        self._span.add_event(
            _names.RETRY_EVENT,
            {**attributes, _names.RETRY_ATTEMPT: event.attempt, _names.RETRY_WAIT: event.wait},
        )

    def _record_reconciliation(self, event: Reconciled) -> None:
        attributes: Attributes = {_names.RECONCILIATION_RESULT: event.result}
        self._counts[_names.RECONCILIATIONS] += 1
        self._instruments.reconciliations.add(1, {**self._common, **attributes})
        self._span.add_event(
            _names.RECONCILIATION_EVENT, {**attributes, _names.RECONCILIATION_ITEMS: event.items}
        )

    def _record_items(self, event: Handled) -> None:
        self._handled_items = len(event.items)
        if self._span.is_recording() and is_content_captured():
            self._span.set_attribute(_names.RECORDS, as_records(event.items))


class Instruments:
    """The counters and the histogram of a meter."""

    def __init__(self, meter: Meter) -> None:
        self.duration = meter.create_histogram(
            _names.DURATION_METRIC,
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_names.DURATION_BUCKETS,
        )
        self.requests = meter.create_counter(
            _names.REQUESTS, unit="{request}", description="Number of completed requests."
        )
        self.retries = meter.create_counter(
            _names.RETRIES, unit="{retry}", description="Number of retried requests."
        )
        self.reconciliations = meter.create_counter(
            _names.RECONCILIATIONS,
            unit="{reconciliation}",
            description="Number of reconciliation steps: finding writes of unknown outcome, undoing writes.",
        )
        self.items = meter.create_counter(
            _names.ITEMS, unit="{item}", description="Number of items read, written or deleted."
        )


def is_content_captured(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether items are recorded on spans."""
    return environ.get(CAPTURE, "").strip().lower() in _ON_SPANS


def as_records(items: Iterable[object]) -> str:
    """Return items as the convention's memory records: a JSON array of objects with `content`."""
    return json.dumps([{"content": _content(item)} for item in items], ensure_ascii=False)


def _content(item: object) -> object:
    try:
        return plain_json(item)
    except NotJSONError:  # the operation raises for this item
        return None


def error_type(error: BaseException) -> str:
    """Return the qualified name of an error, such as "openai.RateLimitError", or "cancelled"."""
    if isinstance(error, asyncio.CancelledError):
        return _CANCELLED
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _description(error: BaseException) -> str | None:
    """Return the status description of a span; never the error's message, which may quote an item."""
    if isinstance(error, asyncio.CancelledError):
        return _CANCELLED
    status = _status_code(getattr(error, "response", None))
    return None if status is None else f"HTTP {status}"


def _status_code(response: object) -> int | None:
    status = getattr(response, "status_code", None)
    return status if isinstance(status, int) else None


def _conversation(conversation_id: str | None) -> dict[str, str]:
    if conversation_id is None:
        return {}
    return {_names.CONVERSATION_ID: conversation_id, _names.STORE_ID: conversation_id}


def _server(base_url: str) -> Attributes:
    url = urlsplit(base_url)
    return {
        _names.SERVER_ADDRESS: url.hostname or "",
        _names.SERVER_PORT: url.port or (443 if url.scheme == "https" else 80),
    }


def _request(event: Requested, response: object) -> Attributes:
    """Return the attributes shared by the event and the metric of a request."""
    attributes: Attributes = {}
    if event.name in _names.ROUTES:
        method, path = _names.ROUTES[event.name]
        attributes[_names.REQUEST_METHOD] = method
        attributes[_names.URL_TEMPLATE] = urlsplit(event.base_url).path.rstrip("/") + path
    status = _status_code(response)
    if status is not None:
        attributes[_names.STATUS_CODE] = status
    if event.error is not None:
        attributes[_names.ERROR_TYPE] = error_type(event.error) if status is None else str(status)
    return attributes


def _plain(value: object) -> str | int | float | bool:
    """Return an argument as an attribute value; the type's name for values that are not scalars."""
    return value if isinstance(value, (str, int, float, bool)) else type(value).__name__
