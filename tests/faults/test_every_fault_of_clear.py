"""Every fault at every request of a `clear_session`, alone and in pairs.

It returns and the conversation is gone, or it raises and the session keeps the id; the next one succeeds.
"""

from __future__ import annotations

import pytest

from .world import ALWAYS, FAILURES, Spot, spots, users

ITEMS = users(10)

ENDS = spots("delete_conversation")
READS = spots("list_items")
READS_WITHOUT_END = spots("list_items", times=(ALWAYS,))
SHOW_NOTHING = [
    Spot("empty_page", "list_items", times=ALWAYS),
    *(Spot("stale_page", "list_items", times=times) for times in (1, ALWAYS)),
]
"""What is never shown cannot be deleted."""

DELETIONS = [*spots("delete_item", after=(0, 9)), *spots("delete_item", times=(ALWAYS,))]


async def check(world, *faults, minimum=1, **options):
    session = await world.session_with(*ITEMS)
    conversation_id = session.conversation_id
    story = " + ".join(map(str, faults))
    world.inject(*faults)
    try:
        await session.clear_session(**options)
    except FAILURES:
        assert session.conversation_id == conversation_id, story
        await world.calm()
        await session.clear_session(**options)
    else:
        assert len(world.operations()) <= minimum + len(world.faults()), story
    await world.calm()
    if options.get("keep_conversation"):
        assert session.conversation_id == conversation_id, story
    else:
        assert session.conversation_id is None, story
        assert conversation_id not in world.conversations(), story
    return world.stored(conversation_id)


async def test_without_a_fault_a_clear_is_one_request(world):
    session = await world.session_with(*ITEMS)
    await session.clear_session()
    assert world.operations() == ["delete_conversation"]


async def test_without_a_fault_each_item_costs_one_request_more(world):
    session = await world.session_with(*ITEMS)
    await session.clear_session(purge_items=True)
    assert world.operations() == ["list_items", *["delete_item"] * 10, "delete_conversation"]


@pytest.mark.parametrize("first", ENDS, ids=str)
async def test_faults_of_the_deletion(world, first):
    await check(world, first)
    for second in ENDS:
        await check(world, first, second)


async def test_a_deletion_that_never_succeeds(world):
    for fault in spots("delete_conversation", times=(ALWAYS,)):
        await check(world, fault)


@pytest.mark.parametrize("options", [{"purge_items": True}, {"keep_conversation": True}], ids=str)
async def test_faults_of_the_deletion_of_all_items(world, options):
    for fault in [*READS, *READS_WITHOUT_END, *DELETIONS]:
        left = await check(world, fault, minimum=12, **options)
        assert left == [] or fault in SHOW_NOTHING, fault


@pytest.mark.parametrize("first", READS, ids=str)
async def test_faults_of_the_read_and_of_a_deletion(world, first):
    for second in spots("delete_item"):
        await check(world, first, second, minimum=12, purge_items=True)
