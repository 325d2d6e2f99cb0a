"""Reads through filters: what they return, what they ask for, and which reads go past them."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from itertools import pairwise

import pytest
from agents import Agent, OpenAIResponsesModel, RunConfig, Runner, SessionSettings, function_tool
from agents.memory import OpenAIResponsesCompactionSession

from openai_sessions import EncryptedSession, HistoryLimits, OpenAIConversationsSession, copy_session, sync
from openai_sessions.directory import SessionDirectory
from openai_sessions.errors import InvalidReadingError
from openai_sessions.reading import ImagesAndFiles, ToolOutputs
from tests.faults.world import World
from tests.fixtures.samples import sample

QUESTION, ANSWER = {"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}
CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "x" * 100}
SHORT = {**OUTPUT, "output": "xx… [98 characters left out]"}
TURN, TRIMMED = [QUESTION, CALL, OUTPUT, ANSWER], [QUESTION, CALL, SHORT, ANSWER]
CUT = ToolOutputs(keep_turns=1, max_characters=2)
KEY = "a random key of this test"


@pytest.fixture
def world(emulator):
    return World(emulator)


@pytest.fixture
async def session(world):
    return await world.session_with(*TURN * 2, reading=[CUT])


def reversed_texts(items):
    return [{**item, "content": item["content"][::-1]} if "content" in item else item for item in items]


# What is read, and what is not


@pytest.mark.parametrize("history", ["full", "incremental"])
async def test_a_read_is_filtered_and_the_stored_history_is_not(world, history):
    """It takes the same requests."""
    session = await world.session_with(*TURN * 2, reading=[CUT], history=history)
    assert await session.get_items() == await session.get_items() == [*TRIMMED, *TURN]
    assert await world.session(session.session_id).get_items() == TURN * 2
    assert world.wire() == "LLL"


async def test_limits_count_before_the_filters(session):
    assert await session.get_items(turns=1) == TURN
    assert await session.get_items(turns=2) == [*TRIMMED, *TURN]
    assert await session.get_items(max_tokens=7, count_tokens=lambda _: 1) == TURN


async def test_history_limits_count_before_the_filters(world, session):
    limited = world.session(
        session.session_id, reading=[ToolOutputs(keep_turns=0)], history_limits=HistoryLimits(max_turns=1)
    )
    assert await limited.get_items() == [QUESTION, CALL, OUTPUT, ANSWER]
    assert await world.session(session.session_id, reading=[CUT]).get_items(limit=None) == [*TRIMMED, *TURN]


async def test_a_read_with_another_limit_than_that_of_the_settings_goes_past_the_filters(session):
    """The Runner compares the newest items with what it has written."""
    assert await session.get_items(limit=8) == TURN * 2
    session.session_settings = {"limit": 8}
    assert await session.get_items(limit=8) == await session.get_items() == [*TRIMMED, *TURN]
    assert await session.get_items(limit=9) == TURN * 2


async def test_every_other_read_sees_the_stored_history(world, session):
    other = world.session()
    await copy_session(session, other)
    assert await other.get_items() == TURN * 2
    assert [list(turn.items) for turn in await session.turns()] == [TURN, TURN]
    assert len(await session.find_turns("x" * 100)) == 2
    assert [item async for item in session.iterate_items()] == TURN * 2
    assert (await session.check()).findings == ()
    assert await world.session((await session.fork()).session_id).get_items() == TURN * 2
    await session.pop_item()
    assert await session.pop_item() == OUTPUT
    assert await world.session(session.session_id).get_items() == [*TURN, QUESTION, CALL]


async def test_a_copy_through_a_wrapper_of_the_agents_sdk_sees_the_stored_history(world, session):
    """The wrapper has no `iterate_items`."""
    other = world.session()
    await copy_session(OpenAIResponsesCompactionSession("any", session), other)
    assert await other.get_items() == TURN * 2


async def test_a_fork_has_the_filters(session):
    assert await (await session.fork()).get_items() == [*TRIMMED, *TURN]


async def test_compaction_reads_the_stored_history(session):
    for limit in (None, 9):
        assert (await type(session)._read_compaction_items(session, limit))[0] == TURN * 2
    async with session.turn() as turn:
        assert (await type(turn)._read_compaction_items(turn, None))[0] == TURN * 2


async def test_compaction_of_a_subclass_reads_the_stored_history(world, session):
    class Loud(OpenAIConversationsSession):
        async def get_items(self, limit=None, **options):
            return reversed_texts(await super().get_items(limit, **options))

    loud = Loud(conversation_id=session.session_id, openai_client=world.client, reading=[CUT])
    assert await loud.get_items() == reversed_texts([*TRIMMED, *TURN])
    assert (await Loud._read_compaction_items(loud, None))[0] == reversed_texts(TURN * 2)


async def test_a_turn_filters_what_is_stored_and_what_it_adds_once(world):
    seen = []

    def count(items):
        seen.append(len(items))
        return CUT(items)

    session = await world.session_with(*TURN, reading=[count])
    async with session.turn() as turn:
        assert await turn.get_items() == TURN
        await turn.add_items(TURN)
        assert await turn.get_items() == [*TRIMMED, *TURN]
        assert await turn.get_items(limit=8) == turn.pending * 2 == TURN * 2
    assert seen == [4, 8]
    assert world.wire() == "LP"
    assert await world.session(session.session_id).get_items() == TURN * 2


async def test_an_unused_session_asks_for_nothing(world):
    session = world.session(reading=[CUT, lambda items: [*items, QUESTION]])
    assert await session.get_items() == [QUESTION]
    assert world.wire() == ""


# Filters of the caller


async def test_filters_are_applied_in_order(world, session):
    newest = world.session(session.session_id, reading=[lambda items: items[4:], CUT])
    assert await newest.get_items() == TURN


async def test_a_filter_may_change_what_it_is_given_and_be_a_coroutine_function(world, session):
    async def shout(items):
        await asyncio.sleep(0)
        for item in items:
            if "content" in item:
                item["content"] = item["content"].upper()
        del items[:4]
        return items

    for history in ("full", "incremental"):
        loud = world.session(session.session_id, reading=[shout], history=history)
        for _ in range(2):
            assert await loud.get_items() == [
                {"role": "user", "content": "WHERE?"},
                CALL,
                OUTPUT,
                {"role": "assistant", "content": "HERE."},
            ]
        assert [list(turn.items) for turn in await loud.turns()] == [TURN, TURN]


async def test_an_exception_of_a_filter_passes_through(world, session):
    def fail(items):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await world.session(session.session_id, reading=[fail]).get_items()


def first_is(value):
    return lambda items: [value, *items[1:]]


def without(*places):
    return lambda items: [item for place, item in enumerate(items) if place not in places]


REASONING = {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (lambda _: None, "a value of type NoneType, not a list of items"),
        (tuple, "a value of type tuple, not a list of items"),
        (first_is("Hello"), "a list whose items[0] is of type str, not a dict"),
        (first_is({"content": "x"}), "a list whose items[0] has neither 'type' nor 'role'"),
        (without(2), "a list whose items[1] (function_call call_1) has no output"),
        (
            without(1),
            (
                "a list whose items[1] (function_call_output call_1) follows no call of its type with "
                "its call_id"
            ),
        ),
        (
            lambda items: [*items[:3], *items[2:]],
            "a list whose items[3] (function_call_output call_1) is another output of a call that has one",
        ),
        (
            lambda items: [REASONING, *items],
            "a list whose items[0] (reasoning without an id) led to nothing that is stored",
        ),
    ],
)
async def test_what_a_model_cannot_be_sent_is_an_error_that_names_the_filter(world, wrong, problem):
    def mine(items):
        return wrong(items)

    session = await world.session_with(*TURN, reading=[CUT, mine])
    with pytest.raises(InvalidReadingError) as caught:
        await session.get_items()
    assert caught.value.name == f"reading[1], {mine.__qualname__}"
    assert caught.value.problem == problem
    assert str(caught.value).startswith(f"{caught.value.name}, returned {problem}. A filter returns a list")
    assert await session.get_items(limit=4) == TURN


async def test_what_was_torn_before_is_no_error(world):
    """A read with a limit may start between a call and its output."""
    session = await world.session_with(*TURN, session_settings={"limit": 2}, reading=[CUT])
    assert await session.get_items() == [OUTPUT, ANSWER]


async def test_an_error_names_a_filter_without_a_name_by_its_type(world):
    session = await world.session_with(*TURN, reading=[partial(bool)])
    with pytest.raises(InvalidReadingError, match=r"^reading\[0\], partial, returned a value of type bool"):
        await session.get_items()


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        (ToolOutputs(), "reading must be a list of callables, not ToolOutputs("),
        (
            "ToolOutputs",
            "reading must be a list of callables, not 'ToolOutputs': put a single one into a list",
        ),
        (5, "reading must be a list of callables, not 5"),
        ([ToolOutputs], "reading[0] is the class ToolOutputs: give ToolOutputs(…)"),
        ([CUT, None], "reading[1] must be a callable that takes and returns a list of items, not None"),
    ],
)
def test_what_is_no_list_of_filters_is_refused(reading, message):
    for make in (OpenAIConversationsSession, sync.OpenAIConversationsSession):
        with pytest.raises(TypeError, match=re.escape(message)):
            make(reading=reading)
    with pytest.raises(TypeError, match=re.escape(message)):
        EncryptedSession("user", OpenAIConversationsSession(), KEY, reading=reading)


# Other sessions


async def test_an_encrypted_session_filters_what_it_has_decrypted(world):
    underlying = world.session()
    session = EncryptedSession("user", underlying, KEY, reading=[CUT])
    await session.add_items(TURN * 2)
    assert await session.get_items() == [*TRIMMED, *TURN]
    assert await session.get_items(limit=8) == TURN * 2
    assert [item async for item in session.iterate_items()] == TURN * 2
    assert (await type(session)._read_compaction_items(session, None))[0] == TURN * 2
    async with session.turn() as turn:
        assert await turn.get_items() == [*TRIMMED, *TURN]
        await turn.add_items(TURN)
        assert await turn.get_items() == [*TRIMMED * 2, *TURN]
    session.session_settings = {"limit": 12}
    assert await session.get_items(limit=12) == [*TRIMMED * 2, *TURN]


def test_a_session_under_an_encrypted_one_has_no_filters():
    with pytest.raises(ValueError, match=r"give them to EncryptedSession\(…, reading=\[…\]\)"):
        EncryptedSession("user", OpenAIConversationsSession(reading=[CUT]), KEY)


def test_a_sync_session_filters(emulator):
    with sync.OpenAIConversationsSession(openai_client=emulator.client(), reading=[CUT]) as session:
        session.add_items(TURN * 2)
        assert session.get_items() == [*TRIMMED, *TURN]
        assert session.get_items(limit=8) == TURN * 2


async def test_a_named_session_filters(emulator, tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path / 'directory.db'}"
    options = {"reading": [CUT]}
    async with SessionDirectory(url, openai_client=emulator.client(), session_options=options) as directory:
        await directory.create_tables()
        session = await directory.session("one")
        await session.add_items(TURN * 2)
        assert await session.get_items() == [*TRIMMED, *TURN]


# The Runner


@function_tool
def look(place: str) -> str:
    """Look somewhere."""
    return place * 50


async def asked(emulator, session, count, **options):
    """Run an agent on questions that need a tool; return what each request to the model had."""
    seen = []

    def answer(request):
        seen.append(request.items)
        if request.items[-1].get("role") == "user":
            return {"type": "function_call", "name": "look", "arguments": {"place": "xx"}}
        return "Here."

    emulator.reply(answer, times=None)
    agent = Agent(name="Guide", model=OpenAIResponsesModel("any", emulator.client()), tools=[look])
    picture = sample("message_user_image_and_file")["content"][1]
    asking = [{"role": "user", "content": [{"type": "input_text", "text": "Where?"}, picture]}]
    for _ in range(count):
        await Runner.run(agent, asking, session=session, **options)
    return [outputs(request) for request in seen]


def outputs(items):
    """Return the lengths of the outputs, and the types of the second parts of the questions."""
    lengths = [len(item["output"]) for item in items if item.get("type") == "function_call_output"]
    pictures = [
        part["type"].removeprefix("input_")
        for item in items
        if item.get("role") == "user"
        for part in item["content"][1:]
    ]
    return lengths, pictures


TRIMMING = {"reading": [ToolOutputs(keep_turns=1, max_characters=10), ImagesAndFiles(keep_turns=1)]}
SHORTER = len("x" * 10 + "… [90 characters left out]")


@pytest.mark.parametrize("in_turn", [False, True])
async def test_a_runner_sends_old_turns_trimmed_and_stores_all(emulator, in_turn):
    session = OpenAIConversationsSession(openai_client=emulator.client(), **TRIMMING)
    if in_turn:
        seen = []
        for _ in range(3):
            async with session.turn() as turn:
                seen += await asked(emulator, turn, 1)
                emulator.clear_replies()
    else:
        seen = await asked(emulator, session, 3)
    assert seen == [
        ([], ["image"]),
        ([100], ["image"]),
        ([100], ["image", "image"]),
        ([100, 100], ["image", "image"]),
        ([SHORTER, 100], ["text", "image", "image"]),
        ([SHORTER, 100, 100], ["text", "image", "image"]),
    ]
    assert outputs(await session.get_items(limit=99)) == ([100] * 3, ["image"] * 3)


async def test_a_limit_of_the_run_goes_past_the_filters(emulator):
    """As docs/trimming.md says."""
    session = OpenAIConversationsSession(openai_client=emulator.client(), **TRIMMING)
    config = RunConfig(session_settings=SessionSettings(limit=8))
    seen = await asked(emulator, session, 3, run_config=config)
    assert seen[4] == ([100, 100], ["image"] * 3)
    emulator.clear_replies()
    session.session_settings = {"limit": 8}
    assert (await asked(emulator, session, 1))[0] == ([SHORTER, 100], ["text", "image", "image"])


async def test_steps_keep_the_start_of_the_input_for_the_prompt_cache(world):
    """Between two steps, each read begins with the read before it."""
    session = await world.session_with(*TURN, reading=[ToolOutputs(keep_turns=1, max_characters=2, every=3)])
    reads = []
    for _ in range(8):
        reads.append(await session.get_items())
        await session.add_items(TURN)
    begins = [later[: len(earlier)] == earlier for earlier, later in pairwise(reads)]
    assert begins == [True, True, False, True, True, False, True]
