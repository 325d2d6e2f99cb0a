"""Measure this library beside the Agents SDK's class: `python -m tools.bench`, or `make bench`.

A complete run takes half an hour, measures turns too (`tools.bench.turns`), and updates docs/performance.md.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tools.bench.document import PICTURE
from tools.bench.document import main as write_document
from tools.bench.measuring import measure
from tools.bench.picture import draw
from tools.bench.report import tables, target_table, targets
from tools.bench.results import RESULTS, Results, Row, results_of, save
from tools.bench.scenarios import QUICK, Scenario, Sizes, scenarios
from tools.bench.server import Server
from tools.bench.stage import staged
from tools.bench.turns import measured, save_turns

WIDTH = 120

TURN_REPEATS = 3
"""How often the time of each turn is taken."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The scenarios of a run, the delays of the server in seconds, and the number of repetitions."""

    scenarios: tuple[Scenario, ...]
    delays: tuple[float, ...]
    repeats: int

    def repeats_of(self, scenario: Scenario) -> int:
        """Return the number of repetitions of a scenario; long ones have fewer."""
        return max(1, self.repeats * 3 // 5) if scenario.is_long else self.repeats


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the command line says, and return the exit code."""
    options = _options(arguments)
    plan = _plan(options)
    if not plan.scenarios:
        sys.exit(f"no scenario is called {options.only!r}")
    with closing(Server()) as server:
        rows = asyncio.run(run(plan, server))
    results = results_of(rows)
    show(results)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        save(results, options.output / RESULTS.name)
        draw(results, options.output / PICTURE.name)
    elif options.is_complete:
        save(results, RESULTS)
        draw(results, PICTURE)
        save_turns(asyncio.run(measured(repeats=TURN_REPEATS)))
        return write_document([])
    return 0


async def run(plan: Plan, server: Server) -> list[Row]:
    """Measure all scenarios; print the progress on standard error."""
    rows: list[Row] = []
    progress = Console(stderr=True)
    async with staged(server) as stage:
        for number, scenario in enumerate(plan.scenarios, 1):
            progress.print(f"{number}/{len(plan.scenarios)} {scenario.name}", highlight=False)
            measured = measure(stage, scenario, delays=plan.delays, repeats=plan.repeats_of(scenario))
            rows += [row async for row in measured]
    return rows


def show(results: Results) -> None:
    """Print the results."""
    console = Console(width=WIDTH, highlight=False)
    packages = ", ".join(f"{name} {number}" for name, number in results.versions.items())
    console.print(f"Python {results.python}, {results.system}, {results.cpus} processors; {packages}")
    for table in tables(results):
        console.print(table)
    if reached := targets(results):
        console.print(target_table(reached))


def _plan(options: argparse.Namespace) -> Plan:
    chosen = [each for each in scenarios(QUICK if options.quick else Sizes()) if options.only in each.name]
    return Plan(tuple(chosen), tuple(delay / 1000 for delay in options.delays), options.repeats)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run that tries the program")
    parser.add_argument("--delays", type=float, nargs="+", help="delays of the server, in milliseconds")
    parser.add_argument("--repeats", type=int, help="repetitions of each scenario")
    parser.add_argument("--only", default="", help="run the scenarios whose name contains this")
    parser.add_argument(
        "--output",
        type=Path,
        help=f"write {RESULTS.name} and {PICTURE.name} into this folder; without it, a complete run updates "
        "the results in tools/bench and docs/performance.md",
    )
    options = parser.parse_args(arguments)
    options.is_complete = not (options.quick or options.only or options.delays or options.repeats)
    options.delays = options.delays or ([10] if options.quick else [0, 20, 100])
    options.repeats = options.repeats or (1 if options.quick else 5)
    return options


if __name__ == "__main__":
    sys.exit(main())
