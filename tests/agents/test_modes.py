"""What docs/which-mode.md says of each way to keep a history: what it survives, and what it cannot do."""

import asyncio
from importlib.metadata import version

import agents
import openai
import pytest
from agents import Agent, GuardrailFunctionOutput, OpenAIResponsesModel, Runner, handoff
from agents.exceptions import MaxTurnsExceeded, UserError

from openai_sessions import OpenAIConversationsSession
from openai_sessions.emulator import Fault

CALL = {"type": "function_call", "name": "look_up", "arguments": "{}"}
TURN = ["user", "assistant"]


@pytest.fixture
def tool():
    """A tool that waits in its first call until that is cancelled."""

    @agents.function_tool
    async def look_up() -> str:
        look_up.calls += 1
        if look_up.calls == 1:
            look_up.is_called.set()
            await asyncio.Event().wait()
        return "found"

    look_up.calls = 0
    look_up.is_called = asyncio.Event()
    return look_up


@pytest.fixture
def agent(client):
    return Agent(name="Guide", model=OpenAIResponsesModel("any name", client))


@pytest.fixture
async def conversation_id(client):
    return (await client.conversations.create()).id


def kinds(items):
    return [item.get("role") or item["type"] for item in items]


async def cancelled_in_a_tool(run, tool):
    """Cancel a run when its tool is called."""
    task = asyncio.ensure_future(run)
    await tool.is_called.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_lost_reply_in_a_conversation_is_a_turn_stored_twice(emulator, agent, conversation_id):
    emulator.inject(Fault("cut_after_commit"), operation="create_response")
    await Runner.run(agent, "Hello", conversation_id=conversation_id)
    assert TURN * 2 == kinds(emulator.items(conversation_id))


async def test_lost_reply_with_a_call_makes_a_conversation_unusable(emulator, agent, conversation_id, tool):
    """The call of the first response never gets an output: this run fails, and so does every later one."""
    tool.calls = 1
    emulator.reply(CALL, times=2)
    emulator.inject(Fault("cut_after_commit"), operation="create_response")
    with pytest.raises(openai.BadRequestError, match="No tool output found"):
        await Runner.run(agent.clone(tools=[tool]), "Hello", conversation_id=conversation_id)
    emulator.clear_replies()
    with pytest.raises(openai.BadRequestError, match="No tool output found"):
        await Runner.run(agent, "Hello", conversation_id=conversation_id)


async def test_run_cancelled_in_a_tool_makes_a_conversation_unusable(emulator, agent, conversation_id, tool):
    emulator.reply(CALL)
    run = Runner.run(agent.clone(tools=[tool]), "Hello", conversation_id=conversation_id)
    await cancelled_in_a_tool(run, tool)
    emulator.clear_replies()
    assert ["user", "function_call"] == kinds(emulator.items(conversation_id))
    with pytest.raises(openai.BadRequestError, match="No tool output found"):
        await Runner.run(agent, "Hello", conversation_id=conversation_id)


async def test_run_that_ends_at_its_last_turn_makes_a_conversation_unusable(
    emulator, agent, conversation_id, tool
):
    tool.calls = 1
    emulator.reply(CALL)
    with pytest.raises(MaxTurnsExceeded):
        await Runner.run(agent.clone(tools=[tool]), "Hello", conversation_id=conversation_id, max_turns=1)
    emulator.clear_replies()
    with pytest.raises(openai.BadRequestError, match="No tool output found"):
        await Runner.run(agent, "Hello", conversation_id=conversation_id)


async def test_lost_reply_in_a_managed_turn_is_a_turn_stored_once(emulator, client, conversation_id, tool):
    """The tool is called once for the call that was stored once."""
    tool.calls = 1
    emulator.reply(CALL)
    emulator.reply("Found.")
    emulator.inject(Fault("cut_after_commit"), operation="create_response", times=2)
    session = OpenAIConversationsSession(conversation_id=conversation_id, openai_client=client)
    async with session.turn(server_managed=True) as turn:
        await run_managed(turn, tools=[tool])
    expected = ["user", "function_call", "function_call_output", "assistant"]
    assert (2, expected) == (tool.calls, kinds(emulator.items(conversation_id)))


async def test_run_cancelled_in_a_tool_leaves_nothing_with_a_managed_turn(
    emulator, agent, client, conversation_id, tool
):
    emulator.reply(CALL)
    session = OpenAIConversationsSession(conversation_id=conversation_id, openai_client=client)

    async def run():
        async with session.turn(server_managed=True) as turn:
            await run_managed(turn, tools=[tool])

    await cancelled_in_a_tool(run(), tool)
    assert () == emulator.items(conversation_id)
    emulator.clear_replies()
    await Runner.run(agent, "Hello", conversation_id=conversation_id)


async def run_managed(turn, **options):
    """Run an agent in a turn that the model stores."""
    agent = Agent(name="Guide", model="any name", **options)
    options = {"conversation_id": turn.conversation_id, "run_config": turn.run_config}
    return await Runner.run(agent, "Hello", **options)


async def test_run_is_refused_while_another_is_in_a_tool(emulator, agent, client, conversation_id):
    tool, finish = waiting_tool()
    emulator.reply(CALL)
    first = asyncio.ensure_future(
        Runner.run(agent.clone(tools=[tool]), "Hello", conversation_id=conversation_id)
    )
    await tool.is_called.wait()
    emulator.clear_replies()
    with pytest.raises(openai.BadRequestError, match="No tool output found"):
        await Runner.run(agent, "Hello", conversation_id=conversation_id)
    finish.set()
    await first


async def test_exclusive_managed_turn_waits_while_another_is_in_a_tool(emulator, client, conversation_id):
    tool, finish = waiting_tool()
    emulator.reply(CALL)
    emulator.reply(lambda request: str(len(request.items)), times=None)

    async def ask(**options):
        session = OpenAIConversationsSession(conversation_id=conversation_id, openai_client=client)
        async with session.turn(server_managed=True, exclusive=True) as turn:
            return await run_managed(turn, **options)

    first = asyncio.ensure_future(ask(tools=[tool]))
    await tool.is_called.wait()
    second = asyncio.ensure_future(ask())
    await asyncio.wait({second}, timeout=0.2)  # without `exclusive`, it is refused in 20 ms
    assert not second.done()
    finish.set()
    assert ["3", "5"] == [result.final_output for result in await asyncio.gather(first, second)]


def waiting_tool():
    """Return a tool, and the event that its call waits for."""
    finish = asyncio.Event()

    @agents.function_tool
    async def look_up() -> str:
        look_up.is_called.set()
        await finish.wait()
        return "found"

    look_up.is_called = asyncio.Event()
    return look_up, finish


async def test_conversation_that_a_killed_worker_left_is_repaired(
    emulator, agent, client, conversation_id, tool
):
    """What is left is what a run that was cancelled leaves: a call without its output."""
    emulator.reply(CALL)
    run = Runner.run(agent.clone(tools=[tool]), "Hello", conversation_id=conversation_id)
    await cancelled_in_a_tool(run, tool)
    emulator.clear_replies()
    await OpenAIConversationsSession(conversation_id=conversation_id, openai_client=client).repair()
    result = await Runner.run(agent, "Hello", conversation_id=conversation_id)
    assert "assistant" == kinds(emulator.items(conversation_id))[-1], result


async def test_lost_reply_in_a_chain_is_another_response_and_not_a_longer_chain(emulator, agent):
    first = await Runner.run(agent, "Hello", auto_previous_response_id=True)
    emulator.inject(Fault("cut_after_commit"), operation="create_response")
    second = await Runner.run(agent, "Hello", previous_response_id=first.last_response_id)
    emulator.reply(lambda request: str(len(request.items)))
    third = await Runner.run(agent, "Hello", previous_response_id=second.last_response_id)
    assert "5" == third.final_output


async def test_run_cancelled_in_a_tool_leaves_a_chain_as_it_was(emulator, agent, tool):
    first = await Runner.run(agent, "Hello", auto_previous_response_id=True)
    emulator.reply(CALL)
    run = Runner.run(agent.clone(tools=[tool]), "Hello", previous_response_id=first.last_response_id)
    await cancelled_in_a_tool(run, tool)
    emulator.clear_replies()
    emulator.reply(lambda request: str(len(request.items)))
    second = await Runner.run(agent, "Hello", previous_response_id=first.last_response_id)
    assert "3" == second.final_output


async def test_two_runs_at_once_are_two_branches_of_a_chain(emulator, agent):
    """Neither sees the other, and nothing is raised."""
    first = await Runner.run(agent, "Hello", auto_previous_response_id=True)
    emulator.reply(lambda request: str(len(request.items)), times=3)
    runs = [Runner.run(agent, "Hello", previous_response_id=first.last_response_id) for _ in range(2)]
    branches = await asyncio.gather(*runs)
    assert ["3", "3"] == [each.final_output for each in branches]
    later = await Runner.run(agent, "Hello", previous_response_id=branches[0].last_response_id)
    assert "5" == later.final_output


async def test_response_that_is_gone_ends_a_chain_and_no_conversation(
    emulator, agent, client, conversation_id
):
    """A response expires after 30 days; a deleted one is refused in the same way."""
    chained = await Runner.run(agent, "Hello", auto_previous_response_id=True)
    stored = await Runner.run(agent, "Hello", conversation_id=conversation_id)
    for result in (chained, stored):
        await client.responses.delete(result.last_response_id)
    with pytest.raises(openai.BadRequestError, match="not found"):
        await Runner.run(agent, "Hello", previous_response_id=chained.last_response_id)
    await Runner.run(agent, "Hello", conversation_id=conversation_id)
    assert TURN * 2 == kinds(emulator.items(conversation_id))


async def test_lost_reply_of_the_model_is_no_second_turn_of_a_session(emulator, agent, client):
    session = OpenAIConversationsSession(openai_client=client)
    emulator.inject(Fault("cut_after_commit"), operation="create_response")
    await Runner.run(agent, "Hello", session=session)
    assert TURN == kinds(emulator.items(session.session_id))


async def test_run_cancelled_in_a_tool_leaves_its_question_in_a_session(emulator, agent, client, tool):
    session = OpenAIConversationsSession(openai_client=client)
    emulator.reply(CALL)
    await cancelled_in_a_tool(Runner.run(agent.clone(tools=[tool]), "Hello", session=session), tool)
    emulator.clear_replies()
    assert ["user"] == kinds(emulator.items(session.session_id))
    await Runner.run(agent, "Hello", session=session)


async def test_run_cancelled_in_a_tool_leaves_nothing_with_a_turn(emulator, agent, client, tool):
    session = OpenAIConversationsSession(openai_client=client)
    emulator.reply(CALL)

    async def run():
        async with session.turn() as turn:
            await Runner.run(agent.clone(tools=[tool]), "Hello", session=turn)

    await cancelled_in_a_tool(run(), tool)
    assert session.conversation_id is None


async def test_ways_change_from_one_turn_to_the_next(emulator, agent, client):
    emulator.reply(lambda request: str(len(request.items)), times=None)
    session = OpenAIConversationsSession(openai_client=client)
    async with session.turn() as turn:
        first = await Runner.run(agent, "Hello", session=turn)
    async with session.turn(server_managed=True) as turn:
        second = await run_managed(turn)
    async with session.turn() as turn:
        third = await Runner.run(agent, "Hello", session=turn)
    assert ["1", "3", "5"] == [each.final_output for each in (first, second, third)]
    fork = await session.fork(before_turn=3)
    assert TURN * 2 == kinds(emulator.items(fork.session_id))


SERVER_MANAGED = ({"conversation_id": "conv_1"}, {"previous_response_id": "resp_1"})

since_0_24 = pytest.mark.skipif(
    tuple(map(int, version("openai-agents").split(".")[:2])) < (0, 24),
    reason="older versions of openai-agents do not refuse them",
)


@since_0_24
@pytest.mark.parametrize("options", SERVER_MANAGED, ids=lambda options: next(iter(options)))
async def test_output_guardrails_need_a_session(agent, options):
    @agents.output_guardrail
    async def check(_context, _agent, _output):
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=False)

    with pytest.raises(UserError, match="Output guardrails cannot be combined"):
        await Runner.run(agent.clone(output_guardrails=[check]), "Hello", **options)


@since_0_24
@pytest.mark.parametrize("options", SERVER_MANAGED, ids=lambda options: next(iter(options)))
async def test_input_filters_of_handoffs_need_a_session(emulator, agent, client, options):
    conversation = await client.conversations.create()
    response = await client.responses.create(model="any name", input="Hello")
    created = {"conversation_id": conversation.id, "previous_response_id": response.id}
    to = handoff(agent.clone(name="Other"), input_filter=lambda data: data)
    emulator.reply({"type": "function_call", "name": to.tool_name, "arguments": "{}"})
    with pytest.raises(UserError, match="do not support handoff input filters"):
        await Runner.run(agent.clone(handoffs=[to]), "Hello", **{name: created[name] for name in options})
