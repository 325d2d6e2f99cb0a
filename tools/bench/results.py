"""The results of a run, as they are kept in a file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import openai

from tools.bench.measuring import Row

RESULTS = Path(__file__).parent / "results.json"
"""The results of the last complete run, which the document and its picture show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A run.

    Attributes:
        python: The version of Python.
        system: What it ran on.
        cpus: How many processors that has.
        date: When, in UTC.
        versions: Of the packages that bear on it.
        rows: What was measured.
    """

    python: str
    system: str
    cpus: int
    date: str
    versions: dict[str, str]
    rows: tuple[Row, ...]

    def find(self, scenario: str, side: str, delay_ms: float) -> Row | None:
        """Return the row of a scenario, or None when it was not measured."""
        wanted = (scenario, side, delay_ms)
        return next((row for row in self.rows if (row.scenario, row.side, row.delay_ms) == wanted), None)

    def delays(self) -> list[float]:
        """Return the delays in milliseconds, smallest first."""
        return sorted({row.delay_ms for row in self.rows})

    def scenarios(self) -> list[str]:
        """Return the names of the scenarios, in order."""
        return list(dict.fromkeys(row.scenario for row in self.rows))


def results_of(rows: Sequence[Row]) -> Results:
    """Return the results of a run that has just ended."""
    family = openai.DefaultAsyncHttpxClient.__mro__[1].__module__.split(".")[0]
    packages = ("openai-agents", "openai", family, "jiter")
    return Results(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cpus=os.cpu_count() or 0,
        date=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M"),
        versions={package: version(package) for package in packages},
        rows=tuple(rows),
    )


def save(results: Results, path: Path) -> None:
    """Write results to a file."""
    path.write_text(json.dumps(asdict(results), indent=1) + "\n")


def load(path: Path) -> Results:
    """Read results from a file."""
    kept = json.loads(path.read_text())
    return Results(**{**kept, "rows": tuple(Row(**row) for row in kept["rows"])})
