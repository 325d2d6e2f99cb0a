"""Every fault of the creation of a conversation, alone and in pairs: lost conversations are told of."""

from __future__ import annotations

import pytest

from tests.wire import FAST

from .world import ALWAYS, FAILURES, LOST, spots

CREATIONS = spots("create_conversation")


async def check(world, *faults):
    orphans = []
    before = set(world.conversations())
    session = world.session(on_orphan=orphans.append, metadata={"topic": "test"})
    story = " + ".join(map(str, faults))
    world.inject(*faults)
    try:
        used = {await session.ensure_conversation()}
    except FAILURES:
        assert session.conversation_id is None, story
        used = set()
    await world.calm()
    lost = sum(kind in LOST for kind in world.faults())
    assert len(world.operations()) <= min(1 + len(world.faults()), FAST.attempts), story
    assert [{"topic": "test"}] * lost == [orphan.metadata for orphan in orphans], story
    made = set(world.conversations()) - before
    assert used <= made, story
    assert len(made - used) <= lost, story
    await session.add_items([{"role": "user", "content": "Hello"}])
    assert world.stored(session.conversation_id) == ["Hello"], story


@pytest.mark.parametrize("first", CREATIONS, ids=str)
async def test_faults(world, first):
    await check(world, first)
    for second in CREATIONS:
        await check(world, first, second)


async def test_a_creation_that_never_succeeds(world):
    for fault in spots("create_conversation", times=(ALWAYS,)):
        await check(world, fault)


async def test_without_a_fault_it_is_one_request(world):
    await world.session().ensure_conversation()
    assert world.operations() == ["create_conversation"]
