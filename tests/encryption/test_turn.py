"""A turn of an encrypted session: one write of tokens, or none."""

import pytest
from agents import Agent, RunConfig, Runner

from openai_sessions.encryption import SkippedItems
from openai_sessions.errors import TurnStateError
from tests.agents.scripted import ScriptedModel, add, calls, says

from .stores import HELLO, HI, OTHER_KEY, ListSession

CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "42"}


def operations(emulator):
    return [request.operation for request in emulator.requests]


async def test_what_is_added_is_one_write_of_tokens(emulator, encrypted, hosted):
    session = encrypted()
    await session.add_items([HELLO])
    emulator.forget_requests()
    async with session.turn() as turn:
        assert [HELLO] == await turn.get_items()
        await turn.add_items([HI])
        await turn.add_items([HELLO, HI])
        assert HI == await turn.pop_item()
        assert [HELLO, HI, HELLO] == await turn.get_items()
        assert [HI, HELLO] == turn.pending
        assert turn.conversation_id == hosted.session_id
        assert "first user" == turn.session_id
    assert ["list_items", "create_items"] == operations(emulator)
    assert [HELLO, HI, HELLO] == await session.get_items()
    assert HI["content"] not in str(await hosted.get_items())
    with pytest.raises(TurnStateError):
        await turn.get_items()


async def test_a_run_is_one_read_and_one_write(emulator, encrypted):
    session = encrypted()
    await session.add_items([HELLO])
    emulator.forget_requests()
    steps = [[calls("add", '{"a": 1, "b": 2}')], [says("3.")]]
    async with session.turn() as turn:
        await Runner.run(
            Agent(name="Adder", model=ScriptedModel(steps), tools=[add]),
            "1 + 2?",
            session=turn,
            run_config=RunConfig(tracing_disabled=True),
        )
    assert ["list_items", "create_items"] == operations(emulator)
    assert 5 == len(await session.get_items())


@pytest.mark.parametrize(("on_error", "kept"), [("discard", []), ("keep", [HI, CALL, OUTPUT])])
async def test_an_error_discards_the_turn_or_keeps_what_is_complete(encrypted, on_error, kept):
    """The completeness is that of the items, which the hosted session cannot see."""
    session = encrypted()
    await session.add_items([HELLO])

    async def fail():
        async with session.turn(on_error=on_error) as turn:
            await turn.add_items([HI, CALL, OUTPUT, {**CALL, "call_id": "call_2"}])
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert [HELLO, *kept] == await session.get_items()


async def test_tokens_that_cannot_be_read_are_skipped_and_survive(encrypted, hosted, clock):
    session = encrypted()
    await session.add_items([HELLO])
    await encrypted(key=OTHER_KEY).add_items([HI])
    async with session.turn() as turn:
        assert [HELLO] == await turn.get_items()
        assert SkippedItems(undecryptable=1) == turn.skipped
        assert HELLO == await turn.pop_item()
        await turn.add_items([HI])
    assert [HI] == await session.get_items()
    assert 2 == len(await hosted.get_items())
    assert [HI] == await encrypted(key=OTHER_KEY).get_items()
    clock.now += 601
    async with session.turn() as turn:
        assert [] == await turn.get_items()


async def test_a_session_without_turns_is_named(encrypted):
    with pytest.raises(TypeError, match="ListSession has no turns"):
        encrypted(ListSession()).turn()
    async with encrypted().turn() as turn:
        with pytest.raises(TypeError, match="SessionTurn has no turns"):
            turn.turn()
