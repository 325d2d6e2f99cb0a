"""What sessions keep in memory while they are idle."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from openai_sessions import OpenAIConversationsSession
from tests.wire import Answer, Call, Wire, page, stored

SESSIONS = 100
"""Each takes the same; so many make what the process takes once for all look small."""

TEXT = "A sentence of some thirty letters. " * 9


def new_id(kind: str) -> str:
    """Return an id as long as those of the API, and as random."""
    return f"{kind}_{uuid4().hex}{uuid4().hex[:16]}"


def answer(call: Call) -> Answer:
    """Create conversations and items; list nothing."""
    if call.method == "GET":
        return page()
    if call.path == "/conversations":
        return 200, {"id": new_id("conv"), "object": "conversation"}
    return stored(call, *(new_id("msg") for _ in call.body["items"]))


async def turn(session: OpenAIConversationsSession) -> None:
    call_id = new_id("call")
    await session.get_items()
    await session.add_items([{"role": "user", "content": f"{call_id} {TEXT}"}])
    await session.add_items(
        [
            {
                "type": "function_call",
                "id": new_id("fc"),
                "call_id": call_id,
                "name": "look_up",
                "arguments": f'{{"text": "{call_id} {TEXT}"}}',
                "status": "completed",
            },
            {"type": "function_call_output", "call_id": call_id, "output": f"Found {call_id} {TEXT}"},
            {
                "type": "message",
                "id": new_id("msg"),
                "role": "assistant",
                "status": "completed",
                "content": [
                    {
                        "type": "output_text",
                        "text": f"So: {call_id} {TEXT}",
                        "annotations": [],
                        "logprobs": [],
                    }
                ],
            },
        ]
    )


async def bytes_each(wire: Wire, use: Callable[[OpenAIConversationsSession], Awaitable[object]]) -> float:
    """Return what each of many sessions keeps after it was used, beyond the client that they share."""

    async def used(count: int) -> list[OpenAIConversationsSession]:
        sessions = [OpenAIConversationsSession(openai_client=wire.client) for _ in range(count)]
        for session in sessions:
            await use(session)
        await asyncio.sleep(0)  # lets the callbacks of ended tasks run, and go
        wire.calls.clear()
        gc.collect()
        return sessions

    await used(10)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        sessions = await used(SESSIONS)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (after - before) / len(sessions)


async def test_a_session_that_was_never_used_takes_less_than_4_kb():
    async def leave(_session: OpenAIConversationsSession) -> None: ...

    assert await bytes_each(Wire(answer), leave) < 4_000


@pytest.mark.exhaustive
async def test_an_idle_session_takes_less_than_10_kb_after_a_turn():
    assert await bytes_each(Wire(answer), turn) < 10_000
