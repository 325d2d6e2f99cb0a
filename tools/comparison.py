"""Print the README's table beside the Agents SDK's class: `python -m tools.comparison`.

Both classes run on the emulator, which counts their requests. Nothing leaves the machine.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import agents
import openai
from agents import Agent, OpenAIProvider, RunConfig, Runner, function_tool

import openai_sessions
from openai_sessions.emulator import Emulator, Fault

SESSIONS = (openai_sessions.OpenAIConversationsSession, agents.OpenAIConversationsSession)
SEED = ({"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi there!"})
PICTURE = "https://example.com/bridge.png"


def main() -> None:
    """Print the table."""
    print(f"| | this library | openai-agents {version('openai-agents')} |")
    print("|---|---|---|")
    for name, measure in MEASURES.items():
        print(f"| {name} | " + " | ".join(measure(kind) for kind in SESSIONS) + " |")


def reading(kind: Any) -> str:
    """Count the requests of a first and a second read of 990 items."""

    async def count(emulator: Emulator, session: Any) -> str:
        for start in range(0, 990, 20):
            await session.add_items([{"role": "user", "content": "Hello"}] * min(20, 990 - start))
        counts = []
        for _ in range(2):
            emulator.forget_requests()
            assert len(await session.get_items()) == 990  # noqa: S101 - a wrong read does not count
            counts.append(len(emulator.requests))
        return f"{counts[0]} requests, then {counts[1]}"

    return _measured(kind, count)


def reading_unused(kind: Any) -> str:
    """Count the requests of a read before the session was used."""

    async def count(emulator: Emulator, session: Any) -> str:
        await session.get_items()
        created = any(request.path == "/v1/conversations" for request in emulator.requests)
        return f"{len(emulator.requests)} requests" + (", creates a conversation" if created else "")

    return _measured(kind, count)


def round_trip(kind: Any) -> str:
    """Add two items and pop the newest."""

    async def pop(_: Emulator, session: Any) -> str:
        await session.add_items(list(SEED))
        popped = await session.pop_item()
        return "what was put in" if popped == SEED[1] else f"`{', '.join(sorted(popped))}`: as it is stored"

    return _measured(kind, pop)


def picture(kind: Any) -> str:
    """Add a message with a picture and read it."""
    part = {"type": "input_image", "image_url": PICTURE, "detail": "auto"}

    async def read(_: Emulator, session: Any) -> str:
        await session.add_items([{"type": "message", "role": "user", "content": [part]}])
        items = await session.get_items()
        return "comes back" if items[0]["content"][0].get("image_url") == PICTURE else "is missing"

    return _measured(kind, read)


def lost_reply(kind: Any) -> str:
    """Add two items, which the server stores; the first response is lost."""

    async def write(emulator: _Emulator, session: Any) -> str:
        await session.add_items(list(SEED))
        await session.pop_item()
        await session.pop_item()
        emulator.loses_reply = True
        try:
            await session.add_items(list(SEED))
        except openai.OpenAIError as error:
            outcome = f"an error (`{type(error).__name__}`)"
        else:
            outcome = "no error"
        return f"{len(await session.get_items())} items stored, {outcome}"

    return _measured(kind, write)


def two_loops(kind: Any) -> str:
    """Add two items in each of two `asyncio.run`, with one session object and a client of its own."""
    with Emulator() as emulator, emulator.serve() as base_url:
        os.environ.update(OPENAI_BASE_URL=base_url, OPENAI_API_KEY="sk-emulator", NO_PROXY="127.0.0.1")
        session = kind()
        asyncio.run(session.add_items(list(SEED)))
        try:
            asyncio.run(session.add_items(list(SEED)))
        except (RuntimeError, openai.OpenAIError) as error:
            return f"an error (`{type(error).__name__}`)"  # and 2 or 4 items stored, depending on timing
        stored = asyncio.run(_count(emulator, session.session_id))
        if hasattr(session, "aclose"):
            asyncio.run(session.aclose())
        return f"{stored} items stored, no error"


def lost_response(kind: Any) -> str:
    """Run an agent on a conversation that the model stores; the first response of the model is lost."""

    async def run(emulator: Emulator, _: Any) -> str:
        conversation_id = await _created(emulator)
        emulator.inject(Fault("cut_after_commit"), operation="create_response")
        await _run_on(emulator, kind, conversation_id, Agent(name="Guide"))
        return f"{await _count(emulator, conversation_id)} items stored"

    return _measured(kind, run)


def cancelled_in_a_tool(kind: Any) -> str:
    """Cancel such a run in a tool, and run again."""
    called = asyncio.Event()

    @function_tool
    async def look_up() -> str:
        called.set()
        await asyncio.Event().wait()
        return "never"

    async def run(emulator: Emulator, _: Any) -> str:
        conversation_id = await _created(emulator)
        emulator.reply({"type": "function_call", "name": "look_up", "arguments": "{}"})
        agent = Agent[Any](name="Guide", tools=[look_up])
        task = asyncio.create_task(_run_on(emulator, kind, conversation_id, agent))
        await called.wait()
        task.cancel()
        await asyncio.wait({task})
        emulator.clear_replies()
        try:
            await _run_on(emulator, kind, conversation_id, agent)
        except openai.BadRequestError as error:
            return f"every later run fails (`{type(error).__name__}`)"
        return "the next run succeeds"

    return _measured(kind, run)


async def _created(emulator: Emulator) -> str:
    return (await emulator.client().conversations.create()).id


async def _run_on(emulator: Emulator, kind: Any, conversation_id: str, agent: Agent[Any]) -> None:
    """Run an agent with `conversation_id`: in a turn of this library, or as the Agents SDK has it."""
    if kind is openai_sessions.OpenAIConversationsSession:
        session = kind(conversation_id=conversation_id, openai_client=emulator.client())
        async with session.turn(server_managed=True) as turn:
            config = replace(turn.run_config, tracing_disabled=True)
            await Runner.run(agent, "Hello", conversation_id=conversation_id, run_config=config)
    else:
        provider = OpenAIProvider(openai_client=emulator.client())
        config = RunConfig(model_provider=provider, tracing_disabled=True)
        await Runner.run(agent, "Hello", conversation_id=conversation_id, run_config=config)


class _Emulator(Emulator):
    """An emulator that can lose one response: it stores the items, and closes the connection."""

    loses_reply = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not (self.loses_reply and scope["method"] == "POST"):
            await super().__call__(scope, receive, send)
            return
        self.loses_reply = False

        async def lose(_: Any) -> None: ...

        await super().__call__(scope, receive, lose)
        family = openai.DefaultAsyncHttpxClient.__mro__[1].__module__.split(".")[0]
        raise importlib.import_module(family).ReadError("the reply was lost")


async def _count(emulator: Emulator, conversation_id: str) -> int:
    page = await emulator.client().conversations.items.list(conversation_id, limit=100)
    return len(page.data)


def _measured(kind: Any, measure: Any) -> str:
    async def run() -> str:
        with _Emulator() as emulator:
            return str(await measure(emulator, kind(openai_client=emulator.client())))

    return asyncio.run(run())


MEASURES = {
    "`get_items()` of 990 items": reading,
    "`get_items()` on an unused session": reading_unused,
    '`pop_item()` after adding `{"role": "assistant", "content": "Hi there!"}`': round_trip,
    "a picture in a message, read back": picture,
    "`add_items()` of two items, and the reply is lost": lost_reply,
    "`add_items()` of two items in each of two `asyncio.run()`, one session object": two_loops,
    "a run with `conversation_id=`, and the model's reply is lost": lost_response,
    "a run with `conversation_id=` is cancelled in a tool": cancelled_in_a_tool,
}

if __name__ == "__main__":
    main()
