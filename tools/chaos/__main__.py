"""Run it with `python -m tools.chaos`, or `make chaos`; exit code 1 when this library's session fails."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import version

from tools.chaos.planning import Plan
from tools.chaos.report import errors, first_violations, table
from tools.chaos.running import Result, Run
from tools.chaos.server import Server
from tools.chaos.worlds import WORLDS

NAMES = {"ours": "this library", "sdk": f"openai-agents {version('openai-agents')}"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the command line says, and return the exit code."""
    options = _options(arguments)
    logging.getLogger("openai_sessions").addHandler(logging.NullHandler())  # what fails is counted
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
    """Make a run with one of the two classes on a server of its own."""

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
    parser = argparse.ArgumentParser(prog="python -m tools.chaos", description=__doc__)
    parser.add_argument(
        "--operations", type=int, default=Plan().operations, help="at least so many (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="what the choices are made from")
    parser.add_argument("--rate", type=float, default=0.2, help="the share of requests that meet a fault")
    parser.add_argument("--conversations", type=int, default=Plan().rooms, help="how many are in use at once")
    parser.add_argument(
        "--sessions", type=int, default=3, help="how many tasks use each of them, with a session each"
    )
    parser.add_argument("--only", choices=tuple(WORLDS), help="try one of the two classes only")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
