"""Copies with failing requests: everything is copied or nothing, and the next call completes it."""

from __future__ import annotations

import pytest

from openai_sessions import copy_session
from openai_sessions.errors import UnsettledTransferError
from openai_sessions.transfer import TransferReport
from tests.faults.on_the_wire import POLICY
from tests.faults.world import ALWAYS, FAILURES, Spot, spots, texts
from tests.selection import one_in

from .items import users

BEFORE = users(2, "before")
EXPECTED = texts(users(130))

POSTS = range(7)
"""The requests that write 130 items."""

ONCE = [
    *spots("create_conversation"),
    *spots("create_items", after=(0, 4, 5, 6)),  # the first and the last of both pieces
    *spots("list_items", after=(0, 1)),
]
FOR_GOOD = [
    *spots("create_conversation", times=(ALWAYS,)),
    *(
        Spot(kind, "create_items", place, ALWAYS)
        for kind in ("cut_before", "throttled", "locked")
        for place in (0, 4, 6)
    ),
]
UNDOING = [
    fault
    for fault in (*spots("delete_item", after=(50,)), *spots("delete_conversation"))
    if fault.kind != "quota"
]
"""All faults after which a deletion is retried."""


def patient(world, **options):
    return world.session(openai_client=world.patient, retry_policy=POLICY, **options)


def held(world):
    """Return the stored texts of all conversations that are not deleted."""
    return [world.stored(conversation_id) for conversation_id in world.conversations()]


async def copy_or_nothing(world, source, target, *faults):
    """Copy under faults, assert that everything or nothing was copied, and return whether it was."""
    world.inject(*faults)
    try:
        await copy_session(source, target)
    except UnsettledTransferError:
        raise
    except FAILURES:
        await world.calm()
        assert target.conversation_id is None
        assert [] == [texts for texts in held(world) if texts]
        return False
    await world.calm()
    assert EXPECTED == world.stored(target.conversation_id)
    return True


@pytest.mark.parametrize("fault", one_in(5, ONCE), ids=str)
async def test_copy_with_a_fault_is_complete_or_leaves_nothing(world, source, fault):
    """It survives most single faults; otherwise the next call copies everything."""
    target = patient(world)
    if not await copy_or_nothing(world, source, target, fault):
        assert TransferReport(copied=130) == await copy_session(source, target)
        assert EXPECTED == world.stored(target.conversation_id)


@pytest.mark.parametrize("fault", one_in(2, FOR_GOOD), ids=str)
async def test_copy_with_a_lasting_fault_leaves_nothing(world, source, fault):
    assert not await copy_or_nothing(world, source, patient(world), fault)
    assert TransferReport(copied=130) == await copy_session(source, patient(world))


@pytest.mark.parametrize("kind", one_in(3, ["cut_before", "quota", "truncated_body"]))
@pytest.mark.parametrize("place", [0, 1])
async def test_copy_that_cannot_be_read_back_leaves_no_item(world, source, kind, place):
    """Whether others have written to the new conversation is not known then: it stays, as is said."""
    target = patient(world)
    world.inject(Spot(kind, "list_items", place, ALWAYS))
    with pytest.raises(UnsettledTransferError, match="the empty conversation it created remains") as caught:
        await copy_session(source, target)
    await world.calm()
    assert (0, [[]], target.session_id) == (caught.value.left, held(world), caught.value.session_id)
    assert TransferReport(copied=130) == await copy_session(source, target)


@pytest.mark.parametrize("fault", one_in(3, UNDOING), ids=str)
async def test_undo_survives_a_fault(world, source, fault):
    target = patient(world)
    await copy_or_nothing(world, source, target, Spot("quota", "create_items", after=6), fault)


@pytest.mark.parametrize("kind", ["cut_before", "quota", "locked"])
@pytest.mark.parametrize("after", [0, 60])
async def test_failed_undo_is_reported_and_the_next_call_continues(world, source, kind, after):
    target = patient(world)
    world.inject(Spot("quota", "create_items", after=6), Spot(kind, "delete_item", after, ALWAYS))
    with pytest.raises(UnsettledTransferError, match=r"could not be undone .* Call it again") as caught:
        await copy_session(source, target)
    await world.calm()
    left = world.stored(target.conversation_id)
    assert len(left) <= caught.value.left <= 130
    assert target.session_id == caught.value.session_id
    assert isinstance(caught.value.__cause__, FAILURES)
    report = await copy_session(source, target)
    assert (130, EXPECTED) == (report.copied + report.already_there, world.stored(target.conversation_id))


async def test_failed_undo_of_an_appending_copy_cannot_be_continued(world, source):
    """A second call would write all items again."""
    target = await world.session_with(*BEFORE, openai_client=world.patient, retry_policy=POLICY)
    world.inject(Spot("quota", "create_items", after=6), Spot("quota", "delete_item", 0, ALWAYS))
    with pytest.raises(UnsettledTransferError, match=r"up to \d+ of its items remain") as caught:
        await copy_session(source, target, append=True)
    await world.calm()
    assert "to continue" not in str(caught.value)
    assert "follow the target's own items" in str(caught.value)
    assert "clear_session" not in str(caught.value)


@pytest.mark.parametrize("place", one_in(3, POSTS))
async def test_failed_appending_copy_keeps_earlier_items(world, source, place):
    target = await world.session_with(*BEFORE, openai_client=world.patient, retry_policy=POLICY)
    world.inject(Spot("quota", "create_items", after=place))
    with pytest.raises(FAILURES):
        await copy_session(source, target, append=True)
    await world.calm()
    assert texts(BEFORE) == world.stored(target.session_id)
    assert TransferReport(copied=130) == await copy_session(source, target, append=True)
    assert [*texts(BEFORE), *EXPECTED] == world.stored(target.session_id)


@pytest.mark.parametrize("place", POSTS)
async def test_failed_copy_keeps_items_of_an_earlier_one(world, source, place):
    there = 55
    target = await world.session_with(*users(there), openai_client=world.patient, retry_policy=POLICY)
    world.inject(Spot("quota", "create_items", after=place))
    try:
        await copy_session(source, target)
    except FAILURES:
        assert EXPECTED[:there] == world.stored(target.session_id)
    else:
        assert place >= 4  # the rest takes four requests
        assert EXPECTED == world.stored(target.session_id)


@pytest.mark.parametrize("place", POSTS)
async def test_keep_partial_keeps_written_items_for_the_next_call(world, source, place):
    target = patient(world)
    world.inject(Spot("quota", "create_items", after=place))
    with pytest.raises(FAILURES):
        await copy_session(source, target, keep_partial=True)
    there = 100 if place > 4 else 0  # each piece is all or nothing
    assert EXPECTED[:there] == world.stored(target.session_id)
    assert TransferReport(copied=130 - there, already_there=there) == await copy_session(source, target)


async def test_callback_that_refuses_the_new_conversation_leaves_nothing(world, source):
    def refuse(_):
        raise LookupError

    target = patient(world, on_conversation_created=refuse)
    with pytest.raises(LookupError):
        await copy_session(source, target)
    assert [] == world.conversations()
