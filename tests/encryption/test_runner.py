"""With the Runner, a model receives the same input as with the Agents SDK's SQLiteSession."""

import contextlib

import agents
import pytest
from agents import Agent, RunState, SQLiteSession
from agents.models.chatcmpl_converter import Converter
from agents.models.fake_id import FAKE_RESPONSES_ID

from openai_sessions import OpenAIConversationsSession, SessionError
from openai_sessions.encryption import EncryptedSession, SkippedItems
from tests.agents.compacting import CompactingService
from tests.agents.elsewhere import asks_to_delete, deleting_agent
from tests.agents.scripted import ScriptedModel, add, calls, roles_and_types, says, thinks
from tests.agents.staging import RUNNERS, play
from tests.agents.test_compaction import by_clearing, compacting, comparable, in_place, turns_with_tools

from .stores import HELLO, HI, KEY, OTHER_KEY, said


@pytest.fixture(autouse=True)
def _tracing_is_off():
    agents.set_tracing_disabled(disabled=True)


@pytest.fixture(params=["hosted", "sqlite"])
def underlying(request, hosted, tmp_path):
    if request.param == "hosted":
        yield hosted
        return
    with contextlib.closing(SQLiteSession("first user", tmp_path / "sessions.db")) as session:
        yield session


@pytest.fixture(params=RUNNERS, ids=lambda runner: runner.__name__)
def runner(request):
    return request.param


async def test_gemini_gets_its_thought_signature_back(underlying):
    call = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
    signed = {"model": "gemini/gemini-3-pro", "thought_signature": "EqQBCqEB"}
    session = EncryptedSession("first user", underlying, KEY)
    await session.add_items([HELLO, {**call, "id": "__fake_id__", "provider_data": signed}])
    messages = Converter.items_to_messages(await session.get_items(), model="gemini/gemini-3-pro")
    (tool_call,) = messages[1]["tool_calls"]
    assert tool_call["extra_content"] == {"google": {"thought_signature": "EqQBCqEB"}}


async def a_talk(stage):
    model = stage.model(
        [says("Yes?")],
        [thinks("Sum."), calls("add", '{"a": 1, "b": 2}', status="completed")],
        [says("3.")],
        [says("Let me see."), calls("add", '{"a": 3, "b": 4}', call_id="call_second")],
        [says("7.")],
    )
    agent = Agent(name="Adder", model=model, tools=[add])
    await stage.run(agent, "Hello.")
    await stage.run(agent, "1 + 2?")
    await stage.run(agent, [{"role": "user", "content": [{"type": "input_text", "text": "And 4?"}]}])


async def test_model_receives_the_same_input(runner, underlying, clock):
    sqlite = SQLiteSession("alike")
    expected = await play(a_talk, runner, sqlite)
    sqlite.close()

    session = EncryptedSession("first user", underlying, KEY, clock=clock)
    actual = await play(a_talk, runner, session)

    assert expected.outcomes == actual.outcomes
    assert list(map(comparable, expected.inputs[0])) == list(map(comparable, actual.inputs[0]))
    assert comparable(expected.history) == comparable(actual.history)
    assert 12 == len(actual.history)
    assert SkippedItems() == session.skipped_in_total


async def test_model_receives_no_ids_of_answers(underlying, clock):
    session = EncryptedSession("first user", underlying, KEY, clock=clock)
    model = ScriptedModel([[says("Yes?")], [says("Here.")]])
    agent = Agent(name="Guide", model=model)
    await agents.Runner.run(agent, "Hello.", session=session)
    await agents.Runner.run(agent, "Are you there?", session=session)

    shown = model.calls[1].input
    assert ["user", "assistant", "user"] == roles_and_types(shown)
    assert [None, FAKE_RESPONSES_ID, None] == [item.get("id") for item in shown]  # no request has this id


async def test_run_resumes_after_an_approval(runner, underlying, clock):
    session = EncryptedSession("first user", underlying, KEY, clock=clock)
    agent = deleting_agent(ScriptedModel([[asks_to_delete("a.txt")], [says("Gone.")]]))
    interrupted = await runner(agent, "Delete a.txt.", session=session)
    state = await RunState.from_string(agent, interrupted.to_state().to_string())
    for interruption in state.get_interruptions():
        state.approve(interruption)

    later = EncryptedSession("first user", underlying, KEY, clock=clock)
    result = await runner(agent, state, session=later)

    assert "Gone." == result.final_output
    expected = ["user", "function_call", "function_call_output", "assistant"]
    assert expected == roles_and_types(await later.get_items())


async def test_expired_items_are_omitted_and_do_not_end_a_run(clock, hosted):
    session = EncryptedSession("first user", hosted, KEY, clock=clock)
    model = ScriptedModel([[says("Yes?")], [says("Here.")]])
    agent = Agent(name="Guide", model=model)
    await agents.Runner.run(agent, "Hello.", session=session)
    clock.now += 601
    await agents.Runner.run(agent, "Are you there?", session=session)

    assert ["user"] == roles_and_types(model.calls[1].input)
    assert SkippedItems(expired=2) == session.skipped


async def test_compaction_by_the_runner(runner, underlying, clock):
    """The model and the compaction service receive the same input as with SQLiteSession."""
    expected_service, service = CompactingService(), CompactingService()
    sqlite = SQLiteSession("compacting")
    expected = await play(turns_with_tools, runner, compacting(sqlite, expected_service))
    sqlite.close()

    session = EncryptedSession("first user", underlying, KEY, clock=clock)
    actual = await play(turns_with_tools, runner, compacting(session, service))

    assert expected_service.requests
    shown = [[comparable(body["input"]) for body in each.requests] for each in (expected_service, service)]
    assert shown[0] == shown[1]
    assert comparable(expected.history) == comparable(actual.history)
    assert "gAAAA" not in str(service.requests)
    assert all("gAAAA" in str(item) for item in await underlying.get_items())


async def compact(session):
    service = CompactingService()
    await compacting(session, service).run_compaction({"force": True})
    return service


@in_place
async def test_compaction_keeps_unreadable_items(encrypted, hosted):
    session, other = encrypted(), encrypted(key=OTHER_KEY)
    await session.add_items([HELLO, HI])
    await other.add_items(said("theirs"))
    before = hosted.session_id

    service = await compact(session)

    assert [HELLO, HI] == service.requests[0]["input"]
    assert ["user", "compaction"] == roles_and_types(await session.get_items())
    assert said("theirs") == await other.get_items()
    assert before == hosted.session_id


@in_place
async def test_compaction_that_would_lose_unreadable_items_is_refused(encrypted, tmp_path):
    """SQLiteSession cannot replace a history at once: the Agents SDK clears it."""
    with contextlib.closing(SQLiteSession("first user", tmp_path / "sessions.db")) as sqlite:
        session, other = encrypted(sqlite), encrypted(sqlite, key=OTHER_KEY)
        await session.add_items([HELLO, HI])
        await other.add_items(said("theirs"))
        with pytest.raises(SessionError, match=r"1 unreadable item.* would be lost"):
            await compact(session)
        assert [HELLO, HI] == await session.get_items()
        assert said("theirs") == await other.get_items()


@in_place
async def test_compaction_by_the_runner_keeps_an_unreadable_history(encrypted, client):
    hosted = OpenAIConversationsSession(openai_client=client)
    session, other = encrypted(hosted), encrypted(hosted, key=OTHER_KEY)
    await other.add_items(said("theirs"))
    service = CompactingService()

    await play(turns_with_tools, RUNNERS[0], compacting(session, service))

    assert [] == service.requests
    assert said("theirs") == await other.get_items()


@by_clearing
async def test_compaction_by_clearing_encrypts_the_added_items(encrypted, hosted):
    session = encrypted()
    await session.add_items([HELLO, HI])
    await compact(session)
    assert ["user", "compaction"] == roles_and_types(await session.get_items())
    assert 2 == str(await hosted.get_items()).count("gAAAA")
