"""A run that waits for a person's approval and is resumed: here, and in another process."""

import agents
import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    RunConfig,
    RunState,
    SQLiteSession,
    output_guardrail,
    run_state,
)

from openai_sessions import ConversationNotCreatedError, OpenAIConversationsSession
from tests.selection import one_in

from .elsewhere import approved, asks_to_delete, continue_elsewhere, deleting_agent
from .normalised import normalised
from .scripted import says
from .staging import RUNNERS, Stage, play, run

keeps_pending_writes = pytest.mark.skipif(
    not hasattr(run_state, "_PendingSessionWrite"),
    reason=f"openai-agents {agents.__version__} keeps no pending writes in the state of a run",
)


@output_guardrail
async def nothing_trips(context, agent, output):
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered=False)


async def test_interruption_approved(alike):
    async def scenario(stage):
        model = stage.model([asks_to_delete("a")], [says("Done.")], [says("Yes.")])
        agent = deleting_agent(model)
        interrupted = await stage.run(agent, "Delete a.")
        state = interrupted.to_state()
        state.approve(interrupted.interruptions[0])
        await stage.run(agent, state)
        await stage.run(agent, "Sure?")

    played = await alike(scenario)

    assert ["function_call", "function_call_output"] == [item["type"] for item in played.history[1:3]]


async def test_interruption_rejected(alike):
    async def scenario(stage):
        agent = deleting_agent(stage.model([asks_to_delete("a")], [says("As you wish.")], [says("No.")]))
        interrupted = await stage.run(agent, "Delete a.")
        state = interrupted.to_state()
        state.reject(interrupted.interruptions[0])
        await stage.run(agent, state)
        await stage.run(agent, "Is it gone?")

    played = await alike(scenario)

    assert "Deleted" not in str(played.history)


async def test_interruption_approved_one_by_one(alike):
    async def scenario(stage):
        model = stage.model([asks_to_delete("a"), asks_to_delete("b")], [says("Both gone.")])
        agent = deleting_agent(model)
        result = await stage.run(agent, "Delete a and b.")
        while result.interruptions:
            state = result.to_state()
            state.approve(result.interruptions[0])
            result = await stage.run(agent, state)

    played = await alike(scenario)

    assert "Both gone." == played.outcomes[-1]
    assert 2 == sum(item.get("type") == "function_call_output" for item in played.history)


async def test_interruption_resumed_from_a_serialised_state(alike):
    async def scenario(stage):
        agent = deleting_agent(stage.model([says("Hello.")], [asks_to_delete("a")], [says("Done.")]))
        await stage.run(agent, "Hi.")
        interrupted = await stage.run(agent, "Delete a.")
        state = await RunState.from_json(agent, interrupted.to_state().to_json())
        state.approve(state.get_interruptions()[0])
        await stage.run(agent, state)

    played = await alike(scenario)

    assert 6 == len(played.history)


async def test_interruption_with_an_output_guardrail(alike):
    async def scenario(stage):
        model = stage.model([asks_to_delete("a")], [says("Done.")], [says("Yes.")])
        agent = deleting_agent(model, output_guardrails=[nothing_trips])
        interrupted = await stage.run(agent, "Delete a.")
        await stage.run(agent, await approved(agent, interrupted.to_state().to_string()))
        await stage.run(agent, "Sure?")

    played = await alike(scenario)

    assert 6 == len(played.history)


STORES_NOTHING = RunConfig(session_input_callback=lambda history, new: [])
"""Drops all of the input, so that nothing is written before the model is called."""

WITHHOLDS = {"output_guardrails": [nothing_trips], "tool_use_behavior": "stop_on_first_tool"}
"""The output of a tool may be the final output, which a guardrail must see before anything is written."""


@keeps_pending_writes
async def test_interruption_on_an_unused_session_to_which_nothing_was_written(runner, client):
    """The Runner asks for the id of a conversation that is not there yet: our error says so."""
    stage = Stage(runner, OpenAIConversationsSession(openai_client=client))
    agent = deleting_agent(stage.model([asks_to_delete("a")]), **WITHHOLDS)

    await stage.run(agent, "Delete a.", run_config=STORES_NOTHING)

    assert [ConversationNotCreatedError.__name__] == stage.outcomes
    assert stage.session.conversation_id is None


async def test_interruption_on_an_unused_session_whose_conversation_was_ensured(alike):
    """`await session.ensure_conversation()` before the run is the way to wait with nothing written."""

    async def scenario(stage):
        if isinstance(stage.session, OpenAIConversationsSession):
            await stage.session.ensure_conversation()
        agent = deleting_agent(stage.model([asks_to_delete("a")]), **WITHHOLDS)
        interrupted = await stage.run(agent, "Delete a.", run_config=STORES_NOTHING)
        await stage.run(agent, await approved(agent, interrupted.to_state().to_string()))

    played = await alike(scenario)

    assert "Deleted a." == played.outcomes[-1]
    assert ["function_call", "function_call_output"] == [item["type"] for item in played.history]


async def interrupted_state(session):
    """Return the serialised state of a run that waits for approval, after a turn."""
    stage = Stage(run, session)
    agent = deleting_agent(stage.model([says("Hello.")], [asks_to_delete("a")]))
    await stage.run(agent, "Hi.")
    return (await stage.run(agent, "Delete a.")).to_state().to_string()


@pytest.mark.exhaustive
async def test_interruption_resumed_in_a_new_process(runner, emulator, client, tmp_path):
    database = tmp_path / "sessions.db"
    sqlite = SQLiteSession("elsewhere", database)
    session = OpenAIConversationsSession(openai_client=client)
    expected_state, state = await interrupted_state(sqlite), await interrupted_state(session)

    with emulator.serve() as base_url:
        conversation = base_url, session.session_id
        expected = continue_elsewhere(runner, "Done.", state=expected_state, database=database)
        actual = continue_elsewhere(runner, "Done.", state=state, conversation=conversation)

    expected_history = normalised(await sqlite.get_items())
    sqlite.close()
    assert expected == actual
    assert expected_history == normalised(await session.get_items())
    assert 6 == len(expected_history)


@pytest.mark.exhaustive
@pytest.mark.parametrize("runner", one_in(3, RUNNERS), ids=lambda runner: runner.__name__)
async def test_turn_in_a_new_process_with_a_resumed_session_is_like_one_in_the_same(runner, emulator, client):
    here, there = (OpenAIConversationsSession(openai_client=client) for _ in range(2))
    for session in (here, there):
        stage = Stage(runner, session)
        agent = Agent(name="Janitor", model=stage.model([says("Hello.")]))
        await stage.run(agent, "Hi.")

    stage = Stage(runner, here)
    await stage.run(deleting_agent(stage.model([says("Fine.")])), "How are you?")
    with emulator.serve() as base_url:
        conversation = base_url, there.session_id
        shown, outcome = continue_elsewhere(runner, "Fine.", given="How are you?", conversation=conversation)

    played = await stage.played()
    assert [[shown]] == played.inputs
    assert [outcome] == played.outcomes
    assert played.history == normalised(await there.get_items())


class LosesAnAnswer:
    """Mixed into a session: the write that `loses_the_next` announces raises, although it is stored."""

    loses_the_next = False

    async def add_items(self, items):
        await super().add_items(items)
        if self.loses_the_next:
            self.loses_the_next = False
            raise ConnectionError


class ForgetfulSQLite(LosesAnAnswer, SQLiteSession):
    pass


class ForgetfulOurs(LosesAnAnswer, OpenAIConversationsSession):
    pass


@keeps_pending_writes
async def test_interruption_whose_resumed_write_lost_its_answer(runner, client):
    """The state, resumed once more, recognises its write in the history and does not repeat it."""

    async def scenario(stage):
        agent = deleting_agent(stage.model([asks_to_delete("a")], [says("Done.")]))
        interrupted = await stage.run(agent, "Delete a.")
        state = interrupted.to_state()
        state.approve(interrupted.interruptions[0])
        stage.session.loses_the_next = True
        await stage.run(agent, state)
        await stage.run(agent, state)

    sqlite = ForgetfulSQLite("forgetful")
    expected = await play(scenario, runner, sqlite)
    sqlite.close()
    actual = await play(scenario, runner, ForgetfulOurs(openai_client=client))

    assert [None, "ConnectionError", "Done."] == actual.outcomes
    assert 4 == len(actual.history)
    assert expected == actual
