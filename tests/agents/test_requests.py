"""What the turns of a Runner cost on the wire."""

import itertools
from contextlib import asynccontextmanager

import pytest
from agents import Agent

from openai_sessions import OpenAIConversationsSession

from .scripted import ScriptedModel, add, calls, says

CREATE, READ, WRITE = "create_conversation", "list_items", "create_items"


@pytest.fixture
def turn(emulator, runner):
    """Return a function that makes a turn, and returns the operations requested for it."""

    async def turn(session, *steps):
        emulator.forget_requests()
        agent = Agent(name="Guide", model=ScriptedModel(steps or [[says("Yes.")]]), tools=[add])
        await runner(agent, "And then?", session=session)
        return [request.operation for request in emulator.requests]

    return turn


async def test_the_first_turn_is_a_creation_and_two_writes(client, turn):
    session = OpenAIConversationsSession(openai_client=client)
    assert [CREATE, WRITE, WRITE] == await turn(session)


@pytest.mark.parametrize("history", ["full", "incremental"])
async def test_a_later_turn_is_a_read_and_two_writes(client, turn, history):
    session = OpenAIConversationsSession(openai_client=client, history=history)
    await turn(session)
    for _ in range(3):
        assert [READ, WRITE, WRITE] == await turn(session)


async def test_so_is_a_turn_of_a_resumed_session(client, turn):
    items = [{"role": "user", "content": str(number)} for number in range(20)]
    conversation = await client.conversations.create(items=items)
    session = OpenAIConversationsSession(openai_client=client, conversation_id=conversation.id)
    assert [READ, WRITE, WRITE] == await turn(session)


async def test_and_one_of_which_only_the_newest_items_are_read(client, turn):
    items = [{"role": "user", "content": str(number)} for number in range(20)]
    conversation = await client.conversations.create(items=items)
    session = OpenAIConversationsSession(
        openai_client=client, conversation_id=conversation.id, session_settings={"limit": 3}
    )
    for _ in range(2):
        assert [READ, WRITE, WRITE] == await turn(session)


async def test_each_call_of_a_model_costs_a_write(client, turn):
    session = OpenAIConversationsSession(openai_client=client)
    await turn(session)
    steps = [[calls("add", '{"a": 1, "b": 2}')], [says("3.")]]
    reads, writes = itertools.groupby(await turn(session, *steps))
    assert (READ, WRITE) == (reads[0], writes[0])


async def test_with_a_lock_each_write_needs_a_read_of_its_own(client, turn):
    @asynccontextmanager
    async def lock(_):
        yield

    session = OpenAIConversationsSession(openai_client=client, lock=lock)
    await turn(session)
    assert [READ, READ, WRITE, READ, WRITE] == await turn(session)
