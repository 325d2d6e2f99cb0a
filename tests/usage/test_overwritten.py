"""Counts that are overwritten by another process, or by a request that the server applies late."""

import pytest

from openai_sessions._conversation.usage import USAGE_KEY, WINDOW, UsageRecord
from openai_sessions.emulator import Fault
from tests.faults.on_the_wire import POLICY

from .results import ONE, result_of, times


@pytest.fixture
async def session(world):
    session = await world.session_with(retry_policy=POLICY, metadata={"user": "first"})
    await session.store_run_usage(result_of())
    return session


def metadata_of(world):
    (conversation,) = world.emulator.conversations()
    return conversation.metadata


def record_of(world):
    return UsageRecord.from_value(metadata_of(world)[USAGE_KEY])


async def replace(world, session, metadata):
    """Replace the metadata as another process does that had read it before."""
    await world.foreign.conversations.update(session.session_id, metadata=metadata)


async def foreign_counts(world, session, metadata, number=1):
    """Count as another process does that had read this metadata."""
    record = UsageRecord.from_value(metadata[USAGE_KEY])
    for each in range(number):
        record = record.plus(f"foreign {each}", ONE)
    await replace(world, session, {**metadata, USAGE_KEY: record.as_value()})


@pytest.mark.parametrize("number", [1, WINDOW])
async def test_count_that_another_process_overwrote_is_added_again_by_the_next_count(world, session, number):
    before = metadata_of(world)
    await session.store_run_usage(result_of())
    await foreign_counts(world, session, before, number)
    await session.store_run_usage(result_of())
    assert times(3 + number) == record_of(world).total


async def test_count_that_another_process_overwrote_is_added_again_by_the_next_read(world, session):
    before = metadata_of(world)
    await session.store_run_usage(result_of())
    await foreign_counts(world, session, before)
    assert times(3) == await session.get_session_usage() == record_of(world).total


async def test_read_that_cannot_add_again_gives_the_totals_all_the_same(world, session, caplog):
    before = metadata_of(world)
    await session.store_run_usage(result_of())
    await foreign_counts(world, session, before)
    world.emulator.inject(Fault("quota"), operation="update_conversation")
    assert times(3) == await session.get_session_usage()
    assert [f"{session.session_id}: a count could not be completed: RateLimitError"] == caplog.messages
    assert times(2) == record_of(world).total
    assert times(3) == await session.get_session_usage() == record_of(world).total


async def test_count_after_which_many_followed_is_not_added_again(world, session):
    """Whether it is among them is no longer to be seen, and nothing is counted twice."""
    before = metadata_of(world)
    await session.store_run_usage(result_of())
    await foreign_counts(world, session, before, WINDOW + 1)
    await session.store_run_usage(result_of())
    assert times(3 + WINDOW) == record_of(world).total


async def test_count_that_was_added_again_is_not_counted_twice_when_the_first_comes_back(world, session):
    before = metadata_of(world)
    await session.store_run_usage(result_of())
    first = metadata_of(world)
    await foreign_counts(world, session, before, 3)
    assert times(5) == await session.get_session_usage()
    await foreign_counts(world, session, first, WINDOW)
    assert times(2 + WINDOW) == await session.get_session_usage()


async def test_many_counts_of_others_are_not_taken_for_a_loss(world, session):
    await foreign_counts(world, session, metadata_of(world), 3 * WINDOW)
    await session.store_run_usage(result_of())
    assert times(2 + 3 * WINDOW) == await session.get_session_usage()


async def test_old_state_that_is_put_back_is_repaired(world, session):
    """As by a program that reads all metadata, and writes it back later."""
    before = metadata_of(world)
    for _ in range(3):
        await session.store_run_usage(result_of())
    await replace(world, session, {**before, "user": "second"})
    assert times(4) == await session.get_session_usage()
    assert "second" == metadata_of(world)["user"]


async def test_totals_that_another_process_removed_stay_removed(world, session):
    await replace(world, session, {"user": "first"})
    assert await session.get_session_usage() is None
    await session.store_run_usage(result_of())
    assert ONE == await session.get_session_usage()


async def test_totals_that_another_process_replaced_stay_replaced(world, session):
    other = UsageRecord.from_value(metadata_of(world)[USAGE_KEY]).replaced_by(times(20))
    await replace(world, session, {USAGE_KEY: other.as_value()})
    assert times(20) == await session.get_session_usage()
    await session.store_run_usage(result_of())
    assert times(21) == await session.get_session_usage()


async def test_request_that_is_applied_late_loses_no_later_count(world, session):
    """Its repetition was applied, and another count, before the server came to it."""
    world.emulator.inject(Fault("late_commit", delay=0.2), operation="update_conversation")
    await session.store_run_usage(result_of())
    await session.store_run_usage(result_of())
    assert times(3) == record_of(world).total
    await world.calm()
    assert times(2) == record_of(world).total
    assert times(3) == await session.get_session_usage() == record_of(world).total
