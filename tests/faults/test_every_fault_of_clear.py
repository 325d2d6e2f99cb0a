"""Every fault at every request of a `clear_session`, alone and in pairs.

It returns and the conversation is gone, or it raises and the session keeps the id; the next one succeeds.
"""

from __future__ import annotations

import pytest

from tests.selection import one_in

from .on_the_wire import POLICY, behind, is_final, of_requests
from .world import ALWAYS, FAILURES, Spot, spots, users

ITEMS = users(10)
TWO_ITEMS = users(2)

ENDS = spots("delete_conversation")
READS = spots("list_items", after=(0, 1))
READS_WITHOUT_END = spots("list_items", times=(ALWAYS,))
SHOW_NOTHING = [Spot(kind, "list_items", times=ALWAYS) for kind in ("empty_page", "stale_page")]
"""What is never shown cannot be deleted."""

TWO_OLD_LISTINGS = (Spot("stale_page", "list_items"), Spot("stale_page", "list_items", 1))

DELETIONS = spots("delete_item", after=(0, 5, 9))
DELETIONS_WITHOUT_END = spots("delete_item", times=(ALWAYS,))
OPTIONS = {"purge": {"purge_items": True}, "keep": {"keep_conversation": True}}
WIRES = {"purge": "L{}LX", "keep": "L{}L"}
"""The requests without a fault, with the deletions between."""


async def run(world, items, *faults, **options):
    """Clear under faults, and again if need be; return the requests of the first time, and what is left."""
    session = await world.session_with(*items, retry_policy=POLICY)
    conversation_id = session.conversation_id
    story = " + ".join(map(str, faults))
    world.inject(*faults)
    try:
        await session.clear_session(**options)
        wire = world.wire()
    except FAILURES:
        wire = world.wire()
        assert session.conversation_id == conversation_id, story
        await world.calm()
        await session.clear_session(**options)
    await world.calm()
    if options.get("keep_conversation"):
        assert session.conversation_id == conversation_id, story
    else:
        assert session.conversation_id is None, story
        assert conversation_id not in world.conversations(), story
    return wire, world.stored(conversation_id)


async def check(world, items, without_fault, *faults, **options):
    wire, left = await run(world, items, *faults, **options)
    story = " + ".join(map(str, faults))
    assert wire in of_requests(without_fault, *faults), story
    assert not options or left == [], story


async def test_without_a_fault_a_clear_is_one_request(world):
    session = await world.session_with(*ITEMS, retry_policy=POLICY)
    await session.clear_session()
    assert world.operations() == ["delete_conversation"]


@pytest.mark.parametrize("option", OPTIONS)
async def test_without_a_fault_each_item_costs_one_request_more(world, option):
    session = await world.session_with(*ITEMS, retry_policy=POLICY)
    await session.clear_session(**OPTIONS[option])
    assert world.wire() == WIRES[option].format("D" * 10)


@pytest.mark.parametrize("first", one_in(3, ENDS), ids=str)
async def test_faults_of_the_deletion(world, first):
    await check(world, ITEMS, "X", first)
    for second in behind(first, of_requests("X", first)):
        await check(world, ITEMS, "X", first, second)


async def test_a_deletion_that_never_succeeds(world):
    for fault in spots("delete_conversation", times=(ALWAYS,)):
        wire, _ = await run(world, ITEMS, fault)
        assert wire == "X" * (1 if is_final(fault.kind, fault.operation) else POLICY.attempts), fault


@pytest.mark.parametrize("option", OPTIONS)
async def test_a_fault_of_the_deletion_of_all_items(world, option):
    for fault in [*READS, *DELETIONS, *(ENDS if option == "purge" else [])]:
        await check(world, ITEMS, WIRES[option].format("D" * 10), fault, **OPTIONS[option])


@pytest.mark.parametrize("option", OPTIONS)
async def test_a_request_that_never_succeeds(world, option):
    for fault in [*READS_WITHOUT_END, *DELETIONS_WITHOUT_END]:
        _, left = await run(world, ITEMS, fault, **OPTIONS[option])
        assert (left != []) == (fault in SHOW_NOTHING), fault


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", one_in(8, [*READS, *spots("delete_item")]), ids=str)
async def test_two_faults_of_the_deletion_of_all_items(world, first):
    without_fault = WIRES["purge"].format("DD")
    for second in behind(first, of_requests(without_fault, first)):
        if (first, second) != TWO_OLD_LISTINGS:
            await check(world, TWO_ITEMS, without_fault, first, second, purge_items=True)


async def test_two_listings_that_show_nothing_are_believed(world):
    assert await run(world, TWO_ITEMS, *TWO_OLD_LISTINGS, purge_items=True) == ("LLX", ["item 0", "item 1"])
