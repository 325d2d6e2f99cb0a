"""Spans and metrics recorded by the OpenTelemetry SDK, as plain values."""

from __future__ import annotations

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from openai_sessions.telemetry import use_providers

DURATION = "openai_sessions.request.duration"
REQUEST_ID = "http.response.header.x-request-id"


class Recording:
    """Providers that keep spans and metrics in memory."""

    def __init__(self):
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)

    def __enter__(self):
        self._using = use_providers(tracer_provider=self.tracer_provider, meter_provider=self.meter_provider)
        self._using.__enter__()
        return self

    def __exit__(self, *exception):
        self._using.__exit__(*exception)
        self.meter_provider.shutdown()
        self.tracer_provider.shutdown()

    @property
    def spans(self):
        """The ended spans, in the order in which they ended."""
        return self._exporter.get_finished_spans()

    def span(self, operation):
        """Return the one span of an operation."""
        (span,) = (s for s in self.spans if s.attributes.get("openai_sessions.operation") == operation)
        return span

    def forget(self):
        """Discard the spans recorded so far."""
        self._exporter.clear()

    def metrics(self):
        """Return the points of each metric by its name: pairs of attributes and a sum or a count."""
        data = self._reader.get_metrics_data()
        found = {}
        for scope in data.resource_metrics[0].scope_metrics if data else ():
            for metric in scope.metrics:
                found[metric.name] = list(metric.data.data_points)
        return found

    def counts(self, name, *attributes):
        """Return the sums of a counter, or the counts of a histogram, by the values of some attributes."""
        sums = {}
        for point in self.metrics().get(name, ()):
            key = tuple(point.attributes.get(attribute) for attribute in attributes)
            sums[key] = sums.get(key, 0) + (point.count if hasattr(point, "count") else point.value)
        return sums

    def everything(self):
        """Return all recorded spans and metrics as text."""
        data = self._reader.get_metrics_data()
        return "\n".join([*(span.to_json() for span in self.spans), data.to_json() if data else ""])


def attributes_of(span):
    """Return the attributes of a span, as a dict."""
    return dict(span.attributes)


def events_of(span):
    """Return the events of a span without durations and request ids, whose types are asserted."""
    told = []
    for event in span.events:
        attributes = dict(event.attributes)
        if event.name == "openai_sessions.request":
            assert isinstance(attributes.pop(DURATION), float)
            request_id = attributes.pop(REQUEST_ID, None)
            assert (request_id is None) == ("http.response.status_code" not in attributes)
            assert request_id is None or request_id[0].startswith("req_")
        told.append((event.name.removeprefix("openai_sessions."), attributes))
    return told


def request(name, method, path, status=None, **more):
    """Return the event of a request in the form of `events_of`."""
    attributes = {
        "openai_sessions.request.name": name,
        "http.request.method": method,
        "url.template": f"/v1/conversations{path}",
        **({} if status is None else {"http.response.status_code": status}),
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    return "request", attributes


def reconciliation(result, items):
    """Return the event of a reconciliation step in the form of `events_of`."""
    prefix = "openai_sessions.reconciliation."
    return "reconciliation", {f"{prefix}result": result, f"{prefix}items": items}


def retry(name, outcome, attempt, wait):
    """Return the event of a retry in the form of `events_of`."""
    prefix = "openai_sessions.retry."
    return "retry", {
        f"{prefix}request": name,
        f"{prefix}outcome": outcome,
        f"{prefix}attempt": attempt,
        f"{prefix}wait": wait,
    }
