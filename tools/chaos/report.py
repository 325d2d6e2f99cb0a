"""The results of runs as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from tools.chaos.judging import Wrong
from tools.chaos.running import Result

TOLD = 5
"""The number of violations reported with their operations."""


def table(results: Mapping[str, Result]) -> Iterator[str]:
    """Yield the lines of a table with a column for each run."""
    yield "| | " + " | ".join(results) + " |"
    yield "|---" * (len(results) + 1) + "|"
    columns = [_figures(result) for result in results.values()]
    for name in columns[0]:
        yield f"| {name} | " + " | ".join(column[name] for column in columns) + " |"


def errors(result: Result) -> str:
    """Return the errors with their counts."""
    return ", ".join(f"{name} {number}" for name, number in result.errors.most_common()) or "none"


def first_violations(result: Result) -> Iterator[str]:
    """Yield the first violations, one for each add, with the operations related to them."""
    of_adds = {violation.add.number: (violation, told) for violation, told in reversed(result.violations)}
    for violation, told in list(reversed(of_adds.values()))[:TOLD]:
        read = violation.read and f" {violation.flaw} by operation {violation.read.number}"
        yield f"{violation.wrong.value}: {violation.text} of operation {violation.add.number}{read or ''}"
        yield from (f"    {line}" for line in told)


def _figures(result: Result) -> dict[str, str]:
    wrongs = Counter(violation.wrong for violation, _ in result.violations)
    return {
        "operations": f"{result.operations}",
        **{wrong.value: f"{wrongs[wrong]}" for wrong in Wrong},
        "errors raised": f"{sum(result.errors.values())}",
        "cancelled": f"{result.cancelled}",
        "requests per operation": f"{result.requests / max(1, result.operations):.2f}",
    }
