"""A run of turns: agents with tools, in several processes, one of which is killed now and then.

A user starts a turn in any of the processes, and goes on with the next one whatever becomes of it. Turns are
cancelled at random awaits and events of streams, and some fail in a tool or exceed `max_turns`.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import openai

from tools.chaos import players
from tools.chaos.judging_turns import (
    PlayedTurn,
    TurnWrong,
    judge_turns,
    left_by_killed,
    missing_markers,
    unpaired,
)
from tools.chaos.model import TurnItem, marker, parsed
from tools.chaos.players import DrawnTurn
from tools.chaos.worlds import TIMEOUT, Server, client_over

PROCESSES = 2

ROOMS = 6
"""The number of conversations in use at the same time."""

BURST = 8
"""The number of turns in a conversation between two quiet points."""

REPAIRS = 10
"""How often a repair is tried after a process was killed."""

LONGEST = 60
"""The number of items above which a conversation is left at a quiet point."""

ONE_AT_A_TIME = frozenset({"managed", "bare"})
"""The kinds whose turns follow one another in a conversation: the API refuses others while a call is open."""

MISLEADING = frozenset({"empty_page", "stale_page", "late_commit", "cut_mid_stream_late_commit"})
"""The faults that hide from a search what is stored, or will be."""

_HIDDEN = frozenset({TurnWrong.DOUBLED, TurnWrong.KEPT, TurnWrong.UNANSWERED, TurnWrong.TORN})
"""What follows when a search was misled."""


@dataclass(slots=True)
class TurnsResult:
    """The outcome of a run.

    Attributes:
        turns: The number of turns.
        requests: The number of requests that they sent.
        wrongs: How many turns were wrong, by what was.
        dead: The number of conversations in which the next turn was refused.
        foreign: The number of acknowledged items of another process that are gone.
        late: The number of turns that were wrong because a search was misled, or a request was applied late.
        killed: The number of turns whose process was killed.
        left: The number of those of which a part is stored.
        cancelled: The number of turns that were cancelled.
        errors: The number of turns that raised another error, by its name.
        told: What was wrong with which turn.
    """

    turns: int = 0
    requests: int = 0
    wrongs: Counter[TurnWrong] = field(default_factory=Counter)
    dead: int = 0
    foreign: int = 0
    late: int = 0
    killed: int = 0
    left: int = 0
    cancelled: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether nothing went wrong."""
        return not (self.wrongs or self.dead or self.foreign)


def try_turns(  # noqa: PLR0913 -- what a run consists of
    kind: str,
    *,
    turns: int,
    seed: int,
    rate: float,
    kill_every: int = 150,
    on_quiet: Callable[[TurnsResult], object] = lambda _: None,
) -> TurnsResult:
    """Play at least so many turns through one of `players.KINDS`.

    Args:
        kind: How turns are played.
        turns: The least number of turns.
        seed: The seed of all choices.
        rate: The probability that a request meets a fault.
        kill_every: The average number of turns after which a process is killed; 0 for never.
        on_quiet: Called with the result so far at every quiet point.
    """
    with closing(Server()) as server:
        return asyncio.run(_TurnsRun(server, kind, seed, rate, kill_every).go(turns, on_quiet))


class _TurnsRun:
    def __init__(self, server: Server, kind: str, seed: int, rate: float, kill_every: int) -> None:
        self.result = TurnsResult()
        self._server = server
        self._kind = kind
        self._rate = rate
        self._kill_every = kill_every
        self._choices = random.Random(seed)  # noqa: S311 - must be reproducible
        self._names = count(1)
        self._turns: dict[str, PlayedTurn] = {}
        self._met: defaultdict[str, list[str]] = defaultdict(list)
        self._misled: set[str] = set()

    async def go(self, turns: int, on_quiet: Callable[[TurnsResult], object]) -> TurnsResult:
        self._server.run("script")
        async with client_over(openai.DefaultAsyncHttpxClient, self._server.base_url) as client:
            self._client = client.with_options(max_retries=0)
            self._processes = [
                Process(self._server.base_url, self._kind, self._note_tool) for _ in range(PROCESSES)
            ]
            rooms = [await self._new_room() for _ in range(ROOMS)]
            try:
                while self.result.turns < turns:
                    self._server.run("storm", self._rate, self._choices.randrange(10**9), 0.02)
                    await asyncio.gather(*(self._storm(room) for room in rooms))
                    self._server.run("calm")
                    self._note_requests()
                    rooms = [await self._quiet(room) for room in rooms]
                    self._server.run("turn_requests")
                    on_quiet(self.result)
            finally:
                for process in self._processes:
                    process.close()
        return self.result

    async def _new_room(self) -> _Room:
        return _Room((await self._client.conversations.create()).id)

    def _note_tool(self, name: str, step: int) -> None:
        self._turns[name].runs[step] += 1

    def _note_requests(self) -> None:
        for name, operation, met in self._server.run("turn_requests"):
            self.result.requests += bool(name)
            self._met[name].append(operation + (met and f"({met})"))
            if met in MISLEADING:
                self._misled.add(name)

    async def _storm(self, room: _Room) -> None:
        draws = iter([self._draw() for _ in range(BURST)])
        tasks = 1 if self._kind in ONE_AT_A_TIME else 2
        await asyncio.gather(*(self._burst(room, draws) for _ in range(tasks)))

    async def _burst(self, room: _Room, draws: Iterator[DrawnTurn]) -> None:
        for draw in draws:
            if self._choices.random() < 0.1:
                await self._mark(room)
            if room.needs_repair and not room.running:
                await self._repair(room)
            if self._kill_every and self._choices.random() < 1 / self._kill_every:
                process = self._choices.choice(self._processes)
                asyncio.get_running_loop().call_later(self._choices.uniform(0, 0.1), process.kill)
            await self._play(room, draw, self._choices.choice(self._processes))

    async def _play(self, room: _Room, draw: DrawnTurn, process: Process) -> PlayedTurn:
        turn = self._turns[draw.name] = PlayedTurn(draw.name, draw.tools)
        room.turns.append(turn)
        room.running += 1
        turn.outcome = await process.do("play", room.conversation_id, draw)
        room.running -= 1
        self.result.turns += 1
        if turn.was_killed:
            room.needs_repair = True
            self.result.killed += 1
        elif turn.outcome == "CancelledError":
            self.result.cancelled += 1
        elif not turn.has_returned:
            self.result.errors[turn.outcome] += 1
        return turn

    async def _mark(self, room: _Room) -> None:
        """Add an item as another process does; it counts if it is acknowledged."""
        name = str(next(self._names))
        items = self._client.conversations.items.with_raw_response
        item: Any = {"role": "user", "content": marker(name)}
        with suppress(openai.OpenAIError, ValueError):
            answer = await items.create(room.conversation_id, items=[item])
            if json.loads(answer.content)["object"] == "list":
                room.markers.add(name)

    async def _repair(self, room: _Room) -> None:
        """Repair a conversation once the requests of the process that was killed are over."""
        room.needs_repair = False
        await asyncio.sleep(TIMEOUT)
        for _ in range(REPAIRS):
            outcome = await self._choices.choice(self._processes).do("repair", room.conversation_id)
            if outcome == "returned":
                return
            self.result.errors[f"{outcome} in a repair"] += 1
        room.needs_repair = True

    async def _quiet(self, room: _Room) -> _Room:
        """Settle and judge a room; return it, or another one if it is long or something was wrong."""
        for process in self._processes:
            await process.do("settle", room.conversation_id)
        if room.needs_repair:
            await self._repair(room)
        probe = await self._play(room, DrawnTurn(f"{next(self._names)}"), self._processes[0])
        self.result.turns -= 1
        items = await self._items(room)
        is_dead = probe.outcome == "BadRequestError"
        if is_dead:
            room.turns.remove(probe)
            self.result.errors[probe.outcome] -= 1
            self._note_dead(room, items)
        found = judge_turns(room.turns, items)
        for wrong, name in sorted(found):
            if wrong in _HIDDEN and self._misled & {name, room.conversation_id}:
                self.result.late += 1
                continue
            self.result.wrongs[wrong] += 1
            self.result.told.append(f"{wrong.value}: {self._line(self._turns[name], items)}")
        left = left_by_killed(room.turns, items)
        gone = missing_markers(room.markers, items)
        self.result.left += len(left)
        self.result.foreign += len(gone)
        self.result.told += [f"marker {name} is gone" for name in sorted(gone)]
        return await self._new_room() if found or left or gone or is_dead or len(items) > LONGEST else room

    def _note_dead(self, room: _Room, items: Sequence[TurnItem]) -> None:
        """Count a conversation in which a turn is refused, and tell the turns that are why."""
        causes = sorted(unpaired(items) & self._turns.keys())  # an output without its call names none
        if room.conversation_id in self._misled or (causes and self._misled.issuperset(causes)):
            self.result.late += 1
            return
        self.result.dead += 1
        lines = [self._line(self._turns[name], items) for name in causes]
        self.result.told.append("\n    ".join([f"{room.conversation_id} is dead after", *lines]))

    def _line(self, turn: PlayedTurn, items: Sequence[TurnItem]) -> str:
        parts = " ".join(f"{item.part}{item.step or ''}" for item in items if item.name == turn.name)
        requests = " ".join(self._met[turn.name])
        return f"turn {turn.name}, {turn.tools} tools: {turn.outcome}; {parts} [{requests}]"

    async def _items(self, room: _Room) -> list[TurnItem]:
        page = self._client.conversations.items.list(room.conversation_id, order="asc", limit=100)
        return parsed([item.to_dict() async for item in page])

    def _draw(self) -> DrawnTurn:
        choices = self._choices
        tools, is_streamed = choices.choice((0, 1, 1, 2)), choices.random() < 0.5
        cancelled = choices.random() < 0.1
        at_event = is_streamed and choices.random() < 0.5
        number = choices.randint(1, 30)
        return DrawnTurn(
            name=f"{next(self._names)}",
            tools=tools,
            is_streamed=is_streamed,
            cancel_await=number if cancelled and not at_event else None,
            cancel_event=number if cancelled and at_event else None,
            fails=choices.choices(("", "tool", "turns"), (90, 5, 5))[0] if tools else "",
        )


@dataclass(slots=True)
class _Room:
    """A conversation and what was done in it.

    Attributes:
        conversation_id: The conversation.
        turns: Its turns.
        markers: The acknowledged items of another process.
        running: The number of turns that run.
        needs_repair: Whether a process was killed in a turn, since the conversation was repaired.
    """

    conversation_id: str
    turns: list[PlayedTurn] = field(default_factory=list)
    markers: set[str] = field(default_factory=set)
    running: int = 0
    needs_repair: bool = False


class Process:
    """A process that plays turns; it is started again when it was killed.

    Args:
        base_url: The server.
        kind: How turns are played.
        on_tool: Called in the event loop with the turn and the step when a tool runs.
    """

    def __init__(self, base_url: str, kind: str, on_tool: Callable[[str, int], object]) -> None:
        self._arguments = (base_url, kind)
        self._on_tool = on_tool
        self._loop = asyncio.get_running_loop()
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[str]] = {}
        self._is_closed = False
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([players.__name__])
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=players.serve, args=(theirs, *self._arguments), daemon=True)
        self._process.start()
        theirs.close()
        self._thread = threading.Thread(target=self._receive, args=(self._pipe,), daemon=True)
        self._thread.start()

    async def do(self, action: str, conversation_id: str, turn: DrawnTurn | None = None) -> str:
        """Have something done, and return its outcome; "killed" if the process was killed meanwhile."""
        number = next(self._numbers)
        future: asyncio.Future[str] = self._loop.create_future()
        self._waiting[number] = future
        with suppress(OSError):  # it was killed just now
            self._pipe.send((action, number, conversation_id, turn))
        return await future

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        if not self._is_closed:
            self._process.kill()

    def close(self) -> None:
        """Stop the process."""
        self._is_closed = True
        self._process.kill()
        self._thread.join()
        self._process.join()
        self._pipe.close()

    def _receive(self, pipe: Any) -> None:
        while True:
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                break
            self._loop.call_soon_threadsafe(self._take, *message)
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._renew)

    def _take(self, kind: str, key: Any, value: Any) -> None:
        if kind == "tool":
            self._on_tool(key, value)
        else:
            self._waiting.pop(key).set_result(value)

    def _renew(self) -> None:
        if self._is_closed:
            return
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            future.set_result("killed")
        self._process.join()
        self._pipe.close()
        self._start()
