"""Every fault at every request of an `add_items` of three requests, alone and in pairs.

After each, the call has returned and every item is stored once and in order, or it has raised and
nothing of it stays once its receipt is settled. The requests are those that `on_the_wire` foretells.
"""

from __future__ import annotations

import pytest

from tests.selection import one_in

from .on_the_wire import BEFORE, DELETIONS_AT_A_TIME, POLICY, behind, of_a_write
from .world import ALWAYS, FAILURES, LIES, Spot, spots, texts, users

ITEMS = users(45)
EXPECTED = texts(ITEMS)
BEGINNING = users(2, name="before")

CREATIONS = spots("create_conversation")
POSTS = spots("create_items", after=(0, 1, 2))
FIRST_POSTS = spots("create_items")
POSTS_WITHOUT_END = spots("create_items", after=(0, 1, 2), times=(ALWAYS,))

DELETIONS = spots("delete_item", after=(0, 19))
DELETIONS_WITHOUT_END = spots("delete_item", after=(0, 10, 19), times=(ALWAYS,))
FAILING = [Spot(kind, "create_items", 1, ALWAYS) for kind in ("cut_before", "throttled", "locked")]
"""What lets a write fail in the middle although each single request might be sent again."""

MIDDLE_POST = {
    "cut_before": "N P PLLP P",
    "cut_after_commit": "N P PL P",
    "late_commit": "N P PLL P",
    "error_500_before": "N P PLLP P",
    "error_500_after_commit": "N P PL P",
    "throttled": "N P PP P",
    "quota": "N P P DDDDDDDDDDDDDDDDDDDD",
    "locked": "N P PP P",
    "stall": "N P PLLP P",
    "stall_after_commit": "N P PL P",
    "truncated_body": "N P PL P",
    "not_json": "N P PL P",
}
"""The requests of a write whose second of three meets a fault, in the letters of `World.wire`."""


async def run(world, *faults, beginning=()):
    """Write under faults, see that all or nothing of it is there, and return the requests of the write."""
    given = {"openai_client": world.patient, "retry_policy": POLICY}
    session = await world.session_with(*beginning, **given) if beginning else world.session(**given)
    story = " + ".join(map(str, faults))
    world.inject(*faults)
    receipt = None
    try:
        await session.add_items(ITEMS)
    except FAILURES as error:
        stored = texts(beginning)
        receipt = getattr(error, "receipt", None)
    else:
        stored = [*texts(beginning), *EXPECTED]
    wire, met = world.wire(), world.faults()
    await world.calm()
    if receipt is not None:
        await session.settle(receipt)
    shown = texts(await session.get_items())
    assert world.stored(session.conversation_id) == shown, story
    if any(fault.kind in LIES for fault in faults):  # what a look did not see is as if it came too late
        shown = list(dict.fromkeys(shown))
    assert shown == stored, story
    assert session.unsettled == (), story
    return wire, met


async def check(world, *faults, beginning=()):
    """Write under faults, and compare the requests, one by one, with those that these faults cost."""
    wire, met = await run(world, *faults, beginning=beginning)
    assert wire in of_a_write(*faults, begun=bool(beginning)), " + ".join(map(str, faults))
    return met


async def check_pairs(world, first, *, beginning=()):
    for second in behind(first, of_a_write(first, begun=bool(beginning))):
        met = await check(world, first, second, beginning=beginning)
        # A late commit may have been found before the second fault's turn.
        assert met == [first.kind, second.kind] or (first.kind == "late_commit" and met == [first.kind])


async def test_without_a_fault_the_requests_are_the_fewest_possible(world):
    session = world.session()
    await session.add_items(ITEMS)
    await session.add_items(ITEMS)
    assert world.operations() == ["create_conversation", *["create_items"] * 6]
    assert world.stored(session.conversation_id) == EXPECTED * 2


@pytest.mark.parametrize("fault", spots("create_items", after=(1,)), ids=str)
async def test_a_fault_of_the_middle_request_costs_what_it_must(world, fault):
    wire, _ = await run(world, fault)
    one_look_less = MIDDLE_POST["cut_after_commit"] if fault.kind == "late_commit" else None
    assert wire in {cost.replace(" ", "") for cost in (MIDDLE_POST[fault.kind], one_look_less) if cost}


@pytest.mark.parametrize("beginning", [(), BEGINNING], ids=["empty", "begun"])
async def test_one_fault(world, beginning):
    for fault in [*([] if beginning else CREATIONS), *POSTS]:
        assert await check(world, fault, beginning=beginning) == [fault.kind]


async def test_one_request_that_never_succeeds(world):
    for fault in POSTS_WITHOUT_END:
        await check(world, fault)


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", one_in(16, CREATIONS), ids=str)
async def test_a_fault_of_the_creation_and_another(world, first):
    for second in behind(first, of_a_write(first)):
        await check(world, first, second)


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", one_in(32, POSTS), ids=str)
async def test_a_fault_of_a_request_that_appends_and_another(world, first):
    """The second one meets any later request: the same items again, later items, a look or a deletion."""
    await check_pairs(world, first)


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", one_in(16, FIRST_POSTS), ids=str)
async def test_a_fault_of_the_first_request_behind_others_and_another(world, first):
    """Only here a conversation that has begun makes a difference: what is known before the request."""
    await check_pairs(world, first, beginning=BEGINNING)


@pytest.mark.parametrize("kind", one_in(3, ["cut_before", "cut_after_commit", "late_commit"]))
async def test_a_lost_answer_and_looks_that_always_fail(world, kind):
    """The write cannot know, and the next operation settles it."""
    for post in (0, 1, 2):
        for look in spots("list_items", times=(ALWAYS,)):
            wire, _ = await run(world, Spot(kind, "create_items", post), look)
            attempts = 1 if look.kind == "quota" else POLICY.attempts
            assert look.kind in LIES or wire == "N" + "P" * (post + 1) + "L" * 2 * attempts, (post, look)


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", one_in(3, FAILING), ids=str)
async def test_a_request_that_never_succeeds_and_a_fault_while_rolling_back(world, first):
    for second in DELETIONS:
        assert (await check(world, first, second)).count(second.kind) >= 1


@pytest.mark.parametrize("fault", one_in(3, DELETIONS_WITHOUT_END), ids=str)
async def test_a_refusal_and_deletions_that_never_succeed(world, fault):
    wire, _ = await run(world, Spot("quota", "create_items", 1), fault)
    assert wire.count("D") <= BEFORE["B"] + DELETIONS_AT_A_TIME * (POLICY.attempts - 1)
