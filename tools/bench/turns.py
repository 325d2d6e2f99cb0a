"""Measure a turn of the Runner in each way to keep a history: `python -m tools.bench.turns`.

A turn is one question and one answer, without tools. The history before it has 10, 990 or 5,000 items. The
session either is a new object that resumes the history by id, as in a worker that never saw it, or has made
the turn before. Requests, round trips and bytes are counted in this process, and do not depend on its load.
`--times` also takes the time, on a socket, with a server that waits 100 ms before each request.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import agents
import openai
from agents import Agent, OpenAIResponsesModel, RunConfig, Runner
from openai.types.responses import ResponseInputItemParam

import openai_sessions
from openai_sessions.emulator import Emulator
from tools.bench.bare import BareClient
from tools.bench.server import Receive, Send, Server, body_of
from tools.bench.stage import client_of
from tools.bench.workload import ANSWER, BATCH, QUESTION, items

TURNS = Path(__file__).parent / "turns.json"
"""The measurements that the documents show."""

SIZES = (10, 990, 5000)
"""The numbers of items before the turn."""

DELAY = 0.1
"""Seconds that the server waits before each request where the time is taken."""

ADDED = 2
"""The number of items that a turn adds."""

Ask = Callable[[], Awaitable[str]]
Fill = Callable[[int], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Mode:
    """A way to keep a history.

    Attributes:
        name: Its name in the tables.
        open: Given a client and the id of the history, returns what makes a turn and returns the answer.
        is_chained: Whether the history is a stored response, and not a conversation.
    """

    name: str
    open: Callable[[openai.AsyncOpenAI, str], Ask]
    is_chained: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRow:
    """The measurements of a turn.

    Attributes:
        mode: The name of the mode.
        items: The number of items before the turn.
        is_resumed: Whether the session is new, and only has the id.
        requests: The number of requests, the one to the model included.
        round_trips: The number of round trips one after the other: the time, if the server is far.
        before_model: The number of those before the request to the model is sent.
        sent: Bytes in the bodies of the requests.
        received: Bytes in the bodies of the responses.
        seconds: The time of the turn, None if it was not taken.
    """

    mode: str
    items: int
    is_resumed: bool
    requests: int
    round_trips: int
    before_model: int
    sent: int
    received: int
    seconds: float | None = None

    @property
    def key(self) -> tuple[str, int, bool]:
        """What is measured."""
        return self.mode, self.items, self.is_resumed


@dataclass(frozen=True, slots=True)
class TurnResults:
    """The measurements, and the versions of the packages that matter."""

    versions: dict[str, str]
    rows: tuple[TurnRow, ...]

    def find(self, mode: str, number: int, *, is_resumed: bool) -> TurnRow:
        """Return the measurements of a mode."""
        return next(row for row in self.rows if row.key == (mode, number, is_resumed))


def history(number: int) -> list[dict[str, Any]]:
    """Return an even number of items that end with an answer."""
    return items(number) if number % 4 == 0 else [QUESTION, ANSWER, *items(number - 2)]


def agent(model: Any) -> Agent[Any]:
    """Return the agent that makes the turns."""
    return Agent(name="Guide", model=model)


def sdk_session(client: openai.AsyncOpenAI, conversation_id: str) -> Ask:
    """Give the Runner the Agents SDK's session."""
    return partial(
        _ask,
        client,
        session=agents.OpenAIConversationsSession(conversation_id=conversation_id, openai_client=client),
    )


def session(client: openai.AsyncOpenAI, conversation_id: str) -> Ask:
    """Give the Runner this library's session."""
    return partial(_ask, client, session=_session(client, conversation_id))


def session_turn(client: openai.AsyncOpenAI, conversation_id: str, **options: Any) -> Ask:
    """Give the Runner a turn of this library's session; `options` are those of the session."""
    used = _session(client, conversation_id, **options)

    async def ask() -> str:
        async with used.turn() as turn:
            return await _ask(client, session=turn)

    return ask


def sdk_conversation(client: openai.AsyncOpenAI, conversation_id: str) -> Ask:
    """Let the model read and write the conversation."""
    return partial(_ask, client, conversation_id=conversation_id)


def server_managed_turn(client: openai.AsyncOpenAI, conversation_id: str) -> Ask:
    """Let the model read and write the conversation, through a turn of this library."""
    used = _session(client, conversation_id)

    async def ask() -> str:
        async with used.turn(server_managed=True) as turn:
            return await _ask(turn.client, conversation_id=turn.conversation_id)

    return ask


def sdk_chain(client: openai.AsyncOpenAI, response_id: str) -> Ask:
    """Let the model go on from the last response."""
    newest = response_id

    async def ask() -> str:
        nonlocal newest
        result = await _run(client, previous_response_id=newest)
        newest = str(result.last_response_id)
        return str(result.final_output)

    return ask


MODES = (
    Mode("session of the Agents SDK", sdk_session),
    Mode("session", session),
    Mode("`session.turn()`", session_turn),
    Mode('`session.turn()`, `history="incremental"`', partial(session_turn, history="incremental")),
    Mode("`conversation_id=` of the Agents SDK", sdk_conversation),
    Mode("`session.turn(server_managed=True)`", server_managed_turn),
    Mode("`previous_response_id=` of the Agents SDK", sdk_chain, is_chained=True),
)


def _session(client: openai.AsyncOpenAI, conversation_id: str, **options: Any) -> Any:
    return openai_sessions.OpenAIConversationsSession(
        conversation_id=conversation_id, openai_client=client, **options
    )


async def _ask(client: openai.AsyncOpenAI, **options: Any) -> str:
    return str((await _run(client, **options)).final_output)


async def _run(client: openai.AsyncOpenAI, **options: Any) -> Any:
    model = OpenAIResponsesModel("any name", client)
    config = RunConfig(tracing_disabled=True)
    return await Runner.run(agent(model), QUESTION["content"], run_config=config, **options)


class WrongHistoryError(Exception):
    """The model did not see the whole history."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where turns are made: an emulator whose model answers with the number of items that it sees.

    Attributes:
        client: A client of the emulator.
        fill: Returns the id of a new conversation with this number of items.
    """

    client: openai.AsyncOpenAI
    fill: Fill

    async def prepare(self, mode: Mode, number: int, *, is_resumed: bool) -> Ask:
        """Return what makes a turn after a history of `number` items."""
        gc.collect()  # frees earlier sessions, and the state of their conversations
        filled = number if is_resumed else number - ADDED
        ask = mode.open(self.client, await (self._chain if mode.is_chained else self.fill)(filled))
        if not is_resumed:
            await ask()
        return partial(_checked, ask, number + 1)

    async def _chain(self, number: int) -> str:
        given = cast("list[ResponseInputItemParam]", history(number)[:-1])
        return (await self.client.responses.create(model="any name", input=given)).id


async def _checked(ask: Ask, expected: int) -> str:
    answer = await ask()
    if answer != str(expected):
        raise WrongHistoryError(f"the model saw {answer} items, and not {expected}")
    return answer


@dataclass(frozen=True, slots=True)
class Counted:
    """A request that was answered in a round; requests of one round did not wait for each other."""

    round: int
    path: str
    sent: int
    received: int


class RoundEmulator(Emulator):
    """An emulator that answers requests in rounds, and counts them.

    It holds each request until all earlier ones are answered and no other arrives while the event loop goes
    round 200 times. So the number of rounds is the length of the longest chain of requests that wait for each
    other, at any speed of the machine. For requests in its process.
    """

    _QUIET = 200

    def __init__(self) -> None:
        super().__init__()
        self.counted: list[Counted] = []
        self._rounds = 0
        self._arrivals = 0
        self._answering = 0
        self._held: list[asyncio.Event] = []
        self._release: asyncio.Task[None] | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request when its round comes."""
        body = await body_of(receive)
        received = 0

        async def again() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": body}

        async def count(message: MutableMapping[str, Any]) -> None:
            nonlocal received
            received += len(message.get("body", b""))
            await send(message)

        await self._turn()
        number = self._rounds
        try:
            await super().__call__(scope, again, count)
        finally:
            self._answering -= 1
        self.counted.append(Counted(number, scope["path"], len(body), received))

    async def _turn(self) -> None:
        self._arrivals += 1
        released = asyncio.Event()
        self._held.append(released)
        if self._release is None:
            self._release = asyncio.create_task(self._release_rounds())
        await released.wait()

    async def _release_rounds(self) -> None:
        await self._quiet()
        while self._held:
            self._rounds += 1
            self._answering = len(self._held)
            for each in self._held:
                each.set()
            self._held.clear()
            await self._quiet()
        self._release = None

    async def _quiet(self) -> None:
        passes = 0
        while passes < self._QUIET:
            arrivals = self._arrivals
            await asyncio.sleep(0)
            passes = 0 if self._answering or self._arrivals != arrivals else passes + 1


async def count(mode: Mode, number: int, *, is_resumed: bool) -> TurnRow:
    """Count the requests of a turn."""
    with closing(RoundEmulator()) as emulator:
        emulator.reply(lambda request: str(len(request.items)), times=None)

        async def fill(filled: int) -> str:
            emulator.seed([{"items": history(filled)}])
            return emulator.conversations()[0].id

        async with emulator.client() as client:
            ask = await Place(client, fill).prepare(mode, number, is_resumed=is_resumed)
            first = emulator.counted[-1].round + 1 if emulator.counted else 1
            emulator.counted.clear()
            await ask()
        counted = emulator.counted
    return TurnRow(
        mode=mode.name,
        items=number,
        is_resumed=is_resumed,
        requests=len(counted),
        round_trips=counted[-1].round - first + 1,
        before_model=next(each.round for each in counted if each.path.endswith("/responses")) - first,
        sent=sum(each.sent for each in counted),
        received=sum(each.received for each in counted),
    )


async def take_times(rows: Sequence[TurnRow], repeats: int) -> list[TurnRow]:
    """Return the rows with the median time of their turns, on a socket."""
    modes = {mode.name: mode for mode in MODES}
    with closing(Server()) as server:
        async with _on_socket(server) as place:
            seconds: list[list[float]] = [[] for _ in rows]
            for _ in range(repeats):
                for row, taken in zip(rows, seconds, strict=True):
                    ask = await place.prepare(modes[row.mode], row.items, is_resumed=row.is_resumed)
                    server.delay(DELAY)
                    started = time.perf_counter()
                    await ask()
                    taken.append(time.perf_counter() - started)
                    server.delay(0)
                    print(*row.key, f"{taken[-1]:.2f} s", file=sys.stderr)
    return [
        replace(row, seconds=round(statistics.median(each), 3))
        for row, each in zip(rows, seconds, strict=True)
    ]


@asynccontextmanager
async def _on_socket(server: Server) -> AsyncIterator[Place]:
    bare = BareClient(server.base_url)

    async def fill(number: int) -> str:
        created = await bare.fill(0)
        whole = history(number)
        for start in range(0, number, BATCH):
            await bare.add(created.conversation_id, whole[start : start + BATCH])
        return created.conversation_id

    async with client_of(server) as client:
        try:
            yield Place(client, fill)
        finally:
            await bare.aclose()


def load_turns(path: Path = TURNS) -> TurnResults:
    """Read measurements from a file."""
    kept = json.loads(path.read_text())
    return TurnResults(kept["versions"], tuple(TurnRow(**row) for row in kept["rows"]))


def save_turns(results: TurnResults, path: Path = TURNS) -> None:
    """Write measurements to a file."""
    path.write_text(json.dumps(asdict(results), indent=1) + "\n")


def turn_section(results: TurnResults) -> str:
    """Return what docs/performance.md says about turns, in Markdown."""
    return "\n".join([*_table(results), "", *_conditions(results), ""])


def _table(results: TurnResults) -> Iterator[str]:
    columns = [(number, is_resumed) for number in SIZES for is_resumed in (False, True)]
    headings = [f"{number:,} items{', resumed' * is_resumed}" for number, is_resumed in columns]
    yield f"| | {' | '.join(headings)} |"
    yield "|---" + "|--:" * len(columns) + "|"
    for mode in dict.fromkeys(row.mode for row in results.rows):
        found = [results.find(mode, number, is_resumed=is_resumed) for number, is_resumed in columns]
        yield f"| {mode} | {' | '.join(map(_cell, found))} |"


def _cell(row: TurnRow) -> str:
    trips = f"{row.round_trips} ({row.before_model})"
    counts = f"{row.requests}, {trips}, {kilobytes(row.sent)} ↑, {kilobytes(row.received)} ↓"
    return counts if row.seconds is None else f"{counts}, {row.seconds:.2f} s"


def kilobytes(number: int) -> str:
    """Format a number of bytes as kB."""
    return f"{number / 1000:.1f}" if number < 10_000 else f"{number / 1000:,.0f}"


def _conditions(results: TurnResults) -> Iterator[str]:
    packages = " and ".join(f"{name} {number}" for name, number in results.versions.items())
    times = ", and the time of the turn" if any(row.seconds for row in results.rows) else ""
    yield (
        "In each cell: requests; round trips, and how many of them come before the model is asked; kB of the "
        f"bodies of requests (↑) and of responses (↓){times}."
    )
    yield (
        "*Resumed* is a new session object that has the id only, as in a new worker; otherwise the session "
        "has made the turn before."
    )
    if times:
        yield f"The server waits {DELAY * 1000:g} ms before each request."
    yield f"`python -m tools.bench.turns` measures it again; {packages} were installed here."


async def measured(sizes: Sequence[int] = SIZES, *, repeats: int = 0) -> TurnResults:
    """Measure all modes; take the times `repeats` times."""
    rows = [
        await count(mode, number, is_resumed=is_resumed)
        for mode in MODES
        for number in sizes
        for is_resumed in (False, True)
    ]
    if repeats:
        rows = await take_times(rows, repeats)
    packages = ("openai-agents", "openai")
    return TurnResults({package: version(package) for package in packages}, tuple(rows))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the command line says, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.turns", description=__doc__)
    parser.add_argument("--times", type=int, default=0, metavar="N", help="take the time of N turns each")
    parser.add_argument("--save", action="store_true", help=f"write {TURNS.name}")
    options = parser.parse_args(arguments)
    results = asyncio.run(measured(repeats=options.times))
    print(turn_section(results))
    if options.save:
        save_turns(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
