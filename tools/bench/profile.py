"""Profile a read by package and function: `python -m tools.bench.profile`, or `make profile`."""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tools.bench.measuring import set_up
from tools.bench.scenarios import Scenario, cold_read, warm_read
from tools.bench.server import Server
from tools.bench.stage import OURS, staged

TOP = 12
KERNEL = "sending, receiving, waiting"
"""Time outside the client: on a busy machine the server runs meanwhile."""

_GROUPS = {
    "jiter": ("jiter",),
    "json": ("json",),
    "openai_sessions": ("openai_sessions",),
    "openai": ("openai",),
    "HTTP (httpx, httpcore, h11)": ("httpx", "httpx2", "httpcore", "httpcore2", "h11"),
    "pydantic": ("pydantic", "pydantic_core"),
    "asyncio, anyio, ssl": ("asyncio", "anyio", "sniffio", "ssl", "selectors", "socket"),
}
_BUILTINS = {
    "jiter": "jiter",
    KERNEL: r"_socket|select\.",
    "asyncio, anyio, ssl": r"_asyncio|_ssl|Context",
}

Function = tuple[str, int, str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the command line says, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.profile", description=__doc__)
    parser.add_argument("--items", type=int, default=990, help="the length of the history (%(default)s)")
    parser.add_argument("--repeats", type=int, default=10, help="the number of reads (%(default)s)")
    options = parser.parse_args(arguments)
    console = Console(width=120, highlight=False)
    for scenario in (cold_read(options.items), warm_read(options.items)):
        profile = asyncio.run(profiled(scenario, options.repeats))
        console.print(f"\n{scenario.name}: {profile.cpu * 1000:.1f} ms of CPU without the profiler")
        console.print(*tables(profile, options.repeats))
    return 0


@dataclass(frozen=True, slots=True)
class Profile:
    """The profile of all repetitions, and the CPU seconds of one repetition without the profiler."""

    functions: Mapping[Function, Any]
    cpu: float


async def profiled(scenario: Scenario, repeats: int) -> Profile:
    """Profile `repeats` repetitions without a delay, after as many without the profiler."""
    profile = cProfile.Profile()
    unprofiled = []
    with closing(Server()) as server:
        async with staged(server) as stage:
            for repeat in range(2 * repeats):
                action = await set_up(stage, scenario, OURS)
                if repeat < repeats:
                    started = time.process_time()
                    await action()
                    unprofiled.append(time.process_time() - started)
                else:
                    profile.enable()
                    await action()
                    profile.disable()
    stats: Any = pstats.Stats(profile)
    return Profile(stats.stats, statistics.median(unprofiled))


def tables(profile: Profile, repeats: int) -> list[Table]:
    """Return the own time per read of each group of packages, and of the slowest functions."""
    groups = by_group(profile.functions)
    total = sum(groups.values())
    table = Table(box=SIMPLE_HEAD)
    for heading in ("package", "ms, profiled", "share"):
        table.add_column(heading, justify="left" if heading == "package" else "right")
    for group, seconds in groups.most_common():
        table.add_row(group, f"{seconds / repeats * 1000:.2f}", f"{seconds / total:.0%}")
    return [table, _top(profile.functions, repeats)]


def by_group(functions: Mapping[Function, Any]) -> Counter[str]:
    """Add up own time by group; a builtin counts for its caller unless `_BUILTINS` names its group.

    Args:
        functions: The value of `pstats.Stats.stats`.
    """
    seconds: Counter[str] = Counter()
    for function, (_, _, own, _, callers) in functions.items():
        group = group_of(function)
        if group is not None or not callers:
            seconds[group or "the rest"] += own
            continue
        for caller, (_, _, own_there, _) in callers.items():
            seconds[group_of(caller) or "the rest"] += own_there
    return seconds


def group_of(function: Function) -> str | None:
    """Return the group of a function, or None for a builtin without one."""
    file, _, name = function
    if file == "~":
        return next((group for group, known in _BUILTINS.items() if re.search(known, name)), None)
    folders = re.split(r"[/\\.]", file)
    # The innermost known package: the virtual environment may be in a folder of any name.
    for folder in reversed(folders):
        for group, packages in _GROUPS.items():
            if folder in packages:
                return group
    return "the rest"


def _top(functions: Mapping[Function, Any], repeats: int) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for heading in ("function", "calls", "ms, profiled"):
        table.add_column(heading, justify="left" if heading == "function" else "right", no_wrap=True)
    longest = sorted(functions.items(), key=lambda each: -each[1][2])[:TOP]
    for function, (_, calls, own, _, _) in longest:
        table.add_row(_called(function), f"{calls / repeats:,.0f}", f"{own / repeats * 1000:.2f}")
    return table


def _called(function: Function) -> str:
    file, line, name = function
    return name if file == "~" else f"{'/'.join(Path(file).parts[-2:])}:{line} {name}"


if __name__ == "__main__":
    sys.exit(main())
