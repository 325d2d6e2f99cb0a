"""Every fault at every request of a fork, alone and with one while it is undone.

After each, the call has returned and the fork holds everything, or it has raised and nothing of the fork
is left, or the error names the conversation that is. The original is what it was.
"""

from __future__ import annotations

import pytest

from openai_sessions.emulator import Emulator
from openai_sessions.errors import UnfinishedForkError
from tests.faults.on_the_wire import POLICY, is_final
from tests.faults.world import ALWAYS, FAILURES, LIES, LOST, Spot, spots, texts, users
from tests.selection import one_in
from tests.servers import client_of

from .fork_world import ForkWorld

ITEMS = users(45)
FEW = users(25)
MANY = users(250)

SOURCE = spots("list_items")
CREATIONS = spots("create_conversation")
POSTS = spots("create_items", after=(0, 1, 2))
CHECKS = spots("list_items", after=(1,))
REFUSALS = [Spot("quota", "create_items", 1), Spot("quota", "list_items", 1)]
"""What lets a fork fail: while it is written, and when all is written and is read back."""

UNDOING = {
    "create_items": [
        *spots("delete_item", after=(0, 19)),
        *spots("list_items", after=(1, 2)),
        *spots("delete_conversation"),
    ],
    "list_items": [
        *spots("delete_item", after=(0, 24)),
        *spots("list_items", after=(2, 3)),
        *spots("delete_conversation"),
    ],
}
"""The faults of the requests that undo a fork of `FEW`, refused at one of these operations."""

ENDLESS = [
    spot
    for operation, after in [("delete_item", (0, 12)), ("delete_conversation", (0,)), ("list_items", (1,))]
    for spot in spots(operation, after=after, times=(ALWAYS,))
]


@pytest.fixture
def world(emulator):
    return ForkWorld(emulator)


async def run(world, *faults, items=ITEMS, client=None):
    """Fork under faults, and see that all or nothing of it is there. Return the fork, or the error."""
    orphans = []
    given = {"openai_client": client or world.patient, "retry_policy": POLICY, "on_orphan": orphans.append}
    session = await world.session_with(*items, **given)
    before, held = set(world.conversations()), world.count_items()
    story = " + ".join(map(str, faults))
    world.inject(*faults)
    try:
        result = await session.fork()
    except FAILURES as error:
        result = error
    await world.calm()
    if isinstance(result, UnfinishedForkError):
        assert result.conversation_id not in before, story
        await world.session(result.conversation_id).clear_session(purge_items=True)
    made = {*world.conversations()} - before
    copied = 0
    if not isinstance(result, FAILURES):
        made.remove(result.session_id)
        stored = world.stored(result.session_id)
        copied = len(stored)
        lied_to = any(fault.kind in LIES and fault.operation == "list_items" for fault in faults)
        assert stored == texts(items)[:copied] if lied_to else stored == texts(items), story
    assert world.stored(session.session_id) == texts(items), story
    lost = [spot for spot in faults if spot.operation == "create_conversation" and spot.kind in LOST]
    assert len(made) <= len(orphans) == len(lost), story
    assert [world.stored(conversation_id) for conversation_id in made] == [[]] * len(made), story
    assert world.count_items() == held + copied, story
    return result


async def test_one_fault(world):
    for fault in (*SOURCE, *CREATIONS, *POSTS, *CHECKS):
        result = await run(world, fault)
        if fault.kind == "quota":
            assert type(result).__name__ == "RateLimitError", fault
        elif is_final(fault.kind, fault.operation):
            assert type(result).__name__ == "InvalidResponseError", fault
        elif fault.kind not in LIES:
            assert not isinstance(result, FAILURES), (fault, result)


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", REFUSALS, ids=str)
async def test_a_refusal_and_a_fault_while_it_is_undone(world, first):
    for second in UNDOING[first.operation]:
        result = await run(world, first, second, items=FEW)
        assert isinstance(result, FAILURES), second
        if second.kind not in ("quota", *LIES):
            assert type(result).__name__ == "RateLimitError", (second, result)


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", REFUSALS, ids=str)
async def test_a_refusal_and_an_undoing_that_never_succeeds(world, first):
    """The error names the conversation, and the way to delete it works."""
    for second in ENDLESS:
        result = await run(world, first, second, items=FEW)
        assert isinstance(result, FAILURES), second
        if second.operation == "delete_conversation" and second.kind != "not_json":
            assert isinstance(result, UnfinishedForkError), second
            assert type(result.__cause__).__name__ == "RateLimitError", second


@pytest.mark.parametrize("kind", one_in(3, ["cut_before", "cut_after_commit", "late_commit"]))
async def test_a_lost_answer_and_looks_that_always_fail_leave_nothing_in_question(world, kind):
    """What the write cannot know does not matter, as all of it is deleted."""
    for post in (0, 2):
        for look in spots("list_items", after=(1,), times=(ALWAYS,)):
            if look.kind not in LIES:
                assert isinstance(await run(world, Spot(kind, "create_items", post), look), FAILURES), look


@pytest.mark.exhaustive
async def test_a_fault_at_each_request_of_a_long_fork(world):
    """A history of 250 items takes 13 requests to be written, and up to five to be read, twice."""
    await run(world, items=MANY)
    requests = world.count()
    assert (requests["create_conversation"], requests["create_items"]) == (1, 13)
    assert requests["list_items"] <= 10
    for operation, count in requests.items():
        kinds = [spot.kind for spot in spots(operation)]
        for place in range(count):
            await run(world, Spot(kinds[place % len(kinds)], operation, place), items=MANY)


@pytest.mark.exhaustive
async def test_faults_over_a_socket():
    """Real resets, silences and lost answers."""
    with Emulator() as emulator, emulator.serve() as base_url:
        world = ForkWorld(emulator)
        async with client_of(base_url) as client:
            for fault in (*CREATIONS, *POSTS, *CHECKS):
                if fault.kind not in ("stall", "stall_after_commit"):
                    await run(world, fault, client=client)
            for first in REFUSALS:
                for second in UNDOING[first.operation][::7]:
                    if second.kind not in ("stall", "stall_after_commit"):
                        await run(world, first, second, items=FEW, client=client)
