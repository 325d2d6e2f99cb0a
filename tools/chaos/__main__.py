"""Run random operations under random faults: `python -m tools.chaos`, or `make chaos`.

The exit code is 1 if this library breaks a promise.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import version

from tools.chaos.report import errors, first_violations, table
from tools.chaos.running import Plan, Result, Run
from tools.chaos.worlds import WORLDS, Server

NAMES = {"ours": "this library", "sdk": f"openai-agents {version('openai-agents')}"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the command line says, and return the exit code."""
    options = _options(arguments)
    logging.getLogger("openai_sessions").addHandler(logging.NullHandler())  # the run counts failures itself
    plan = Plan(
        operations=options.operations, seed=options.seed, rooms=options.conversations, tasks=options.sessions
    )
    results = {
        kind: try_kind(kind, plan, options.rate) for kind in ([options.only] if options.only else WORLDS)
    }
    print(*table({NAMES[kind]: result for kind, result in results.items()}), sep="\n")
    for kind, result in results.items():
        print(f"\nErrors raised by {NAMES[kind]}: {errors(result)}.")
    ours = results.get("ours")
    if ours is None or not ours.violations:
        return 0
    print(f"\nWith seed {options.seed}, this library failed:", *first_violations(ours), sep="\n")
    return 1


def try_kind(kind: str, plan: Plan, rate: float) -> Result:
    """Run one of the two classes on a server of its own."""

    async def go() -> Result:
        world = WORLDS[kind](server, rate)
        try:
            return await Run(world, plan).go(on_quiet=say)
        finally:
            await world.aclose()

    def say(result: Result) -> None:
        elapsed = time.monotonic() - started
        print(
            f"{NAMES[kind]}: {result.operations} operations in {elapsed:.0f} s, "
            f"{len(result.violations)} violations",
            file=sys.stderr,
        )

    started = time.monotonic()
    with closing(Server()) as server:
        return asyncio.run(go())


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    plan = Plan()
    parser = argparse.ArgumentParser(prog="python -m tools.chaos", description=__doc__)
    add = parser.add_argument
    add("--operations", type=int, default=plan.operations, help="at least this many (%(default)s)")
    add("--seed", type=int, default=plan.seed, help="the seed of all choices (%(default)s)")
    add("--rate", type=float, default=0.2, help="the share of requests that meet a fault (%(default)s)")
    add("--conversations", type=int, default=plan.rooms, help="in use at the same time (%(default)s)")
    add("--sessions", type=int, default=plan.tasks, help="on each conversation, a task each (%(default)s)")
    add("--only", choices=tuple(WORLDS), help="run only one of the two classes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
