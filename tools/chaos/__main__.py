"""Run random operations under random faults: `python -m tools.chaos`, or `make chaos`.

First in one process, then from four processes without a lock whose users try again on another one after an
error; then turns of agents with tools, in five ways. The exit code is 1 if this library breaks a promise.
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

from tools.chaos.report import errors, first_violations, table, turns_table, workers_table
from tools.chaos.running import Plan, Result, Run
from tools.chaos.turns import TurnsResult, try_turns
from tools.chaos.workers import USERS, try_workers
from tools.chaos.worlds import WORLDS, Server

NAMES = {
    "ours": "this library",
    "aiohttp": "this library, over aiohttp",
    "sdk": f"openai-agents {version('openai-agents')}",
}


TURNS = {
    "turns": "session.turn()",
    "session": "this library's session",
    "sdk": "the SDK's session class",
    "managed": "session.turn(server_managed=True)",
    "bare": "Runner.run(conversation_id=…)",
}
"""The ways to play turns, of `players.KINDS`."""

TURNS_EACH = 4_000
"""20,000 in all."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the command line says, and return the exit code."""
    options = _options(arguments)
    logging.getLogger("openai_sessions").addHandler(logging.NullHandler())  # the run counts failures itself
    is_right = True
    if options.operations:
        is_right = _operations(options)
    if options.turns:
        is_right = _turns(options) and is_right
    return int(not is_right)


def _operations(options: argparse.Namespace) -> bool:
    """Run operations of sessions, in one process and in several, and return whether this library is right."""
    plan = Plan(
        operations=options.operations, seed=options.seed, rooms=options.conversations, tasks=options.sessions
    )
    kinds = [options.only] if options.only else list(WORLDS)
    results = {kind: try_kind(kind, plan, options.rate) for kind in kinds}
    print(*table({NAMES[kind]: result for kind, result in results.items()}), sep="\n")
    for kind, result in results.items():
        print(f"\nErrors raised by {NAMES[kind]}: {errors(result.errors)}.")
    writes = options.operations // USERS // 10 + 1
    workers = {kind: try_workers(kind, writes=writes, seed=options.seed, rate=options.rate) for kind in kinds}
    print("\nFour processes without a lock; users try again on another one after an error:\n")
    print(*workers_table({NAMES[kind]: result for kind, result in workers.items()}), sep="\n")
    for kind, of_workers in workers.items():
        print(f"\nErrors raised by {NAMES[kind]}: {errors(of_workers.errors)}.")
    ours = [kind for kind in kinds if kind != "sdk"]
    for kind in ours:
        if results[kind].violations:
            print(
                f"\nWith seed {options.seed}, {NAMES[kind]} failed:",
                *first_violations(results[kind]),
                sep="\n",
            )
    return not any(results[kind].violations or not workers[kind].is_right for kind in ours)


def _turns(options: argparse.Namespace) -> bool:
    """Play turns of agents with tools, and return whether none was wrong in the turns of this library."""
    kinds = options.ways.split(",") if options.ways else list(TURNS)
    results = {kind: _try_turns(kind, options) for kind in kinds}
    print("\nTurns of agents with tools, in two processes of which one is killed now and then:\n")
    print(*turns_table({TURNS[kind]: result for kind, result in results.items()}), sep="\n")
    for kind, result in results.items():
        print(f"\nErrors raised in {TURNS[kind]}: {errors(result.errors)}.")
    ours = [kind for kind in kinds if kind in {"turns", "managed"}]
    for kind in ours:
        if not results[kind].is_right:
            print(f"\nWith seed {options.seed}, {TURNS[kind]} failed:", *results[kind].told, sep="\n")
    return all(results[kind].is_right for kind in ours)


def _try_turns(kind: str, options: argparse.Namespace) -> TurnsResult:
    said: list[str] = []

    def say(result: TurnsResult) -> None:
        print(f"{TURNS[kind]}: {result.turns} turns, {len(result.told)} violations", file=sys.stderr)
        for told in result.told[len(said) :]:
            print(f"  {told}", file=sys.stderr)
            said.append(told)

    return try_turns(kind, turns=options.turns, seed=options.seed, rate=options.rate, on_quiet=say)


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
    add("--operations", type=int, default=plan.operations, help="at least this many, or 0 (%(default)s)")
    add("--seed", type=int, default=plan.seed, help="the seed of all choices (%(default)s)")
    add("--rate", type=float, default=0.2, help="the share of requests that meet a fault (%(default)s)")
    add("--conversations", type=int, default=plan.rooms, help="in use at the same time (%(default)s)")
    add("--sessions", type=int, default=plan.tasks, help="on each conversation, a task each (%(default)s)")
    add("--turns", type=int, default=TURNS_EACH, help="at least this many each way, or 0 (%(default)s)")
    add("--ways", help=f"play turns only in these ways, of {', '.join(TURNS)}")
    add("--only", choices=tuple(WORLDS), help="run only one of the two classes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
