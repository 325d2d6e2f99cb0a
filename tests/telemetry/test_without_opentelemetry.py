"""Processes in which OpenTelemetry cannot be imported, is not imported, or has no providers."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

from tests.examples.stand_in import ROOT

pytestmark = pytest.mark.slow

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
    """Run a program in a process of its own, with warnings as errors; return what it prints."""
    program = "\n".join(map(textwrap.dedent, parts))
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.stderr == ""
    return finished.stdout


def test_a_session_works_where_opentelemetry_is_not_installed():
    program = """
        asyncio.run(use())
        try:
            import openai_sessions.telemetry
        except ModuleNotFoundError as error:
            print(error)
    """
    assert run(REFUSE, USE, program) == "No module named 'opentelemetry'\n"


def test_a_session_imports_nothing_of_opentelemetry_by_itself():
    program = """
        asyncio.run(use())
        import sys
        print([name for name in sys.modules if "telemetry" in name])
    """
    assert run(USE, program) == "[]\n"


def test_without_providers_nothing_comes_of_it():
    """The SDK is not needed, and the API then records nothing."""
    program = """
        from opentelemetry import trace
        asyncio.run(use())
        import sys
        print("openai_sessions.telemetry" in sys.modules, "opentelemetry.sdk" in sys.modules)
    """
    assert run("from opentelemetry import metrics", USE, program) == "False False\n"


def test_without_providers_the_agents_sdk_costs_nothing_of_it():
    """The Agents SDK imports the API by itself."""
    program = """
        import agents
        asyncio.run(use())
        import sys
        print("openai_sessions.telemetry" in sys.modules)
    """
    assert run(USE, program) == "False\n"


def test_a_provider_of_metrics_alone_is_enough():
    program = """
        from opentelemetry import metrics
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        reader = InMemoryMetricReader()
        metrics.set_meter_provider(MeterProvider([reader]))
        asyncio.run(use())
        (metered,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
        print(metered.scope.name)
    """
    assert run(USE, program) == "openai_sessions\n"


def test_an_environment_that_names_no_provider_harms_nothing():
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
def test_an_api_that_is_too_old_is_told_of_and_harms_nothing(old):
    """Before 1.30 a histogram took no advice of boundaries; before 1.12 there were no metrics."""
    program = """
        import logging, sys
        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        asyncio.run(use())
    """
    first_line = run(old, USE, program).splitlines()[0]
    assert first_line == "no telemetry: install opentelemetry-api 1.30 or newer"


def test_the_global_providers_are_used_when_they_are_set_before_or_after_the_first_operation():
    program = """
        from opentelemetry import metrics, trace
        asyncio.run(use())

        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        metrics.set_meter_provider(MeterProvider([reader]))
        asyncio.run(use())

        import json
        (scope,) = {span.instrumentation_scope for span in exporter.get_finished_spans()}
        (metered,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
        print(json.dumps({
            "scope": [scope.name, scope.version],
            "spans": [span.name for span in exporter.get_finished_spans()],
            "metrics": sorted(metric.name for metric in metered.metrics),
        }))
    """
    assert json.loads(run(USE, program)) == {
        "scope": ["openai_sessions", "0.1.0"],
        "spans": ["create_memory", "search_memory", "search_memory", "delete_memory", "delete_memory_store"],
        "metrics": [
            "gen_ai.client.operation.duration",
            "openai_sessions.items",
            "openai_sessions.requests",
        ],
    }
