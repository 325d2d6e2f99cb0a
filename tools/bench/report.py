"""The results as tables for a terminal, and the targets of the library beside them."""

# ruff: noqa: RUF001 - the multiplication sign is intended

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tools.bench.results import Results, Row
from tools.bench.stage import FLOOR, OURS, SDK

DELAY_MS = 100.0
"""The delay at which the targets apply."""

NOISE = 1.02
"""Times up to this factor count as not slower."""

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


@dataclass(frozen=True, slots=True)
class Target:
    """A target: what is compared with what, the bound and the measurement, and whether it is reached."""

    what: str
    against: str
    bound: str
    measured: str
    is_reached: bool


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


def targets(results: Results) -> list[Target]:
    """Return the targets for the scenarios that were measured."""
    return [target for each in (_reads, _cpu, _turns, _appends) for target in each(results)]


def target_table(reached: Iterable[Target]) -> Table:
    """Return the targets beside the measurements."""
    table = Table(title=f"Targets at {DELAY_MS:g} ms", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("", "against", "target", "measured", ""):
        table.add_column(heading)
    for target in reached:
        outcome = "reached" if target.is_reached else "[bold]not reached[/bold]"
        table.add_row(target.what, target.against, target.bound, target.measured, outcome)
    return table


def milliseconds(value: float) -> str:
    """Format milliseconds with about three digits."""
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


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


@dataclass(frozen=True, slots=True)
class _Sides:
    """The rows of a scenario, by side."""

    ours: Row
    sdk: Row
    floor: Row | None


def _reads(results: Results) -> Iterator[Target]:
    for name, times, deepest, floor in (
        ("cold read of 990", 7.5, 6, 1.15),
        ("cold read of 5,000", 8.5, None, None),
        ("warm read of 990", 30, 1, 1.6),
    ):
        if rows := _sides(results, name):
            yield _at_least(name, rows.sdk.wall_ms / rows.ours.wall_ms, times, "× as fast")
            if deepest is not None:
                depth = rows.ours.depth or 0
                yield Target(name, "depth", f"≤ {deepest}", f"{depth}", depth <= deepest)
            if floor is not None and rows.floor:
                bare = f"{rows.floor.depth} round trip" + "s" * (rows.floor.depth != 1)
                yield _at_most(name, f"floor, {bare}", rows.ours.wall_ms / rows.floor.wall_ms, floor)


def _cpu(results: Results) -> Iterator[Target]:
    for name in ("cold read of 990", "warm read of 990"):
        if rows := _sides(results, name):
            yield _at_least(f"CPU of a {name}", rows.sdk.cpu_ms / rows.ours.cpu_ms, 6, "× less")
            if rows.floor:
                yield _at_most(f"CPU of a {name}", "floor", rows.ours.cpu_ms / rows.floor.cpu_ms, 1.8)


def _turns(results: Results) -> Iterator[Target]:
    for name in ("a turn of each of 500", "first turn of each of 500"):
        if rows := _sides(results, name):
            yield _at_least(name, rows.sdk.wall_ms / rows.ours.wall_ms, 1.5, "× the turns per second")


def _appends(results: Results) -> Iterator[Target]:
    name = "append of 200"
    if rows := _sides(results, name):
        times = rows.ours.wall_ms / rows.sdk.wall_ms
        yield Target(name, "SDK", "not slower", f"{times:.2f} × its time", times <= NOISE)
        depth = rows.ours.depth or 0
        yield Target(name, "depth", "10 round trips", f"{depth}", depth <= 10)


def _sides(results: Results, name: str) -> _Sides | None:
    ours, sdk = results.find(name, OURS, DELAY_MS), results.find(name, SDK, DELAY_MS)
    return _Sides(ours, sdk, results.find(name, FLOOR, DELAY_MS)) if ours and sdk else None


def _at_least(what: str, times: float, bound: float, unit: str) -> Target:
    return Target(what, "SDK", f"≥ {bound:g} {unit}", f"{times:.1f}", times >= bound)


def _at_most(what: str, against: str, times: float, bound: float) -> Target:
    return Target(what, against, f"≤ {bound:g} ×", f"{times:.2f}", times <= bound)
