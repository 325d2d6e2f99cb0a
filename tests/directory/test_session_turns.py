"""Turns of named sessions: the name is registered with the first one that stores something."""

import pytest

from openai_sessions.errors import ConversationChangedError

from .stage import CREATE, made, user

ITEMS = "POST /v1/conversations/ID/items"
LIST = "GET /v1/conversations/ID/items"


async def test_the_first_turn_creates_and_registers_and_writes_once(directory, other, emulator):
    session = await directory.session("user_1")
    async with session.turn() as turn:
        assert [] == await turn.get_items()
        await turn.add_items([user("Hello")])
        await turn.add_items([user("again")])
        assert [] == made(emulator)
        assert (await other.get("user_1")).conversation_id is None
    assert [CREATE, ITEMS] == made(emulator)
    assert session.session_id == (await other.get("user_1")).conversation_id
    resumed = await other.session("user_1")
    assert [user("Hello"), user("again")] == await resumed.get_items()


async def test_a_turn_that_is_discarded_registers_nothing(directory):
    session = await directory.session("user_1")

    async def fail():
        async with session.turn() as turn:
            await turn.add_items([user("Hello")])
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert (await directory.get("user_1")).conversation_id is None


async def test_an_exclusive_turn_follows_the_name(directory, other, emulator):
    early, late = await directory.session("user_1"), await other.session("user_1")
    await late.add_items([user("Hello")])
    emulator.forget_requests()
    async with early.turn(exclusive=True) as turn:
        assert [user("Hello")] == await turn.get_items()
        await turn.add_items([user("again")])
    assert [LIST, ITEMS] == made(emulator)
    assert late.session_id == early.session_id


async def test_a_history_that_another_process_has_replaced_is_a_conflict(directory, other):
    session, replacing = await directory.session("user_1"), await other.session("user_1")
    await session.add_items([user("Hello")])

    async def replaced_meanwhile():
        async with session.turn(on_conflict="raise") as turn:
            await turn.get_items()
            await turn.add_items([user("again")])
            await replacing.clear_session()
            await replacing.add_items([user("new")])

    with pytest.raises(ConversationChangedError):
        await replaced_meanwhile()
    assert [user("new")] == await session.get_items()


async def test_a_turn_that_only_clears_releases_the_name(directory):
    session = await directory.session("user_1")
    await session.add_items([user("Hello")])
    async with session.turn() as turn:
        await turn.clear_session()
    assert session.conversation_id is None
    assert (await directory.get("user_1")).conversation_id is None
