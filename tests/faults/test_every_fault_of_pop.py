"""Every fault at every request of a `pop_item`, alone and in pairs.

No value is lost and none is handed out twice: what was popped, and what is stored once a next pop has
run in calm, are together what was added.
"""

from __future__ import annotations

from contextlib import suppress

import pytest

from .world import ALWAYS, FAILURES, LOST, Spot, spots, texts, users

ITEMS = users(2)

READS = spots("list_items")
DELETIONS = spots("delete_item")
WITHOUT_END = [*spots("list_items", times=(ALWAYS,)), *spots("delete_item", times=(ALWAYS,))]
LIES = ("empty_page", "stale_page")


async def check(world, session, *faults):
    await session.add_items(ITEMS)
    story = " + ".join(map(str, faults))
    world.inject(*faults)
    popped = []
    with suppress(*FAILURES):
        popped += filter(None, [await session.pop_item()])
    assert_few_requests(world, story)
    await world.calm()
    popped += filter(None, [await session.pop_item()])
    left = world.stored(session.conversation_id)
    assert sorted(texts(popped) + left) == texts(ITEMS), story
    if not any(fault.kind in LIES for fault in faults):
        assert texts(popped) + left[::-1] == texts(ITEMS)[::-1], story
    assert texts(await session.get_items()) == left, story
    await session.clear_session()


def assert_few_requests(world, story):
    """A pop is one read and one deletion, and each fault costs one more request.

    A page that shows an item that is gone costs a deletion and another read.
    """
    faults = world.faults()
    assert len(world.operations()) <= 2 + len(faults) + 2 * faults.count("stale_page"), story


async def test_without_a_fault_a_pop_is_a_read_and_a_deletion(world):
    session = await world.session_with(*ITEMS)
    await session.pop_item()
    assert world.operations() == ["list_items", "delete_item"]


async def test_one_fault(world):
    for fault in [*READS, *DELETIONS, *WITHOUT_END]:
        await check(world, world.session(), fault)


@pytest.mark.parametrize("first", READS, ids=str)
async def test_a_fault_of_the_read_and_another(world, first):
    for second in [*READS, *DELETIONS]:
        await check(world, world.session(), first, second)


@pytest.mark.parametrize("first", DELETIONS, ids=str)
async def test_two_faults_of_the_deletion(world, first):
    for second in DELETIONS:
        await check(world, world.session(), first, second)


@pytest.mark.parametrize("kind", sorted(LOST))
async def test_a_deletion_of_unknown_outcome_and_a_fault_of_the_question_that_settles_it(world, kind):
    for question in spots("retrieve_item", times=(1, ALWAYS)):
        session = await world.session_with(*ITEMS)
        world.inject(Spot(kind, "delete_item", times=6), question)
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
