"""Decorated methods, as an observer that records everything sees them."""

from __future__ import annotations

import sys
from contextlib import contextmanager

import pytest
from opentelemetry import metrics, trace

from openai_sessions._instrumentation import (
    Counted,
    _opentelemetry,
    current_observer,
    observed_by,
    one_or_none,
    operation,
)
from openai_sessions.telemetry._observer import Telemetry


class Notes:
    """An observer, and its only observation at a time."""

    def __init__(self):
        self.told = []

    def start(self, operation):
        self.told.append(f"{operation.name} {operation.arguments}")
        return self

    @contextmanager
    def entered(self):
        self.told.append("in")
        yield
        self.told.append("out")

    def tell(self, event):
        self.told.append(event)

    def end(self, error):
        self.told.append(f"end {error!r}")


class Counter:
    """Something with operations."""

    conversation_id = None

    @operation(arguments=["end"]).stream
    async def numbers(self, end):
        for number in range(end):
            yield number

    @operation(arguments=["end"])
    async def listed(self, end):
        return [number async for number in self.numbers(end)]

    @operation(gives="read", items=one_or_none).stream
    async def failing(self, end):
        yield end
        raise LookupError


async def test_a_stream_is_in_its_operation_only_while_it_computes_an_item():
    notes = Notes()
    with observed_by(notes):
        async for number in Counter().numbers(2):
            notes.told.append(number)
    assert notes.told == ["numbers {'end': 2}", "in", "out", 0, "in", "out", 1, "in", "out", "end None"]


async def test_a_stream_inside_an_operation_is_part_of_it():
    notes = Notes()
    with observed_by(notes):
        assert await Counter().listed(3) == [0, 1, 2]
    assert notes.told == ["listed {'end': 3}", "in", "end None", "out"]


async def test_a_stream_that_fails():
    notes = Notes()
    with observed_by(notes), pytest.raises(LookupError):
        assert [number async for number in Counter().failing(1)] == []
    assert notes.told[-2:] == [Counted("read", 1), "end LookupError()"]


async def test_arguments_that_do_not_fit_are_refused_by_the_method():
    notes = Notes()
    with observed_by(notes), pytest.raises(TypeError, match=r"listed\(\) missing 1 required"):
        await Counter().listed()
    assert notes.told == []


class Provider(trace.NoOpTracerProvider):
    """A provider that is not the API's own."""


@pytest.fixture
def no_providers(monkeypatch):
    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    monkeypatch.setattr(metrics, "get_meter_provider", metrics.NoOpMeterProvider)


@pytest.mark.usefixtures("no_providers")
def test_there_is_no_observer_while_opentelemetry_has_no_provider():
    assert current_observer() is None


def test_there_is_no_observer_while_opentelemetry_is_not_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)
    assert current_observer() is None


@pytest.mark.usefixtures("no_providers")
def test_opentelemetry_observes_once_it_has_a_provider(monkeypatch):
    monkeypatch.setattr(trace, "get_tracer_provider", Provider)
    assert isinstance(current_observer(), Telemetry)


def test_telemetry_that_cannot_be_imported_is_logged(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "openai_sessions.telemetry", None)
    assert _opentelemetry.__wrapped__() is None
    assert caplog.messages == ["no telemetry: install opentelemetry-api 1.30 or newer"]
