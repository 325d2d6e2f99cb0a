"""What the library means to reach, beside what was measured."""

# ruff: noqa: RUF001 - the sign of multiplication is meant

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tools.bench.measuring import Row
from tools.bench.results import Results
from tools.bench.stage import FLOOR, OURS, SDK

DELAY_MS = 100.0
"""The delay that the targets are meant for."""

NOISE = 1.02
"""How much longer counts as not slower."""


@dataclass(frozen=True, slots=True)
class Target:
    """One target: what, against what, the bound in words, what was measured, and whether that reaches it."""

    what: str
    against: str
    bound: str
    measured: str
    is_reached: bool


@dataclass(frozen=True, slots=True)
class _Sides:
    """The rows of a scenario."""

    ours: Row
    sdk: Row
    floor: Row | None


def targets(results: Results) -> list[Target]:
    """Return the targets of what was measured."""
    return [target for each in (_reads, _cpu, _turns, _appends) for target in each(results)]


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
