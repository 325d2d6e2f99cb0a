"""Measuring a scenario: its sides take turns, each repetition is set up anew, and medians are kept."""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

import openai

from tools.bench.depth import depth, depth_of_each
from tools.bench.scenarios import Action, Scenario
from tools.bench.stage import FLOOR, OURS, SDK, Stage


@dataclass(frozen=True, slots=True)
class Sample:
    """One repetition; times in seconds.

    Attributes:
        wall: How long it took.
        cpu: CPU time of the process of the client.
        server_cpu: CPU time of the process of the server.
        requests: How many requests it made.
        depth: Its longest chain of requests; None where that cannot be told.
    """

    wall: float
    cpu: float
    server_cpu: float
    requests: int
    depth: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one side needed for a scenario at one delay: medians, in milliseconds and kilobytes.

    `turns_per_second` is given where many sessions make a turn at once. `peak_kb` was measured without a
    delay, in a pass of its own.
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


class WrongResultError(Exception):
    """Tell that what was measured did not do what it should."""


async def measure(
    stage: Stage, scenario: Scenario, *, delays: Sequence[float], repeats: int
) -> AsyncIterator[Row]:
    """Yield a row for each delay, in seconds, and side.

    The SDK's class is left out where the server refuses its request: before 0.24 it sends any number of
    items in one.

    Raises:
        WrongResultError: A side did not return what is stored.
    """
    peaks = {}
    for side in (OURS, SDK, *([FLOOR] if scenario.floor else [])):
        try:
            peaks[side] = await _peak(stage, scenario, side)
        except openai.BadRequestError:
            if side != SDK:
                raise
    sides = list(peaks)
    for delay in delays:
        gc.collect()
        samples: dict[str, list[Sample]] = {side: [] for side in sides}
        for repeat in range(repeats):
            first = repeat % len(sides)
            for side in (*sides[first:], *sides[:first]):
                samples[side].append(await _sample(stage, scenario, side, delay))
        for side in sides:
            yield summary(scenario, side, delay=delay, samples=samples[side], peak=peaks[side])


def summary(scenario: Scenario, side: str, *, delay: float, samples: Iterable[Sample], peak: int) -> Row:
    """Return the medians of the repetitions of one side; `peak` in bytes."""
    taken = list(samples)
    wall = statistics.median(sample.wall for sample in taken)
    return Row(
        scenario=scenario.name,
        side=side,
        delay_ms=round(delay * 1000, 3),
        repeats=len(taken),
        requests=statistics.median_high(sample.requests for sample in taken),
        depth=_median_depth(taken),
        wall_ms=round(wall * 1000, 2),
        cpu_ms=_median_ms(sample.cpu for sample in taken),
        server_cpu_ms=_median_ms(sample.server_cpu for sample in taken),
        peak_kb=round(peak / 1000),
        turns_per_second=round(scenario.sessions / wall, 1) if scenario.sessions > 1 else None,
    )


def _median_ms(seconds: Iterable[float]) -> float:
    return round(statistics.median(seconds) * 1000, 2)


def _median_depth(samples: Iterable[Sample]) -> int | None:
    depths = [sample.depth for sample in samples if sample.depth is not None]
    return statistics.median_high(depths) if depths else None


async def _sample(stage: Stage, scenario: Scenario, side: str, delay: float) -> Sample:
    action = await set_up(stage, scenario, side)
    before = stage.server.delay(delay)
    wall, cpu = time.perf_counter(), time.process_time()
    result = await action()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    after = stage.server.delay(0)
    _check(scenario, side, result)
    return Sample(
        wall=wall,
        cpu=cpu,
        server_cpu=after.cpu - before.cpu,
        requests=len(after.exchanges),
        # Without a delay an answer may go out before a request is read that was sent beside it.
        depth=(depth if scenario.sessions == 1 else depth_of_each)(after.exchanges) if delay else None,
    )


async def _peak(stage: Stage, scenario: Scenario, side: str) -> int:
    """Return the bytes that were allocated at once, beyond those before."""
    action = await set_up(stage, scenario, side)
    tracemalloc.start()
    try:
        result = await action()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    _check(scenario, side, result)
    return peak


async def set_up(stage: Stage, scenario: Scenario, side: str) -> Action:
    """Return what is to be measured, with connections open.

    The collector of garbage stays on throughout, for all sides, as it is where sessions are used.
    """
    if scenario.is_cold:
        gc.collect()  # earlier sessions are gone then, and what the process knew of their conversation
    if side == FLOOR and scenario.floor:
        action = await scenario.floor(stage)
    else:
        action = await scenario.prepare(stage, stage.sides[side])
    await stage.warm_up(side, scenario.connections)
    return action


def _check(scenario: Scenario, side: str, result: object) -> None:
    if side != FLOOR and not scenario.is_right(result):
        raise WrongResultError(f"{side}: {scenario.name} did not return what is stored")
