"""Processes without OpenTelemetry, without providers, and with an old API."""

from __future__ import annotations

import os
import textwrap

import pytest

import openai_sessions
from tests import programs

USE = """
import asyncio
from openai_sessions import OpenAIConversationsSession
from openai_sessions.emulator import Emulator

async def use():
    with Emulator() as emulator:
        async with emulator.client() as client, OpenAIConversationsSession(openai_client=client) as session:
            await session.add_items([{"role": "user", "content": "Hello"}])
            assert [item async for item in session.iterate_items()] == await session.get_items()
            assert await session.pop_item() == {"role": "user", "content": "Hello"}
            await session.clear_session()
"""

REFUSE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
"""


def run(*parts):
    """Run a program in a separate process, with warnings as errors; return its output."""
    program = "\n".join(map(textwrap.dedent, parts))
    finished = programs.run("-W", "error", "-c", program, env=os.environ, imported=programs.OF_OPENAI)
    assert finished.stderr == ""
    return finished.stdout


def test_session_works_without_opentelemetry():
    program = """
        asyncio.run(use())
        try:
            import openai_sessions.telemetry
        except ModuleNotFoundError as error:
            print(error)
    """
    assert run(REFUSE, USE, program) == "No module named 'opentelemetry'\n"


@pytest.mark.exhaustive
def test_telemetry_is_loaded_and_used_once_a_provider_is_set():
    """Each step uses a session: alone, with the Agents SDK, which imports the API, and with providers."""
    program = """
        import json, sys

        def loaded():
            return [name for name in sys.modules if "telemetry" in name]

        asyncio.run(use())
        print(loaded())

        import agents
        from opentelemetry import metrics, trace
        asyncio.run(use())
        print("openai_sessions.telemetry" in sys.modules, "opentelemetry.sdk" in sys.modules)

        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
        metrics.set_meter_provider(MeterProvider([reader]))
        asyncio.run(use())
        (metered,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
        print(metered.scope.name, sorted(metric.name for metric in metered.metrics))

        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        asyncio.run(use())
        (scope,) = {span.instrumentation_scope for span in exporter.get_finished_spans()}
        print(scope.name, scope.version, [span.name for span in exporter.get_finished_spans()])
    """
    metrics = ["gen_ai.client.operation.duration", "openai_sessions.items", "openai_sessions.requests"]
    spans = ["create_memory", "search_memory", "search_memory", "delete_memory", "delete_memory_store"]
    assert run(USE, program).splitlines() == [
        "[]",
        "False False",
        f"openai_sessions {metrics}",
        f"openai_sessions {openai_sessions.__version__} {spans}",
    ]


def test_environment_with_an_unknown_provider_is_ignored():
    program = """
        import logging, os
        logging.disable()
        os.environ["OTEL_PYTHON_TRACER_PROVIDER"] = os.environ["OTEL_PYTHON_METER_PROVIDER"] = "none such"
        from opentelemetry import metrics, trace
        asyncio.run(use())
        print("done")
    """
    assert run(USE, program) == "done\n"


NO_METRICS = """
import sys
from opentelemetry import trace
sys.modules["opentelemetry.metrics"] = None

class Provider(trace.NoOpTracerProvider):
    pass

trace.set_tracer_provider(Provider())
"""

NO_BOUNDARIES = """
from opentelemetry import metrics, trace

class OldMeter:
    def create_histogram(self, name, unit="", description=""):
        pass

metrics.get_meter = lambda *_: OldMeter()

class Provider(trace.NoOpTracerProvider):
    pass

trace.set_tracer_provider(Provider())
"""


@pytest.mark.parametrize(
    "old", [pytest.param(NO_METRICS, id="no metrics"), pytest.param(NO_BOUNDARIES, id="no boundaries")]
)
def test_too_old_api_is_logged_and_ignored(old):
    """Before 1.30 a histogram had no boundaries advisory; before 1.12 there were no metrics."""
    program = """
        import logging, sys
        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        asyncio.run(use())
    """
    first_line = run(old, USE, program).splitlines()[0]
    assert first_line == "no telemetry: install opentelemetry-api 1.30 or newer"
