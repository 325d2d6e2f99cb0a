"""Spans and metrics of session operations, by the GenAI conventions of OpenTelemetry.

There is nothing to call: once the application has set a global provider, each operation of a session is a
span of the global tracer provider and is counted by the global meter provider. `use_providers` is for
providers other than the global ones.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from openai_sessions._instrumentation import observed_by
from openai_sessions.telemetry._observer import Telemetry

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

__all__ = ["Telemetry", "use_providers"]


def use_providers(
    *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> AbstractContextManager[None]:
    """Send the telemetry of operations that begin inside a `with` block to these providers.

    It holds for the task that enters the block and for those that it starts there. Entering it makes
    the instruments: enter it once around much, rather than around each operation.

    Args:
        tracer_provider: Takes the spans; None for the global one.
        meter_provider: Takes the metrics; None for the global one.
    """
    return observed_by(Telemetry(tracer_provider=tracer_provider, meter_provider=meter_provider))
