"""Every fault at every request of a `pop_item`, alone and in pairs.

No value is lost and none is handed out twice: what was popped, and what is stored once a next pop has
run in calm, are together what was added.
"""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.selection import one_in

from .on_the_wire import POLICY, behind, is_final, of_requests
from .world import ALWAYS, FAILURES, LETTERS, LIES, LOST, Spot, spots, texts, users

ITEMS = users(2)

READS = spots("list_items")
DELETIONS = spots("delete_item")
WITHOUT_END = [*spots("list_items", times=(ALWAYS,)), *spots("delete_item", times=(ALWAYS,))]


async def run(world, *faults):
    """Pop under faults, see that nothing is lost or handed out twice, and return the requests."""
    session = await world.session_with(*ITEMS, retry_policy=POLICY)
    story = " + ".join(map(str, faults))
    world.inject(*faults)
    popped = []
    with suppress(*FAILURES):
        popped += filter(None, [await session.pop_item()])
    wire = world.wire()
    await world.calm()
    popped += filter(None, [await session.pop_item()])
    left = world.stored(session.conversation_id)
    assert sorted(texts(popped) + left) == texts(ITEMS), story
    if not any(fault.kind in LIES for fault in faults):
        assert texts(popped) + left[::-1] == texts(ITEMS)[::-1], story
    assert texts(await session.get_items()) == left, story
    return wire


async def check(world, *faults):
    wire = await run(world, *faults)
    assert wire in of_requests("LD", *faults), " + ".join(map(str, faults))


async def test_without_a_fault_a_pop_is_a_read_and_a_deletion(world):
    session = await world.session_with(*ITEMS, retry_policy=POLICY)
    await session.pop_item()
    assert world.operations() == ["list_items", "delete_item"]


async def test_one_fault(world):
    for fault in [*READS, *DELETIONS]:
        await check(world, fault)


async def test_one_request_that_never_succeeds(world):
    for fault in WITHOUT_END:
        attempts = 1 if is_final(fault.kind, fault.operation) else POLICY.attempts
        before = "L" if fault.operation == "delete_item" else ""
        wire = await run(world, fault)
        assert fault.kind in LIES or wire == before + LETTERS[fault.operation] * attempts, fault


@pytest.mark.parametrize("first", one_in(6, [*READS, *DELETIONS]), ids=str)
async def test_two_faults(world, first):
    for second in behind(first, of_requests("LD", first)):
        await check(world, first, second)


@pytest.mark.parametrize("first", READS, ids=str)
async def test_two_faults_where_nothing_is_left(world, first):
    session = await world.session_with(retry_policy=POLICY)
    for second in behind(first, of_requests("L", first)):
        world.inject(first, second)
        with suppress(*FAILURES):
            assert await session.pop_item() is None
        assert world.wire() in of_requests("L", first, second)


@pytest.mark.parametrize("kind", one_in(3, sorted(LOST - {"not_json"})))
async def test_a_deletion_of_unknown_outcome_and_a_fault_of_the_question_that_settles_it(world, kind):
    for question in spots("retrieve_item", times=(1, ALWAYS)):
        session = await world.session_with(*ITEMS, retry_policy=POLICY)
        world.inject(Spot(kind, "delete_item", times=POLICY.attempts), question)
        popped = []
        for _ in range(3):
            try:
                popped += [await session.pop_item()]
            except FAILURES:
                await world.emulator.late_commits()
        await world.calm()
        popped += [item for item in [await session.pop_item()] if item]
        left = world.stored(session.conversation_id)
        assert texts(popped) + left[::-1] == texts(ITEMS)[::-1], question
