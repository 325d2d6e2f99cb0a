"""`session.turn(server_managed=True)`: a turn that fails is deleted, repaired or kept."""

import asyncio

import agents
import anyio
import openai
import pytest

from openai_sessions.emulator import Fault
from openai_sessions.errors import (
    IncompleteResponseError,
    TurnStateError,
    UnfinishedDeletionError,
    UnsettledWriteError,
)

from .stage import CALL, MODEL, QUESTION, WHOLE


class ToolError(Exception):
    pass


@agents.function_tool(failure_error_function=None)
def add(a: int, b: int) -> int:
    raise ToolError


async def run(turn, *tools, text=QUESTION, **options):
    agent = agents.Agent(name="Adder", model=MODEL, tools=list(tools))
    result = await agents.Runner.run(
        agent, text, conversation_id=turn.conversation_id, run_config=turn.run_config, **options
    )
    return result.final_output


def adder(stage):
    return agents.function_tool(stage.add)


async def failed_turn(stage, *steps, **options):
    """Run a turn that takes steps and then raises."""
    async with stage.session.turn(server_managed=True, **options) as turn:
        for step in steps:
            await step(turn)
        raise ToolError


async def broken_run(stage, **options):
    """Run a turn whose tool raises, behind a turn that is whole."""
    stage.script()
    async with stage.session.turn(server_managed=True) as turn:
        await run(turn, adder(stage))
    stage.emulator.reply({**CALL, "call_id": "call_2"})
    stage.emulator.forget_requests()
    with pytest.raises(agents.exceptions.UserError):
        await failed_turn(stage, lambda turn: run(turn, add, text="And?"), **options)


async def next_run(stage):
    """Return the output of the next run, which the emulator refuses if a call is open."""
    stage.emulator.reply("Fine.")
    async with stage.session.turn(server_managed=True) as turn:
        return await run(turn, text="Next.")


async def test_a_run_that_goes_on_after_its_block_is_stopped(stage):
    """A cancellation between two events of a stream does not reach the run that the SDK has started."""
    runs = []

    async def leave_early(turn):
        agent = agents.Agent(name="Adder", model=MODEL, tools=[adder(stage)])
        options = {"conversation_id": turn.conversation_id, "run_config": turn.run_config}
        runs.append(agents.Runner.run_streamed(agent, QUESTION, **options))
        async for event in runs[0].stream_events():
            if event.type == "run_item_stream_event":
                return

    stage.script()
    with pytest.raises(ToolError):
        await failed_turn(stage, leave_early)
    with pytest.raises(TurnStateError, match="the block of this turn has ended"):
        await runs[0].run_loop_task
    assert [] == stage.stored
    assert 1 == stage.sent()


async def test_the_client_of_a_turn_sends_nothing_after_its_block(stage):
    async with stage.session.turn(server_managed=True) as turn:
        pass
    stage.emulator.forget_requests()
    with pytest.raises(TurnStateError, match="the block of this turn has ended"):
        await turn.client.responses.create(model=MODEL, conversation=stage.conversation_id, input="Hello")
    assert 0 == stage.sent()
    assert [] == stage.stored
    await turn.client.responses.create(model=MODEL, input="Hello")
    assert 1 == stage.sent()


async def test_a_turn_that_ends_well_sends_nothing_at_its_end(stage):
    stage.script()
    stage.emulator.forget_requests()
    async with stage.session.turn(server_managed=True) as turn:
        assert stage.conversation_id == turn.conversation_id
        assert "It is 5." == await run(turn, adder(stage))
    assert WHOLE == stage.stored
    assert ["list_items", "create_response", "create_response"] == stage.operations


@pytest.mark.parametrize("name", ["gpt-5", "openai/gpt-5"])
async def test_the_run_config_is_that_of_the_sdk_with_another_client(stage, name):
    agents.set_default_openai_api("chat_completions")
    try:
        async with stage.session.turn(server_managed=True) as turn:
            agent = agents.Agent(name="Guide", model=name)
            options = {"conversation_id": turn.conversation_id, "run_config": turn.run_config}
            result = await agents.Runner.run(agent, "Hi", **options)
    finally:
        agents.set_default_openai_api("responses")
    assert "You said: Hi" == result.final_output
    assert "gpt-5" == stage.emulator.requests[-1].body["model"]


async def test_a_turn_creates_the_conversation(emulator, stage):
    await stage.session.clear_session()
    async with stage.session.turn(server_managed=True) as turn:
        assert stage.session.session_id == turn.conversation_id


async def test_a_turn_whose_tool_raises_is_deleted(stage):
    await broken_run(stage)
    assert WHOLE == stage.stored
    assert ["list_items", "create_response", "list_items", "delete_item", "delete_item"] == stage.operations
    assert "Fine." == await next_run(stage)


async def test_a_turn_whose_tool_raises_is_repaired(stage):
    await broken_run(stage, on_error="repair")
    assert [*WHOLE, "user", "function_call", "function_call_output"] == stage.stored
    assert ["list_items", "create_response", "list_items", "create_items"] == stage.operations
    assert "Fine." == await next_run(stage)


async def test_a_turn_whose_tool_raises_is_kept(stage):
    await broken_run(stage, on_error="keep")
    assert [*WHOLE, "user", "function_call"] == stage.stored
    with pytest.raises(openai.BadRequestError):
        await next_run(stage)


@pytest.mark.parametrize("kind", ["throttled", "locked"])
async def test_a_turn_cancelled_in_a_request_that_was_refused_before_is_deleted_whole(stage, kind):
    stage.script()
    stage.emulator.inject(Fault(kind), operation="create_response", after=1)
    stage.emulator.inject(Fault("stall_after_commit"), operation="create_response", after=1)
    task = asyncio.create_task(failed_turn(stage, lambda turn: run(turn, adder(stage))))
    while stage.sent() < 3:  # noqa: ASYNC110 -- the emulator has no event to wait for
        await asyncio.sleep(0)
    assert WHOLE == stage.stored
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [] == stage.stored


async def test_a_turn_with_too_many_model_calls_is_deleted_whole(stage):
    for number in range(3):
        stage.emulator.reply({**CALL, "call_id": f"call_{number}"})
    with pytest.raises(agents.MaxTurnsExceeded):
        await failed_turn(stage, lambda turn: run(turn, adder(stage), max_turns=3))
    assert [] == stage.stored


async def test_a_turn_whose_replies_are_lost_is_deleted_whole(stage):
    stage.emulator.inject(Fault("cut_after_commit"), operation="create_response", times=3)
    await test_a_turn_with_too_many_model_calls_is_deleted_whole(stage)


async def test_a_question_that_was_refused_is_not_searched_for(stage):
    stage.emulator.inject(Fault("quota"), operation="create_response")
    stage.emulator.forget_requests()
    with pytest.raises(openai.RateLimitError):
        await failed_turn(stage, run)
    assert [] == stage.stored
    assert ["list_items", "create_response", "list_items"] == stage.operations


@pytest.mark.parametrize("on_error", ["rewind", "repair"])
async def test_a_run_that_is_cancelled_in_a_tool(stage, on_error):
    in_tool = asyncio.Event()

    @agents.function_tool(name_override="add")
    async def slow(a: int, b: int) -> int:
        in_tool.set()
        await asyncio.Event().wait()

    async def turn_of():
        async with stage.session.turn(server_managed=True, on_error=on_error) as turn:
            await run(turn, slow)

    stage.emulator.reply(CALL)
    task = asyncio.create_task(turn_of())
    await in_tool.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ([] if on_error == "rewind" else WHOLE[:3]) == stage.stored
    assert "Fine." == await next_run(stage)


async def test_a_run_that_is_cancelled_in_a_tool_by_anyio(stage):
    """Whose scope cancels each await that follows, too, as that of the lock that another task holds."""
    is_held = asyncio.Event()

    async def hold_for_a_while():
        async with stage.session.turn(exclusive=True):
            is_held.set()
            for _ in range(50):
                await asyncio.sleep(0)

    @agents.function_tool(name_override="add")
    async def slow(a: int, b: int) -> int:
        holding.append(asyncio.create_task(hold_for_a_while()))
        await is_held.wait()
        scope.cancel()
        await asyncio.Event().wait()

    holding = []
    stage.emulator.reply(CALL)
    with anyio.CancelScope() as scope:
        async with stage.session.turn(server_managed=True) as turn:
            await run(turn, slow)
    assert scope.cancelled_caught
    assert [] == stage.stored
    await holding[0]


async def test_what_only_looks_like_the_turn_stays_once_others_have_added_items(stage):
    """The reply was lost, and so was the search."""

    async def lose(turn):
        stage.emulator.inject(Fault("cut_after_commit"), operation="create_response")
        stage.emulator.inject(Fault("quota"), operation="list_items", after=1)
        with pytest.raises(IncompleteResponseError):
            await ask(turn)

    async def add(turn):
        await stage.session.add_items([{"role": "user", "content": "And?"}])

    with pytest.raises(ToolError):
        await failed_turn(stage, lose)
    assert [] == stage.stored
    with pytest.raises(ToolError):
        await failed_turn(stage, lose, add)
    assert ["user", "assistant", "user"] == stage.stored


async def test_a_stream_that_a_run_reads_on_is_cut(stage):
    """The task of a streamed run goes on when its events are no longer read."""

    async def read_a_part(turn):
        agent = agents.Agent(name="Guide", model=MODEL)
        options = {"conversation_id": turn.conversation_id, "run_config": turn.run_config}
        async for event in agents.Runner.run_streamed(agent, "Hi", **options).stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                raise ToolError

    stage.emulator.reply("one two three four five six", delay=0.02)
    with pytest.raises(ToolError):
        await failed_turn(stage, read_a_part)
    stage.emulator.reply("Fine.")
    await stage.session.client().responses.create(  # waits until the conversation is unlocked
        model=MODEL, input="Next", conversation=stage.conversation_id
    )
    assert ["user", "assistant"] == stage.stored


async def test_a_stream_that_is_abandoned_is_deleted(stage):
    async def read_a_part(turn):
        stream = await turn.client.responses.create(
            model=MODEL, input="Hi", conversation=turn.conversation_id, stream=True
        )
        async for event in stream:
            if event.type == "response.output_item.done":
                break
        await stream.close()

    stage.emulator.reply("one two three")
    with pytest.raises(ToolError):
        await failed_turn(stage, read_a_part)
    assert [] == stage.stored


async def test_a_listing_that_does_not_show_it_yet_is_requested_again(stage):
    stage.emulator.reply("Five.")
    stage.emulator.inject(Fault("stale_page"), operation="list_items", after=1)
    stage.emulator.forget_requests()
    with pytest.raises(ToolError):
        await failed_turn(stage, run)
    assert [] == stage.stored
    assert ["list_items", "create_response", "list_items", "list_items"] == stage.operations[:4]


async def test_what_others_have_added_stays(stage):
    async def add_equal(turn):
        await stage.session.add_items([{"role": "user", "content": QUESTION}])

    stage.emulator.reply("Five.")
    with pytest.raises(ToolError):
        await failed_turn(stage, add_equal, run, add_equal)
    assert ["user", "user"] == stage.stored


async def test_a_call_that_others_have_answered_stays(stage):
    async def answer(turn):
        output = {"type": "function_call_output", "call_id": "call_1", "output": "5"}
        await stage.session.add_items([output])

    stage.emulator.reply(CALL)
    with pytest.raises(ToolError):
        await failed_turn(stage, ask, answer)
    assert WHOLE[:3] == stage.stored


async def test_what_cannot_be_deleted_is_in_a_receipt(stage):
    stage.emulator.reply("Five.")
    stage.emulator.inject(Fault("quota"), operation="delete_item", times=2)
    with pytest.raises(UnfinishedDeletionError) as caught:
        await failed_turn(stage, run)
    assert "ToolError" in contexts(caught.value)
    stage.emulator.clear_faults()
    await stage.session.settle(caught.value.receipt)
    assert [] == stage.stored


@pytest.mark.parametrize("operation", ["delete_item", "list_items"])
async def test_what_a_cancelled_turn_cannot_delete_is_left_to_the_next_operation(stage, operation):
    async def cancel(turn):
        stage.emulator.inject(Fault("quota"), operation=operation, times=2)
        raise asyncio.CancelledError

    stage.emulator.reply("Five.")
    with pytest.raises(asyncio.CancelledError):
        await failed_turn(stage, run, cancel)
    assert ["user", "assistant"] == stage.stored
    stage.emulator.clear_faults()
    stored = ["user"] if operation == "list_items" else []  # the question was not seen
    assert stored == [item["role"] for item in await stage.session.get_items()]
    assert stored == stage.stored


async def test_a_failed_turn_without_requests_says_that_it_undoes_nothing(stage, caplog):
    caplog.set_level("INFO", logger="openai_sessions")
    with pytest.raises(ToolError):
        await failed_turn(stage)
    assert "sent no request with turn.client or turn.run_config" in caplog.text


async def test_what_cannot_be_listed_is_in_a_receipt(stage):
    async def refuse_lists(turn):
        stage.emulator.inject(Fault("quota"), operation="list_items")

    stage.emulator.reply("Five.")
    with pytest.raises(UnsettledWriteError) as caught:
        await failed_turn(stage, run, refuse_lists)
    assert ["user", "assistant"] == stage.stored
    await stage.session.settle(caught.value.receipt)
    assert [] == stage.stored


def contexts(error):
    """Return the names of an error and of those that were being handled when it was raised."""
    names = []
    while error is not None:
        names.append(type(error).__name__)
        error = error.__context__
    return names


async def ask(turn):
    await turn.client.responses.create(model=MODEL, input="Hi", conversation=turn.conversation_id)


async def test_an_exclusive_turn_holds_the_conversation(stage):
    stage.script()
    entered = asyncio.Event()

    async def second():
        await entered.wait()
        async with stage.session.turn(server_managed=True, exclusive=True) as turn:
            return await run(turn, text="And?")

    later = asyncio.create_task(second())
    async with stage.session.turn(server_managed=True, exclusive=True) as turn:
        entered.set()
        await run(turn, adder(stage))
        stage.emulator.reply(lambda request: f"after {len(request.items) - 1}")
    assert "after 4" == await later


async def test_an_exclusive_turn_that_fails_is_deleted(stage):
    await broken_run(stage, exclusive=True)
    assert WHOLE == stage.stored


async def test_a_turn_is_used_for_one_block(stage):
    turn = stage.session.turn(server_managed=True)
    with pytest.raises(TurnStateError):
        _ = turn.conversation_id
    async with turn:
        pass
    with pytest.raises(TurnStateError):
        await turn.__aenter__()


@pytest.mark.parametrize("options", [{"on_error": "discard"}, {"on_conflict": "raise"}, {"exclusive": 1}])
def test_arguments_are_checked(stage, options):
    with pytest.raises((ValueError, TypeError)):
        stage.session.turn(server_managed=True, **options)


async def test_what_the_first_listing_has_shown_is_deleted_although_the_second_is_stale(stage):
    """A request is cut and not stored, so that the end of the turn lists twice."""

    async def lose_one(turn):
        stage.emulator.inject(Fault("stall"), operation="create_response")
        task = asyncio.create_task(run(turn, text="And?"))
        while stage.sent() < 3:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait({task})
        stage.emulator.inject(Fault("stale_page"), operation="list_items", after=1)

    stage.script()
    stage.emulator.forget_requests()
    with pytest.raises(ToolError):
        await failed_turn(stage, lambda turn: run(turn, adder(stage)), lose_one)
    assert [] == stage.stored
