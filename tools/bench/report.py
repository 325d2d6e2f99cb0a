"""The results as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tools.bench.measuring import Row
from tools.bench.results import Results
from tools.bench.stage import FLOOR, OURS, SDK
from tools.bench.targets import DELAY_MS, Target

_COLUMNS = (
    "requests\n(depth)\nours",
    "\n\nSDK",
    "wall\nms\nours",
    "\n\nSDK",
    "\n\nfloor",
    "\nSDK/\nours",
    "CPU\nms\nours",
    "\n\nSDK",
    "\n\nfloor",
    "\nSDK/\nours",
    "peak\nkB\nours",
    "\n\nSDK",
)


def tables(results: Results) -> Iterator[Table]:
    """Yield a table for each delay."""
    for delay in results.delays():
        table = Table(
            title=f"{delay:g} ms a request", title_justify="left", box=SIMPLE_HEAD, padding=0, show_edge=False
        )
        table.add_column("", no_wrap=True)
        for heading in _COLUMNS:
            table.add_column(heading, justify="right", no_wrap=True)
        for scenario in results.scenarios():
            rows = {side: results.find(scenario, side, delay) for side in (OURS, SDK, FLOOR)}
            if any(rows.values()):
                table.add_row(scenario, *_cells(rows))
        yield table


def target_table(reached: Iterable[Target]) -> Table:
    """Return the targets beside what was measured."""
    table = Table(title=f"What it must reach, at {DELAY_MS:g} ms", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("", "against", "target", "measured", ""):
        table.add_column(heading)
    for target in reached:
        told = "reached" if target.is_reached else "[bold]not reached[/bold]"
        table.add_row(target.what, target.against, target.bound, target.measured, told)
    return table


def _cells(rows: dict[str, Row | None]) -> Iterator[str]:
    ours, sdk, floor = rows[OURS], rows[SDK], rows[FLOOR]
    yield from (_requests(ours), _requests(sdk))
    for name in ("wall_ms", "cpu_ms"):
        yield from (_milliseconds(row, name) for row in (ours, sdk, floor))
        yield f"{getattr(sdk, name) / getattr(ours, name):.1f}" if ours and sdk else ""
    yield from (f"{row.peak_kb:,}" if row else "" for row in (ours, sdk))


def _requests(row: Row | None) -> str:
    if row is None:
        return ""
    return f"{row.requests:,}" + ("" if row.depth is None else f" ({row.depth})")


def _milliseconds(row: Row | None, name: str) -> str:
    return milliseconds(getattr(row, name)) if row else ""


def milliseconds(value: float) -> str:
    """Return a time as a number of about three digits."""
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"
