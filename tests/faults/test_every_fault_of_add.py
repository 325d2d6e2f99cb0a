"""Every fault at every request of an `add_items` of three requests, alone and in pairs.

After each, the call has returned and every item is stored once and in order, or it has raised and
nothing of it stays once the next operation has run. The number of requests is bounded.
"""

from __future__ import annotations

import pytest

from .world import ALWAYS, FAILURES, LOST, Spot, spots, texts, users

ITEMS = users(45)
EXPECTED = texts(ITEMS)
BEGINNING = users(2, name="before")

CREATIONS = spots("create_conversation")
POSTS = spots("create_items", after=(0, 1, 2))
POSTS_WITHOUT_END = spots("create_items", after=(0, 1, 2), times=(ALWAYS,))
LOOKS = spots("list_items", after=(0, 1))
BLIND_LOOKS = [*spots("list_items", times=(2,)), *spots("list_items", times=(ALWAYS,))]
DELETIONS = [*spots("delete_item"), *spots("delete_item", times=(ALWAYS,))]

ONE_OF_EACH = ("cut_before", "cut_after_commit", "late_commit", "throttled", "quota", "locked")
"""A kind for each way in which a request that appends can end."""

APPLIED = ("cut_after_commit", "late_commit")
LOST_POSTS = [fault for fault in POSTS if fault.kind in LOST and (fault.after == 1 or fault.kind in APPLIED)]


def alongside(first):
    """Return the faults of the same post when it is sent again, and of later ones."""
    return [
        second
        for second in POSTS
        if second.after == first.after or (second.after > first.after and second.kind in ONE_OF_EACH)
    ]


async def check(world, *faults, beginning=()):
    session = await world.session_with(*beginning) if beginning else world.session()
    story = " + ".join(map(str, faults))
    world.inject(*faults)
    try:
        await session.add_items(ITEMS)
    except FAILURES:
        expected = texts(beginning)
    else:
        expected = [*texts(beginning), *EXPECTED]
    check_requests(world, story, returned=len(expected) > len(beginning))
    await world.calm()
    assert texts(await session.get_items()) == expected, story
    assert world.stored(session.conversation_id) == expected, story
    assert session.unsettled == (), story


def check_requests(world, story, *, returned):
    """Each post that fails costs a second one and two looks at most, any other fault one more request.

    A failure may add one look, and the deletion of every item that was stored.
    """
    requests = world.emulator.requests
    posts = [request for request in requests if request.operation == "create_items"]
    deletions = [request for request in requests if request.operation == "delete_item"]
    others = [request for request in requests if request.operation != "delete_item"]
    failed = sum(request.fault is not None for request in posts)
    assert len(others) <= 4 + faults_of(others) + 2 * failed + (not returned), story
    assert len(deletions) <= sum(len(post.body["items"]) for post in posts) + faults_of(deletions), story


def faults_of(requests):
    return sum(request.fault is not None for request in requests)


async def test_without_a_fault_the_requests_are_the_fewest_possible(world):
    session = world.session()
    await session.add_items(ITEMS)
    await session.add_items(ITEMS)
    assert world.operations() == ["create_conversation", *["create_items"] * 6]
    assert world.stored(session.conversation_id) == EXPECTED * 2


@pytest.mark.parametrize("beginning", [(), BEGINNING], ids=["empty", "begun"])
async def test_one_fault(world, beginning):
    for fault in [*([] if beginning else CREATIONS), *POSTS]:
        await check(world, fault, beginning=beginning)
        assert world.faults() == [fault.kind]


@pytest.mark.parametrize("beginning", [(), BEGINNING], ids=["empty", "begun"])
async def test_one_request_that_never_succeeds(world, beginning):
    for fault in POSTS_WITHOUT_END:
        await check(world, fault, beginning=beginning)


@pytest.mark.parametrize("first", POSTS, ids=str)
async def test_two_faults_of_requests_that_append(world, first):
    for second in alongside(first):
        await check(world, first, second)


@pytest.mark.parametrize("first", LOST_POSTS, ids=str)
async def test_a_lost_answer_and_a_fault_while_looking_for_it(world, first):
    for second in LOOKS:
        await check(world, first, second)


@pytest.mark.parametrize("kind", ["cut_before", *APPLIED])
async def test_a_lost_answer_and_looks_that_show_nothing(world, kind):
    for second in BLIND_LOOKS:
        await check(world, Spot(kind, "create_items", 1), second)


async def test_a_refusal_and_a_fault_while_rolling_back(world):
    for second in DELETIONS:
        await check(world, Spot("quota", "create_items", 1), second)


async def test_a_refusal_and_a_fault_at_the_end_of_the_rollback(world):
    for second in spots("delete_item", after=(39,)):
        await check(world, Spot("quota", "create_items", 2), second)


@pytest.mark.parametrize("first", CREATIONS, ids=str)
async def test_a_fault_of_the_creation_and_one_of_the_first_request(world, first):
    for second in [*CREATIONS, Spot("late_commit", "create_items"), Spot("locked", "create_items")]:
        await check(world, first, second)
