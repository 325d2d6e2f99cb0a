"""A process that plays turns with agents, through this library, the SDK's session class, or neither."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count
from typing import Any

import agents
import openai
from agents import Agent, OpenAIResponsesModel, RunContextWrapper, Runner, function_tool

from openai_sessions import OpenAIConversationsSession, RequestSettings, UnsettledWriteError
from openai_sessions.session import RetryBudget
from tools.chaos.model import question
from tools.chaos.worlds import POLICY, TIMEOUT, client_over

PATIENCE = 120.0
"""Seconds after which a turn counts as hanging."""

turn_name: ContextVar[str] = ContextVar("turn_name", default="")
"""The turn that sends a request, or the conversation that is repaired; tasks that it starts inherit it."""


@dataclass(frozen=True, slots=True)
class DrawnTurn:
    """A random turn.

    Attributes:
        name: Its name, unique in the run.
        tools: How many tools the model calls, one after another.
        is_streamed: Whether it is streamed.
        cancel_await: It is cancelled when it waits for the so manieth time; None for never.
        cancel_event: It is cancelled at the so manieth event of its stream; None for never.
        fails: "tool" if its first tool raises, "turns" if it exceeds `max_turns`, else "".
    """

    name: str
    tools: int = 0
    is_streamed: bool = False
    cancel_await: int | None = None
    cancel_event: int | None = None
    fails: str = ""


class ToolError(Exception):
    """The tool of a turn has failed."""


Report = Callable[[str, int], object]
"""Called with the turn and the step when a tool runs."""


@dataclass(frozen=True, slots=True)
class Playing:
    """What a tool knows of its turn."""

    turn: DrawnTurn
    report: Report


@function_tool(failure_error_function=None)
async def work(context: RunContextWrapper[Playing], turn: str, step: int) -> str:
    """Do some work."""
    context.context.report(turn, step)
    await asyncio.sleep(0)
    if context.context.turn.fails == "tool":
        raise ToolError
    return f"done {turn} {step}"


Run = Callable[..., Awaitable[str]]
"""Runs the agent with options of `Runner.run`, and returns its answer."""

Play = Callable[[Run], Awaitable[str]]
"""Plays a turn through one of the classes."""


def _in_turns(session: OpenAIConversationsSession) -> Play:
    async def play(run: Run) -> str:
        async with session.turn() as turn:
            return await run(session=turn)

    return play


def _in_session(session: Any) -> Play:
    return lambda run: run(session=session)


def _in_server_managed_turns(session: OpenAIConversationsSession) -> Play:
    async def play(run: Run) -> str:
        async with session.turn(server_managed=True) as turn:
            return await run(conversation_id=turn.conversation_id, run_config=turn.run_config)

    return play


def _ours(conversation_id: str, client: openai.AsyncOpenAI) -> OpenAIConversationsSession:
    settings = RequestSettings(timeout=TIMEOUT, retry_policy=POLICY, retry_budget=RetryBudget(10**9))
    return OpenAIConversationsSession(
        conversation_id=conversation_id, openai_client=client, requests=settings
    )


class Room:
    """A conversation as a process plays turns in it.

    Args:
        kind: A key of `KINDS`.
        conversation_id: The conversation.
        client: The client of the process.
    """

    def __init__(self, kind: str, conversation_id: str, client: openai.AsyncOpenAI) -> None:
        self._conversation_id = conversation_id
        self.session: OpenAIConversationsSession | None = None
        self.receipts: list[Any] = []
        model: Any = OpenAIResponsesModel("emulated", client)
        if kind in OURS:
            self.session = _ours(conversation_id, client)
            self._play = OURS[kind](self.session)
            model = "emulated" if kind == "managed" else model
        elif kind == "sdk":
            of_sdk = agents.OpenAIConversationsSession(conversation_id=conversation_id, openai_client=client)
            self._play = _in_session(of_sdk)
        else:
            self._play = lambda run: run(conversation_id=conversation_id)
        self._agent = Agent(name="Worker", model=model, tools=[work])

    async def play(self, turn: DrawnTurn, report: Report) -> str:
        """Play a turn and return its outcome: "returned", or the name of the error."""
        turn_name.set(turn.name)
        call = self._play(lambda **options: self._run(turn, report, options))
        task = asyncio.ensure_future(_cancelled_at(call, turn.cancel_await))
        done, _ = await asyncio.wait({task}, timeout=PATIENCE)
        if not done:
            raise TimeoutError(f"turn {turn} hangs")
        if task.cancelled():
            return "CancelledError"
        error = task.exception()
        if isinstance(error, UnsettledWriteError) and self.session is not None:
            self.receipts.append(error.receipt)
        return "returned" if error is None else type(error).__name__

    async def _run(self, turn: DrawnTurn, report: Report, options: dict[str, Any]) -> str:
        given = {
            "context": Playing(turn, report),
            "max_turns": 1 if turn.fails == "turns" else 10,
            **options,
        }
        text = question(turn.name, tools=turn.tools)
        if not turn.is_streamed:
            return str((await Runner.run(self._agent, text, **given)).final_output)
        result = Runner.run_streamed(self._agent, text, **given)
        number = 0
        async for _ in result.stream_events():
            number += 1
            if number == turn.cancel_event:
                _cancel_current()
                await asyncio.sleep(0)
        return str(result.final_output)

    async def settle(self) -> None:
        """Settle what failed turns have left."""
        if self.session is None:
            return
        receipts = [*self.receipts, *self.session.unsettled]
        self.receipts.clear()
        for receipt in receipts:
            with suppress(UnsettledWriteError):  # it cannot tell which items are of the write
                await self.session.settle(receipt)

    async def repair(self) -> None:
        """Repair the conversation, as a process does that starts after another one was killed."""
        turn_name.set(self._conversation_id)
        if self.session is not None:
            await self.session.repair()


OURS: dict[str, Callable[[OpenAIConversationsSession], Play]] = {
    "turns": _in_turns,
    "session": _in_session,
    "managed": _in_server_managed_turns,
}
"""The ways in which turns are played through this library."""

KINDS = ("turns", "session", "sdk", "managed", "bare")


def _cancel_current() -> None:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 -- this is inside a coroutine
    task.cancel()


async def _cancelled_at(call: Awaitable[str], number: int | None) -> str:
    return await (call if number is None else CancelledAt(call, number))


class CancelledAt:
    """Awaits something, and cancels the task when it waits for the so manieth time."""

    def __init__(self, call: Any, number: int) -> None:
        self._call = call
        self._number = number

    def __await__(self) -> Generator[Any, Any, str]:
        steps = self._call.__await__()
        value: Any = None
        error: BaseException | None = None
        for number in count(1):
            try:
                waited_for = steps.send(value) if error is None else steps.throw(error)
            except StopIteration as end:
                return str(end.value)
            if number == self._number:
                _cancel_current()
            value = error = None
            try:
                value = yield waited_for
            except BaseException as raised:  # noqa: BLE001 -- for the awaited
                error = raised
        raise AssertionError


def serve(pipe: Any, base_url: str, kind: str) -> None:
    """Play the turns that come over a pipe, until it is closed."""
    agents.set_tracing_disabled(True)
    for name in ("openai_sessions", "openai.agents"):  # the run counts failures itself
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited")  # of a run that was cancelled
    asyncio.run(_serve(pipe, base_url, kind))


async def _serve(pipe: Any, base_url: str, kind: str) -> None:
    client = client_over(openai.DefaultAsyncHttpxClient, base_url, event_hooks={"request": [_sign]})
    rooms: dict[str, Room] = {}
    tasks: set[asyncio.Task[None]] = set()
    while True:
        try:
            action, number, conversation_id, turn = await asyncio.to_thread(pipe.recv)
        except EOFError:
            return
        if conversation_id not in rooms:
            rooms[conversation_id] = Room(kind, conversation_id, client)
        task = asyncio.create_task(_answer(pipe, rooms[conversation_id], action, number, turn))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def _answer(pipe: Any, room: Room, action: str, number: int, turn: DrawnTurn | None) -> None:
    def report(name: str, step: int) -> None:
        pipe.send(("tool", name, step))

    outcome = "returned"
    try:
        if turn is not None:
            outcome = await room.play(turn, report)
        elif action == "repair":
            await room.repair()
        else:
            await room.settle()
    except Exception as error:  # noqa: BLE001 -- every error is counted
        outcome = type(error).__name__
    pipe.send(("done", number, outcome))


async def _sign(request: Any) -> None:
    """Add the name of the turn to the URL of a request, which the emulator logs."""
    request.url = request.url.copy_merge_params({"turn": turn_name.get()})
