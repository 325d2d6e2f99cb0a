"""A turn that is cancelled at any await: afterwards the conversation is as before, or whole."""

import asyncio
import itertools

import agents
import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions.emulator import Fault
from tests.wire import FAST, arguments
from tools.chaos.players import CancelledAt

from .stage import MODEL, QUESTION, WHOLE, Stage

EARLIER = ["user", "assistant"]


@pytest.fixture
async def stage(emulator):
    """In process, where the same turn takes the same steps each time."""
    async with emulator.client() as client:
        session = OpenAIConversationsSession(openai_client=client, **arguments(retry_policy=FAST))
        await session.add_items(
            [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "It is 5."}]
        )
        yield Stage(emulator, client, session, session.session_id)


async def run(turn, stage):
    agent = agents.Agent(name="Adder", model=MODEL, tools=[agents.function_tool(stage.add)])
    await agents.Runner.run(agent, QUESTION, conversation_id=turn.conversation_id, run_config=turn.run_config)


async def run_streamed(turn, stage):
    agent = agents.Agent(name="Adder", model=MODEL, tools=[agents.function_tool(stage.add)])
    result = agents.Runner.run_streamed(
        agent, QUESTION, conversation_id=turn.conversation_id, run_config=turn.run_config
    )
    async for _ in result.stream_events():
        pass


async def cancelled_at(number, stage, runner, on_error):
    """Run a turn, cancel it when its task waits for the so manieth time, and return whether it did."""
    stage.emulator.clear_replies()
    stage.script()

    async def turn_of():
        async with stage.session.turn(server_managed=True, on_error=on_error) as turn:
            await runner(turn, stage)
        return ""

    async def play():
        return await CancelledAt(turn_of(), number)

    try:
        await asyncio.create_task(play())
    except asyncio.CancelledError:
        return True
    except agents.MaxTurnsExceeded:
        pass
    return False


async def cancelled_after(steps, stage, runner, on_error):
    """Run a turn, cancel it after some steps of the event loop, and return whether that was in time."""
    stage.emulator.clear_replies()
    stage.script()

    async def turn_of():
        async with stage.session.turn(server_managed=True, on_error=on_error) as turn:
            await runner(turn, stage)

    task = asyncio.create_task(turn_of())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


async def run_of_one_turn(turn, stage):
    """A run whose first response is a call, and that must not make another one."""
    agent = agents.Agent(name="Adder", model=MODEL, tools=[agents.function_tool(stage.add)])
    await agents.Runner.run(
        agent, QUESTION, max_turns=1, conversation_id=turn.conversation_id, run_config=turn.run_config
    )


async def next_response(stage):
    """Ask for a response, which the emulator refuses if a call is open."""
    stage.emulator.clear_replies()
    stage.emulator.clear_faults()
    await stage.client.responses.create(model=MODEL, input="Next", conversation=stage.conversation_id)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("garbage_collected")
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")  # of the Runner
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("on_error", "kind"),
    [("rewind", None), ("rewind", "cut_after_commit"), ("rewind", "cut_before"), ("repair", None)],
)
@pytest.mark.parametrize("runner", [run, run_streamed])
async def test_a_turn_that_is_cancelled_at_any_await(stage, runner, on_error, kind):
    for steps in itertools.count(1, 2 if kind is None else 7):
        if kind:
            stage.emulator.inject(Fault(kind), operation="create_response", after=1)
        was_in_time = await cancelled_after(steps, stage, runner, on_error)
        stored = stage.stored
        if on_error == "rewind" and was_in_time:
            assert EARLIER == stored, steps
        await next_response(stage)
        if not was_in_time:
            assert [*EARLIER, *WHOLE] == stored
            return
        await stage.session.rewind(before_turn=2)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("garbage_collected")
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")  # of the Runner
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("on_error", ["rewind", "repair"])
async def test_a_failed_turn_that_is_cancelled_while_it_is_undone(stage, on_error):
    for number in itertools.count(1):
        was_in_time = await cancelled_at(number, stage, run_of_one_turn, on_error)
        if on_error == "rewind":
            assert EARLIER == stage.stored, number
        await next_response(stage)
        if not was_in_time:
            return
        await stage.session.rewind(before_turn=2)
