"""Runs of an agent in a turn of a session: what they cost, and that each is stored whole or not at all."""

from __future__ import annotations

import asyncio

import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    OutputGuardrailTripwireTriggered,
    RunHooks,
    SQLiteSession,
    UserError,
    function_tool,
    input_guardrail,
    output_guardrail,
)

from openai_sessions import OpenAIConversationsSession
from openai_sessions._items.turns import open_calls
from tests.selection import one_in

from .compacting import CompactingService
from .elsewhere import asks_to_delete, deleting_agent
from .normalised import normalised
from .scripted import ScriptedModel, add, calls, roles_and_types, says, thinks
from .staging import RUNNERS, play
from .test_compaction import compacting, comparable, three_turns, turns_with_tools

CREATE, READ, WRITE = "create_conversation", "list_items", "create_items"

ADDS = [
    [thinks("Hm.", encrypted_content="gAAAAA"), calls("add", '{"a": 1, "b": 2}', call_id="call_1")],
    [calls("add", '{"a": 3, "b": 4}', call_id="call_2")],
    [says("3 and 7.")],
]


def adder(*steps, **options):
    return Agent(name="Adder", model=ScriptedModel(steps or ADDS), tools=[add], **options)


def operations(emulator):
    return [request.operation for request in emulator.requests]


@pytest.fixture(params=one_in(3, RUNNERS), ids=lambda runner: runner.__name__)
def runner(request):
    return request.param


@pytest.fixture
async def session(client, emulator):
    """A session on a conversation that it knows, with two items."""
    session = OpenAIConversationsSession(openai_client=client)
    await session.add_items([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])
    emulator.forget_requests()
    return session


class CountingHooks(RunHooks):
    """Keeps the operations that are requested before the model is called for the first time."""

    def __init__(self, emulator):
        self.before_model = None
        self._emulator = emulator

    async def on_llm_start(self, *args, **kwargs):
        if self.before_model is None:
            self.before_model = operations(self._emulator)


# The requests of a run


@pytest.mark.parametrize("exclusive", [False, True])
async def test_the_first_run_is_a_creation_and_one_write(client, emulator, runner, exclusive):
    session = OpenAIConversationsSession(openai_client=client)
    async with session.turn(exclusive=exclusive) as turn:
        await runner(adder(), "Add.", session=turn)
    assert operations(emulator) == ([CREATE, READ, WRITE] if exclusive else [CREATE, WRITE])
    assert len(await session.get_items()) == 7


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("history", ["full", "incremental"])
async def test_a_run_is_one_read_and_one_write(emulator, session, runner, history, exclusive):
    """One round trip is before the model, however often it is called."""
    session = OpenAIConversationsSession(
        openai_client=emulator.client(), conversation_id=session.session_id, history=history
    )
    for _ in range(2):
        emulator.forget_requests()
        hooks = CountingHooks(emulator)
        async with session.turn(exclusive=exclusive) as turn:
            result = await runner(adder(), "Add.", session=turn, hooks=hooks)
        assert hooks.before_model == [READ]
        assert operations(emulator) == [READ, WRITE]
        assert result.final_output == "3 and 7."


async def test_a_run_of_a_long_history_reads_its_pages_and_writes_once(client, emulator, session, runner):
    await session.add_items([{"role": "user", "content": str(number)} for number in range(250)])
    emulator.forget_requests()
    resumed = OpenAIConversationsSession(openai_client=client, conversation_id=session.session_id)
    async with resumed.turn() as turn:
        await runner(adder(), "Add.", session=turn)
    assert operations(emulator)[-1:] == [WRITE]
    assert set(operations(emulator)[:-1]) == {READ}
    assert len(operations(emulator)) <= 5 + 1


# Runs that end well


@pytest.mark.parametrize("scenario", [three_turns, turns_with_tools])
async def test_the_model_sees_what_it_sees_with_the_session_itself(client, runner, scenario):
    async def in_a_turn(agent, given, *, session, **options):
        async with session.turn() as turn:
            return await runner(agent, given, session=turn, **options)

    expected = await play(scenario, runner, OpenAIConversationsSession(openai_client=client))
    actual = await play(scenario, in_a_turn, OpenAIConversationsSession(openai_client=client))
    assert expected == actual


async def test_a_run_that_waits_for_an_approval_is_resumed_in_another_turn(client, runner):
    session = OpenAIConversationsSession(openai_client=client)
    agent = deleting_agent(ScriptedModel([[asks_to_delete("a")], [says("Done.")]]))
    async with session.turn() as turn:
        interrupted = await runner(agent, "Delete a.", session=turn)
    assert roles_and_types(await session.get_items())[:1] == ["user"]
    state = interrupted.to_state()
    state.approve(interrupted.interruptions[0])
    async with session.turn() as turn:
        result = await runner(agent, state, session=turn)
    assert result.final_output == "Done."
    assert roles_and_types(await session.get_items()) == [
        *("user", "function_call", "function_call_output", "assistant")
    ]


async def test_a_turn_can_be_compacted(client, emulator, runner):
    """The SDK's compaction replaces the history in the turn: what is stored is the compacted one."""
    sqlite = SQLiteSession("compacting")
    expected_service, service = CompactingService(), CompactingService()
    expected = await play(three_turns, runner, compacting(sqlite, expected_service))
    sqlite.close()

    session = OpenAIConversationsSession(openai_client=client)

    async def compacted_run(agent, given, *, session, **options):
        async with session.turn() as turn:
            return await runner(agent, given, session=compacting(turn, service), **options)

    actual = await play(three_turns, compacted_run, session)
    assert [comparable(body["input"]) for body in expected_service.requests] == [
        comparable(body["input"]) for body in service.requests
    ]
    assert [[comparable(shown) for shown in model] for model in expected.inputs] == [
        [comparable(shown) for shown in model] for model in actual.inputs
    ]
    assert comparable(expected.history) == comparable(actual.history)
    assert 1 == operations(emulator).count(CREATE)


async def test_a_compaction_after_a_turn_sees_what_the_model_has_seen(session):
    """What was read in replay form, and what the turn has added as it was given."""
    call = {**calls("add", call_id="call_7", status="completed").model_dump(exclude_unset=True)}
    output = {"type": "function_call_output", "call_id": "call_7", "output": "3"}
    await session.add_items([call, output])
    async with session.turn() as turn:
        await turn.get_items()
        await turn.add_items([{**call, "call_id": "call_8"}])
    items, is_whole = await OpenAIConversationsSession._read_compaction_items(session, 99)
    assert is_whole
    assert [None, "completed"] == [item.get("status") for item in items if "arguments" in item]


# Runs that fail


@function_tool(failure_error_function=None)
def explode() -> str:
    raise ZeroDivisionError


def trips(decorate, **options):
    @decorate(**options)
    async def guardrail(context, agent, given):
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)

    return guardrail


def failing(name):
    """Return an agent whose run fails after it has added something, and the error."""
    asks = [says("Let me see."), calls("explode", "{}", call_id="call_9")]
    for_ever = [[calls("add", '{"a": 1, "b": 2}', call_id=f"call_{number}")] for number in range(9)]
    return {
        "a tool": lambda: (
            Agent(name="A", model=ScriptedModel([*ADDS[:2], asks]), tools=[add, explode]),
            UserError,
        ),
        "an input guardrail": lambda: (
            adder(input_guardrails=[trips(input_guardrail, run_in_parallel=False)]),
            InputGuardrailTripwireTriggered,
        ),
        "an output guardrail": lambda: (
            adder(output_guardrails=[trips(output_guardrail)]),
            OutputGuardrailTripwireTriggered,
        ),
        "the model": lambda: (adder(*ADDS[:2], ConnectionError()), ConnectionError),
        "too many turns": lambda: (adder(*for_ever), MaxTurnsExceeded),
    }[name]()


FAILURES = ["a tool", "an input guardrail", "an output guardrail", "the model", "too many turns"]


@pytest.mark.parametrize("name", FAILURES)
async def test_a_run_that_fails_leaves_the_conversation_as_it_was(emulator, session, runner, name):
    before = emulator.items(session.session_id)
    agent, error = failing(name)
    with pytest.raises(error):
        async with session.turn() as turn:
            await runner(agent, "Add.", session=turn, max_turns=5)
    assert set(operations(emulator)) <= {READ}
    assert before == emulator.items(session.session_id)


@pytest.mark.parametrize("name", FAILURES)
async def test_what_is_complete_of_a_run_that_fails_can_be_kept(emulator, session, runner, name):
    agent, error = failing(name)
    with pytest.raises(error):
        async with session.turn(on_error="keep") as turn:
            await runner(agent, "Add.", session=turn, max_turns=5)
    assert operations(emulator).count(WRITE) <= 1
    kept = await session.get_items()
    assert open_calls(kept) == []
    assert kept[-1].get("type") != "reasoning"
    if name in ("a tool", "the model", "too many turns"):
        assert roles_and_types(kept)[2] == "user"
    result = await runner(adder([says("Yes.")]), "And now?", session=session)
    assert result.final_output == "Yes."


async def run_and_cancel(runner, session, steps, on_error):
    """Run an agent in a turn, and cancel it after so many steps of the event loop; return whether it was."""

    async def work():
        async with session.turn(on_error=on_error) as turn:
            await runner(adder(), "Add.", session=turn)

    task = asyncio.ensure_future(work())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    return task.cancelled()


@pytest.mark.exhaustive
@pytest.mark.usefixtures("garbage_collected")
@pytest.mark.filterwarnings("ignore:coroutine 'run_single_turn' was never awaited")  # the SDK's
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("runner", RUNNERS[:2])
@pytest.mark.parametrize("on_error", ["discard", "keep"])
async def test_a_run_cancelled_at_any_moment_is_whole_or_absent(client, runner, on_error):
    steps, outcomes = 0, set()
    while True:
        session = OpenAIConversationsSession(openai_client=client)
        await session.add_items([{"role": "user", "content": "Hi"}])
        was_cancelled = await run_and_cancel(runner, session, steps, on_error)
        stored = roles_and_types(normalised(await session.get_items()))[1:]
        outcomes.add(len(stored))
        whole = ["user", "reasoning", *["function_call", "function_call_output"] * 2, "assistant"]
        if on_error == "discard":
            assert stored in ([], whole), steps
        else:
            assert stored == whole[: len(stored)], steps
            assert open_calls(await session.get_items()) == [], steps
        if not was_cancelled:
            assert stored == whole
            break
        steps += 1
    assert {0, 7} <= outcomes
    assert steps > 20
