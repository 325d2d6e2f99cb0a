"""The metrics. No attribute of them is an id: each takes few values."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.metrics import Meter

from openai_sessions.telemetry import _names

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
