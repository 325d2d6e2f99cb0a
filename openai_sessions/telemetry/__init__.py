"""Spans and metrics of session operations, following OpenTelemetry's GenAI conventions.

No setup is needed: once the application sets a global provider, each session operation becomes a span of the
global tracer provider and is counted by the global meter provider. `use_providers` selects other providers.
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
    """Send the telemetry of operations that start inside a `with` block to these providers.

    Applies to the task that enters the block and to the tasks that it starts there. Entering the block
    creates the instruments, so enter it once around many operations.

    Args:
        tracer_provider: Receives the spans; None for the global provider.
        meter_provider: Receives the metrics; None for the global provider.
    """
    return observed_by(Telemetry(tracer_provider=tracer_provider, meter_provider=meter_provider))
