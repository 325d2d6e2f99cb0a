"""A long run of an agent whose history is compacted, beside the same run without."""

from __future__ import annotations

import json
import logging

import agents
import pytest
from agents import Agent, RunConfig, Runner, function_tool

from openai_sessions import Compaction, OpenAIConversationsSession
from openai_sessions.tokens import ServerTokens

logger = logging.getLogger(__name__)

MODEL = "gpt-5-mini"
TURN = 60
"""The tokens that one turn has at most, with its tool; the emulator counts words."""


@function_tool
def open_room(room: int) -> str:
    """Open a room."""
    return f"Room {room} is open: its window shows tree {room * 7}, and its table has {room + 3} legs."


def answer(request):
    """Call the tool in every third turn, and answer."""
    room = request.user_text.split()[1]
    if request.tool_outputs:
        return f"Opened: {request.tool_outputs[-1][1]}"
    if int(room) % 3 == 0:
        return {"type": "function_call", "name": "open_room", "arguments": {"room": int(room)}}
    return f"Noted: the code of room {room} is {code(room)}."


def code(room) -> str:
    return f"code{int(room) * 7919 % 10007}"


def question(room: int) -> str:
    return f"Room {room} has {code(room)} and belongs to owner{room}: please remember all of it."


async def talk(emulator, turns: int, **options):
    """Run an agent for some turns; return the inputs of the model, and how many tokens each had."""
    client = emulator.client()
    emulator.clear_replies()
    emulator.reply(answer, times=None)
    emulator.forget_requests()
    session = OpenAIConversationsSession(openai_client=client, **options)
    model = agents.OpenAIResponsesModel(model=MODEL, openai_client=client)
    agent = Agent(name="Porter", instructions="You know all rooms.", model=model, tools=[open_room])
    tokens = []
    for room in range(1, turns + 1):
        result = await Runner.run(
            agent, question(room), session=session, run_config=RunConfig(tracing_disabled=True)
        )
        tokens += [response.usage.input_tokens for response in result.raw_responses]
    inputs = [each.body["input"] for each in emulator.requests if each.path == "/v1/responses"]
    return inputs, tokens, session


@pytest.mark.parametrize(
    ("turns", "window"), [(10, 240), pytest.param(200, 460, marks=pytest.mark.exhaustive)]
)
async def test_a_compacted_run_stays_below_the_threshold_and_keeps_every_newest_fact(emulator, turns, window):
    """The history is compacted so early that the turn which follows fits into the window too."""
    counter = ServerTokens(model=MODEL, instructions="You know all rooms.")
    due = Compaction(model=MODEL, max_tokens=window - TURN, count_tokens=counter)
    plain_inputs, plain, _ = await talk(emulator, turns)
    inputs, tokens, session = await talk(emulator, turns, compact_when=due)
    assert len(inputs) == len(plain_inputs)
    assert max(tokens) <= window < max(plain)
    asked = [next(room for room in range(turns, 0, -1) if question(room) in dumped(each)) for each in inputs]
    for room, given in zip(asked, inputs, strict=True):
        newest = [room, *range(max(1, room - 2), room)]
        assert all(question(each) in dumped(given) for each in newest)
        for each in newest[1:]:
            said = open_room_output(each) if each % 3 == 0 else f"is {code(each)}."
            assert said in dumped(given)
    everything = [item async for item in session.iterate_items()]
    assert all(question(room) in dumped(everything) for room in range(1, turns + 1))
    compactions = [item for item in everything if item.get("type") == "compaction"]
    assert len(compactions) >= turns // 12
    logger.info(
        "%d turns: %d tokens at most, %d in all, %d compactions; without: %d at most, %d in all",
        *(turns, max(tokens), sum(tokens), len(compactions), max(plain), sum(plain)),
    )


def dumped(items) -> str:
    return json.dumps(items)


def open_room_output(room: int) -> str:
    return f"tree {room * 7}, and its table has {room + 3} legs"
