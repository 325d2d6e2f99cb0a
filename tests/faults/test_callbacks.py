"""Callbacks that use the session they are called by, and what they are told."""

from __future__ import annotations

import asyncio

import pytest

from openai_sessions.session import RetryEvent

from .stage import Gate, cut_after_commit
from .world import FAILURES, Spot, texts, users

pytestmark = pytest.mark.usefixtures("quiet_loop")

HELLO = {"role": "user", "content": "Hello"}
SYSTEM = {"role": "system", "content": "Be kind."}


async def test_a_creation_callback_writes_the_first_item(world):
    async def greet(_):
        await session.add_items([SYSTEM])

    session = world.session(on_conversation_created=greet)
    await asyncio.wait_for(session.add_items([HELLO]), 5)
    assert await session.get_items() == [SYSTEM, HELLO]


async def test_a_creation_callback_under_faults_is_called_once(world):
    told = []
    session = world.session(on_conversation_created=told.append)
    world.inject(Spot("cut_after_commit", "create_conversation", times=2), Spot("throttled", "create_items"))
    await session.add_items([HELLO])
    assert told == [session.session_id]


async def test_a_retry_callback_may_start_to_use_the_session(world):
    started = []

    def read(_):
        started.append(asyncio.ensure_future(session.get_items()))

    session = await world.session_with(HELLO, on_retry=read)
    world.inject(Spot("throttled", "create_items", times=2))
    await asyncio.wait_for(session.add_items([HELLO]), 5)
    assert await asyncio.wait_for(asyncio.gather(*started), 5) == [[HELLO, HELLO]] * 2


async def test_a_retry_callback_is_told_of_each_retry(world):
    events = []
    session = await world.session_with(HELLO, on_retry=events.append)
    world.inject(Spot("throttled", "create_items"), Spot("cut_before", "create_items"))
    await session.add_items([HELLO])
    assert [(event.operation, event.attempt, event.outcome) for event in events] == [
        ("append", 1, "throttled"),
        ("append", 2, "unknown"),
    ]
    assert {RetryEvent} == set(map(type, events))
    assert {session.session_id} == {event.conversation_id for event in events}


async def test_an_orphan_callback_may_start_to_use_the_session(world):
    started = []

    def write(_):
        started.append(asyncio.ensure_future(session.add_items([SYSTEM])))

    session = world.session(on_orphan=write)
    world.inject(Spot("cut_after_commit", "create_conversation", times=2))
    await asyncio.wait_for(session.add_items([HELLO]), 5)
    await asyncio.wait_for(asyncio.gather(*started), 5)
    assert sorted(texts(await session.get_items())) == ["Be kind.", "Be kind.", "Hello"]
    assert len(world.conversations()) == 3


async def test_an_orphan_is_told_of_once_for_each_lost_answer(world):
    orphans = []
    session = world.session(on_orphan=orphans.append, metadata={"topic": "test"})
    world.inject(
        Spot("throttled", "create_conversation"),
        Spot("cut_after_commit", "create_conversation"),
        Spot("error_500_after_commit", "create_conversation"),
        Spot("error_500_before", "create_conversation"),
    )
    await session.add_items([HELLO])
    assert [{"topic": "test"}] * 3 == [orphan.metadata for orphan in orphans]
    assert len(world.conversations()) == 3


@pytest.mark.parametrize("hook", ["on_retry", "on_orphan"])
async def test_what_a_hook_raises_does_not_change_the_write(world, caplog, hook):
    def fail(_):
        raise LookupError("of the hook")

    session = world.session(**{hook: fail})
    world.inject(Spot("cut_after_commit", "create_conversation"))
    await session.add_items([HELLO])
    assert texts(await session.get_items()) == ["Hello"]
    assert "of the hook" in caplog.text


async def test_concurrent_first_writers_share_one_conversation_under_faults(world):
    session = world.session()
    world.inject(
        Spot("cut_after_commit", "create_conversation"), Spot("cut_after_commit", "create_items", times=3)
    )
    items = users(6)
    await asyncio.gather(*(session.add_items([item]) for item in items))
    assert sorted(texts(await session.get_items())) == texts(items)


async def test_another_conversation_does_not_wait_for_one_in_doubt(world, stage):
    held, other = [await world.session_with(openai_client=stage.client) for _ in range(2)]
    gate = Gate()
    stage.at("create_items", 0, cut_after_commit)
    stage.at("list_items", 0, gate.before)
    writing = asyncio.ensure_future(held.add_items([HELLO]))
    await gate.reached.wait()
    await asyncio.wait_for(other.add_items([SYSTEM]), 5)
    gate.opened.set()
    await writing
    assert (await held.get_items(), await other.get_items()) == ([HELLO], [SYSTEM])


async def test_a_creation_that_fails_stores_nothing(world):
    session = world.session()
    world.inject(Spot("quota", "create_conversation"))
    with pytest.raises(FAILURES):
        await session.add_items([HELLO])
    assert world.conversations() == []
