"""Every fault at each request of a count, alone and in pairs: a run is counted once, or not yet."""

import gc
import weakref
from copy import copy

import pytest
from agents import ModelResponse

from openai_sessions._conversation.usage import USAGE_KEY, UsageRecord
from tests.faults.on_the_wire import POLICY
from tests.faults.world import ALWAYS, FAILURES, Spot, spots
from tests.selection import one_in

from .results import ONE, agents_usage, result_of, times

READS = spots("retrieve_conversation")
WRITES = spots("update_conversation")
ONCE = [*READS, *WRITES]
FOR_EVER = [*spots("retrieve_conversation", times=(ALWAYS,)), *spots("update_conversation", times=(ALWAYS,))]
PAIRS = [
    (first, Spot(second.kind, second.operation, after))
    for first in ONCE
    for second in ONCE
    for after in (0, 1)
    if (after == 1) == (first.operation == second.operation)
]


@pytest.fixture
async def session(world):
    """A session in which one run was counted."""
    session = await world.session_with(retry_policy=POLICY, metadata={"user": "first"})
    await session.store_run_usage(result_of())
    return session


def held(world, session):
    """Return the total that the server holds, whatever a session says of it; other pairs are there."""
    (conversation,) = world.emulator.conversations()
    assert {"user", USAGE_KEY} == conversation.metadata.keys()
    return UsageRecord.from_value(conversation.metadata[USAGE_KEY]).total


async def stored_under(world, session, result, *faults):
    """Tell whether a count returned under faults."""
    world.inject(*faults)
    try:
        await session.store_run_usage(result)
    except FAILURES:
        return False
    finally:
        await world.calm()
    return True


async def check(world, session, *faults):
    """Count one run more: it is counted when that returns, and after a repetition when it does not."""
    result, before = result_of(), held(world, session)
    returned = await stored_under(world, session, result, *faults)
    assert held(world, session) in ((before + ONE,) if returned else (before, before + ONE))
    await session.store_run_usage(result)
    assert before + ONE == held(world, session) == await session.get_session_usage()


@pytest.mark.parametrize("fault", one_in(3, [*ONCE, *FOR_EVER]), ids=str)
async def test_fault(world, session, fault):
    await check(world, session, fault)


@pytest.mark.parametrize("fault", one_in(12, ONCE), ids=str)
async def test_two_faults(world, session, fault):
    for pair in PAIRS:
        if pair[0] == fault:
            await check(world, session, *pair)


@pytest.mark.parametrize("fault", ONCE, ids=str)
async def test_transient_fault_costs_one_request_and_no_error(world, session, fault):
    world.inject(fault)
    if fault.kind == "quota":
        with pytest.raises(FAILURES):
            await session.store_run_usage(result_of())
        return
    await session.store_run_usage(result_of())
    assert [
        2 if fault.operation == name else 1 for name in ("retrieve_conversation", "update_conversation")
    ] == [
        world.count()["retrieve_conversation"],
        world.count()["update_conversation"],
    ]


@pytest.mark.parametrize("fault", FOR_EVER, ids=str)
async def test_count_that_raised_is_counted_once_by_a_repetition(world, session, fault):
    result = result_of()
    await stored_under(world, session, result, fault)
    assert await session.get_session_usage() == held(world, session)
    for _ in range(2):
        await session.store_run_usage(result)
        assert times(2) == await session.get_session_usage() == held(world, session)


@pytest.mark.parametrize("kind", ["cut_before", "cut_after_commit"])
async def test_repetition_by_a_new_session_object_counts_once(world, kind):
    """What is known of a run lives as long as its result."""
    session = await world.session_with(retry_policy=POLICY, metadata={"user": "first"})
    conversation_id, result = session.session_id, result_of()
    assert not await stored_under(world, session, result, Spot(kind, "update_conversation", times=9))
    known = weakref.ref(session._conversation.known)
    del session
    gc.collect()
    assert known() is None
    resumed = world.session(conversation_id)
    await resumed.store_run_usage(result)
    assert ONE == await resumed.get_session_usage()


@pytest.mark.parametrize("kind", ["cut_before", "cut_after_commit"])
async def test_run_that_goes_on_by_a_new_session_object_counts_once(world, kind):
    """As one that is resumed after an approval, and has the first of its responses in common."""
    response = ModelResponse(output=[], usage=agents_usage(), response_id=None)
    first, whole = result_of(), result_of(times(3))
    first.raw_responses, whole.raw_responses = [response], [response, copy(response)]
    session = await world.session_with(retry_policy=POLICY, metadata={"user": "first"})
    conversation_id = session.session_id
    assert not await stored_under(world, session, first, Spot(kind, "update_conversation", times=9))
    known = weakref.ref(session._conversation.known)
    del session
    gc.collect()
    assert known() is None
    resumed = world.session(conversation_id)
    await resumed.store_run_usage(whole)
    assert times(3) == await resumed.get_session_usage() == held(world, resumed)


async def test_count_that_raised_is_not_added_to_totals_that_were_replaced(world, session):
    result = result_of()
    await stored_under(world, session, result, Spot("cut_before", "update_conversation", times=ALWAYS))
    await session.set_session_usage(times(9))
    await session.store_run_usage(result)
    assert times(9) == await session.get_session_usage() == held(world, session)


@pytest.mark.parametrize("fault", FOR_EVER, ids=str)
async def test_replacing_that_raised_has_replaced_or_not(world, session, fault):
    world.inject(fault)
    with pytest.raises(FAILURES):
        await session.set_session_usage(times(9))
    await world.calm()
    assert held(world, session) in (ONE, times(9))
    await session.set_session_usage(times(9))
    assert times(9) == await session.get_session_usage()


@pytest.mark.parametrize("fault", FOR_EVER, ids=str)
async def test_change_of_metadata_that_raised_was_made_or_not(world, session, fault):
    world.inject(fault)
    with pytest.raises(FAILURES):
        await session.update_metadata({"user": "second"})
    await world.calm()
    assert await session.get_metadata() in ({"user": "first"}, {"user": "second"})
    await session.update_metadata({"user": "second"})
    assert {"user": "second"} == await session.get_metadata()
    assert ONE == held(world, session)
