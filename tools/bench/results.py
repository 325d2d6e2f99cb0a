"""The results of a run, and the file that they are saved in."""

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

RESULTS = Path(__file__).parent / "results.json"
"""The results of the last complete run, which the document and its picture show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The medians of one side for a scenario at one delay, in milliseconds and kilobytes.

    `turns_per_second` is set for scenarios in which many sessions make a turn at the same time. `peak_kb` is
    measured separately, without a delay.
    """

    scenario: str
    side: str
    delay_ms: float
    repeats: int
    requests: int
    depth: int | None
    wall_ms: float
    cpu_ms: float
    server_cpu_ms: float
    peak_kb: int
    turns_per_second: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The results of a run.

    Attributes:
        python: The version of Python.
        system: The operating system and architecture.
        cpus: The number of processors.
        date: The end of the run, in UTC.
        versions: The versions of the packages that matter.
        rows: The measurements.
    """

    python: str
    system: str
    cpus: int
    date: str
    versions: dict[str, str]
    rows: tuple[Row, ...]

    def find(self, scenario: str, side: str, delay_ms: float) -> Row | None:
        """Return the row of a scenario, or None if it was not measured."""
        wanted = (scenario, side, delay_ms)
        return next((row for row in self.rows if (row.scenario, row.side, row.delay_ms) == wanted), None)

    def delays(self) -> list[float]:
        """Return the delays in milliseconds, smallest first."""
        return sorted({row.delay_ms for row in self.rows})

    def scenarios(self) -> list[str]:
        """Return the names of the scenarios, in order."""
        return list(dict.fromkeys(row.scenario for row in self.rows))


def results_of(rows: Sequence[Row]) -> Results:
    """Return the results of a run that ended now."""
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
