"""Every fault of the creation of a conversation, alone and in pairs: lost conversations are told of."""

from __future__ import annotations

import pytest

from .on_the_wire import POLICY, behind, is_final, of_requests
from .world import ALWAYS, FAILURES, LOST, spots

CREATIONS = spots("create_conversation")


async def check(world, *faults):
    wire = await run(world, *faults)
    assert wire in of_requests("N", *faults), " + ".join(map(str, faults))


async def run(world, *faults):
    """Create under faults, see that what may be lost is told of, and return the requests."""
    orphans = []
    before = set(world.conversations())
    session = world.session(on_orphan=orphans.append, metadata={"topic": "test"}, retry_policy=POLICY)
    story = " + ".join(map(str, faults))
    world.inject(*faults)
    try:
        used = {await session.ensure_conversation()}
    except FAILURES:
        assert session.conversation_id is None, story
        used = set()
    await world.calm()
    wire = world.wire()
    lost = sum(kind in LOST for kind in world.faults())
    assert [{"topic": "test"}] * lost == [orphan.metadata for orphan in orphans], story
    made = set(world.conversations()) - before
    assert used <= made, story
    assert len(made - used) <= lost, story
    await session.add_items([{"role": "user", "content": "Hello"}])
    assert world.stored(session.conversation_id) == ["Hello"], story
    return wire


@pytest.mark.parametrize("first", CREATIONS, ids=str)
async def test_faults(world, first):
    await check(world, first)
    for second in behind(first, of_requests("N", first)):
        await check(world, first, second)


async def test_a_creation_that_never_succeeds(world):
    for fault in spots("create_conversation", times=(ALWAYS,)):
        assert await run(world, fault) == "N" * (
            1 if is_final(fault.kind, fault.operation) else POLICY.attempts
        )


async def test_without_a_fault_it_is_one_request(world):
    await world.session().ensure_conversation()
    assert world.operations() == ["create_conversation"]
