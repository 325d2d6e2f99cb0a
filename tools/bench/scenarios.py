"""The scenarios: how each is set up, and the one call that is measured."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tools.bench.bare import IN_FLIGHT, BareClient
from tools.bench.stage import OURS, POOLED, SHORT, Side, Stage
from tools.bench.workload import ANSWER, BATCH, bare_turn, items, numbers, run_turn

Action = Callable[[], Awaitable[Any]]
Prepare = Callable[[Stage, Side], Awaitable[Action]]
PrepareFloor = Callable[[Stage], Awaitable[Action]]

TURNS_BEFORE = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A line of the table.

    Attributes:
        name: Its name in the table.
        prepare: Sets up one repetition, without delay, and returns the call to measure.
        is_right: Checks the result of that call.
        floor: Sets up the equivalent for the bare client, if there is one.
        sessions: The number of sessions that make the call at the same time.
        is_cold: Whether the process must know nothing about the conversation.
        is_long: Whether it is repeated less often, because it takes long.
    """

    name: str
    prepare: Prepare
    is_right: Callable[[Any], bool] = lambda _: True
    floor: PrepareFloor | None = None
    sessions: int = 1
    is_cold: bool = False
    is_long: bool = False

    @property
    def connections(self) -> int:
        """The number of connections that are open before it starts."""
        return IN_FLIGHT if self.sessions == 1 else min(self.sessions, POOLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of the scenarios.

    Attributes:
        reads: The lengths of the histories that are read.
        incremental: The length of the history that is read incrementally.
        newest: The number of newest items read from the longest history.
        appends: The numbers of items added in one call.
        sessions: The number of sessions used at the same time.
    """

    reads: tuple[int, ...] = (10, 100, 990, 5000)
    incremental: int = 990
    newest: int = 20
    appends: tuple[int, ...] = (1, 20, 200)
    sessions: int = 500


QUICK = Sizes(reads=(120,), incremental=120, appends=(21,), sessions=3)


def scenarios(sizes: Sizes) -> list[Scenario]:
    """Return all scenarios, in the order of the table."""
    longest = max(sizes.reads)
    return [
        *(cold_read(number) for number in sizes.reads),
        *(warm_read(number) for number in sizes.reads),
        warm_read(sizes.incremental, kind="incremental", history="incremental"),
        newest_read(sizes.newest, longest),
        *(append(number) for number in sizes.appends),
        append(BATCH, is_known=False),
        pop(),
        turn(before=0),
        turn(before=TURNS_BEFORE),
        many_turns(sizes.sessions),
        many_first_turns(sizes.sessions),
    ]


def cold_read(number: int) -> Scenario:
    """Read a history that the process knows nothing about."""

    async def prepare(stage: Stage, side: Side) -> Action:
        history = await stage.history(number)
        return side.open(history.conversation_id).get_items

    return Scenario(
        name=f"cold read of {number:,}",
        prepare=prepare,
        is_right=partial(_is_all, number),
        floor=_bare_read(number, BareClient.read_from_both_ends),
        is_cold=True,
        is_long=number > 1000,
    )


def warm_read(number: int, *, kind: str = "warm", **options: Any) -> Scenario:
    """Read a history again with the same session; `options` apply to this library's class only."""

    async def prepare(stage: Stage, side: Side) -> Action:
        history = await stage.history(number)
        session = side.open(history.conversation_id, **(options if side.name == OURS else {}))
        await session.get_items()
        return session.get_items

    return Scenario(
        name=f"{kind} read of {number:,}",
        prepare=prepare,
        is_right=partial(_is_all, number),
        floor=None if options else _bare_read(number, BareClient.read_at_once),
        is_long=number > 1000,
    )


def newest_read(number: int, of: int) -> Scenario:
    """Read the newest items of a long history that the process knows nothing about."""

    async def prepare(stage: Stage, side: Side) -> Action:
        history = await stage.history(of)
        return partial(side.open(history.conversation_id).get_items, limit=number)

    return Scenario(
        name=f"limit={number} of {of:,}",
        prepare=prepare,
        is_right=lambda read: numbers(read) == list(range(of - number, of)),
        floor=_bare_read(of, BareClient.read_newest, number=number),
        is_cold=True,
    )


def append(number: int, *, is_known: bool = True) -> Scenario:
    """Add items to a conversation; with `is_known`, the session has read it before."""

    async def prepare(stage: Stage, side: Side) -> Action:
        (history,) = await stage.fresh(1, items=SHORT)
        session = side.open(history.conversation_id)
        if is_known:
            await session.get_items()
        added: list[Any] = items(number)
        return partial(session.add_items, added)

    async def prepare_bare(stage: Stage) -> Action:
        (history,) = await stage.fresh(1, items=SHORT)
        return partial(stage.bare.append, history, number)

    return Scenario(
        name=f"append of {number}" + ("" if is_known else ", unread"),
        prepare=prepare,
        floor=prepare_bare if is_known else None,
    )


def pop() -> Scenario:
    """Pop the newest item of a conversation that was read before."""

    async def prepare(stage: Stage, side: Side) -> Action:
        (history,) = await stage.fresh(1, items=SHORT)
        session = side.open(history.conversation_id)
        await session.get_items()
        return session.pop_item

    return Scenario(name="pop", prepare=prepare, is_right=lambda item: numbers([item]) == [SHORT - 1])


def turn(before: int) -> Scenario:
    """Run a turn with the Runner, after `before` other turns."""

    async def prepare(_stage: Stage, side: Side) -> Action:
        session = side.open()
        for _ in range(before):
            await run_turn(session)
        return partial(run_turn, session)

    return Scenario(
        name="tenth turn of a Runner" if before else "first turn of a Runner",
        prepare=prepare,
        is_right=lambda output: output == ANSWER["content"],
    )


def many_turns(number: int) -> Scenario:
    """Make a turn in each of many conversations at the same time, each resumed by a new session."""

    async def prepare(stage: Stage, side: Side) -> Action:
        histories = await stage.fresh(number, items=SHORT)
        return partial(_turns, [side.open(history.conversation_id) for history in histories])

    return Scenario(
        name=f"a turn of each of {number}",
        prepare=prepare,
        is_right=lambda lengths: lengths == [SHORT] * number,
        sessions=number,
        is_long=True,
    )


def many_first_turns(number: int) -> Scenario:
    """Make the first turn of many new conversations at the same time."""

    async def prepare(_stage: Stage, side: Side) -> Action:
        return partial(_turns, [side.open() for _ in range(number)])

    return Scenario(
        name=f"first turn of each of {number}",
        prepare=prepare,
        is_right=lambda lengths: lengths == [0] * number,
        sessions=number,
        is_long=True,
    )


async def _turns(sessions: list[Any]) -> list[int]:
    return list(await asyncio.gather(*map(bare_turn, sessions)))


def _bare_read(of: int, read: Callable[..., Awaitable[None]], **options: Any) -> PrepareFloor:
    """Return the setup of a read by the bare client."""

    async def prepare(stage: Stage) -> Action:
        return partial(read, stage.bare, await stage.history(of), **options)

    return prepare


def _is_all(number: int, read: Any) -> bool:
    return numbers(read) == list(range(number))
