"""Measure a scenario: the sides alternate, each repetition has a new setup, and the medians count."""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

import openai

from tools.bench.results import Row
from tools.bench.scenarios import Action, Scenario
from tools.bench.server import depth, depth_of_each
from tools.bench.stage import FLOOR, OURS, SDK, Stage


@dataclass(frozen=True, slots=True)
class Sample:
    """One repetition; times in seconds.

    Attributes:
        wall: Elapsed time.
        cpu: CPU time of the client's process.
        server_cpu: CPU time of the server's process.
        requests: The number of requests.
        depth: The longest chain of requests, or None if it is unknown.
    """

    wall: float
    cpu: float
    server_cpu: float
    requests: int
    depth: int | None


class WrongResultError(Exception):
    """A measured call did not return what is stored."""


async def measure(
    stage: Stage, scenario: Scenario, *, delays: Sequence[float], repeats: int
) -> AsyncIterator[Row]:
    """Yield a row for each delay (in seconds) and side.

    The SDK's class is omitted if the server rejects its request: before 0.24 it sends any number of items in
    one request.

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
    """Return the medians of the repetitions of one side; `peak` is in bytes."""
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
        # Without a delay, the server may answer one of several concurrent requests before it reads the next.
        depth=(depth if scenario.sessions == 1 else depth_of_each)(after.exchanges) if delay else None,
    )


async def _peak(stage: Stage, scenario: Scenario, side: str) -> int:
    """Return the peak of the memory that the call allocates, in bytes."""
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
    """Return the call to measure, with connections open.

    Garbage collection stays enabled for all sides, as it is in applications.
    """
    if scenario.is_cold:
        gc.collect()  # frees earlier sessions, and the state of their conversations
    if side == FLOOR and scenario.floor:
        action = await scenario.floor(stage)
    else:
        action = await scenario.prepare(stage, stage.sides[side])
    await stage.warm_up(side, scenario.connections)
    return action


def _check(scenario: Scenario, side: str, result: object) -> None:
    if side != FLOOR and not scenario.is_right(result):
        raise WrongResultError(f"{side}: {scenario.name} did not return what is stored")
