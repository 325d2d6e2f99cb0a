"""Items that keep their id, stored again after they were deleted."""

from __future__ import annotations

import openai
import pytest

from openai_sessions.transfer import copy_session

from .world import ALWAYS, Spot, users


def searches(count):
    """Return items that the API stores under the ids that they are given."""
    return [
        {"type": "file_search_call", "id": f"fs_{number}", "status": "completed", "queries": ["q"]}
        for number in range(count)
    ]


ITEMS = [*searches(20), *users(5)]

READS = {
    "get_items": lambda session: session.get_items(),
    "get_items(limit)": lambda session: session.get_items(100),
    "get_items(turns)": lambda session: session.get_items(turns=99),
    "iterate_items": lambda session: _collected(session.iterate_items()),
    "turns": lambda session: _items_of(session.turns()),
}


async def _collected(items):
    return [item async for item in items]


async def _items_of(turns):
    return [item for turn in await turns for item in turn.items]


every_read = pytest.mark.parametrize("read", READS.values(), ids=READS)


@every_read
async def test_a_write_that_was_rolled_back_is_made_again(world, read):
    session = await world.session_with()
    world.inject(Spot("quota", "create_items", after=1))
    with pytest.raises(openai.RateLimitError):
        await session.add_items(ITEMS)
    await world.calm()
    await session.add_items(ITEMS)
    assert await read(session) == ITEMS
    assert await read(world.session(session.session_id)) == ITEMS


@every_read
async def test_an_item_that_was_popped_is_put_back(world, read):
    session = await world.session_with(*searches(3))
    for _ in range(2):
        await session.add_items([await session.pop_item()])
    assert await read(session) == searches(3)


@every_read
async def test_a_history_that_was_cleared_is_restored(world, read):
    session = await world.session_with(*ITEMS)
    await session.clear_session(keep_conversation=True)
    await session.add_items(ITEMS)
    assert await read(session) == ITEMS


@every_read
async def test_an_item_that_another_process_stores_again_is_there(world, read):
    """A listing that shows a deleted item may be stale: it is requested again, and believed then."""
    session = await world.session_with(*searches(3))
    popped = await session.pop_item()
    await world.foreign_add(session.session_id, popped)
    world.emulator.forget_requests()
    assert await read(session) == searches(3)
    assert world.count()["list_items"] > 1
    world.emulator.forget_requests()
    assert await read(session) == searches(3)
    assert world.count()["list_items"] == 1


async def test_a_lost_write_of_such_items_is_found(world):
    session = await world.session_with(*searches(3))
    popped = await session.pop_item()
    world.inject(Spot("cut_after_commit", "create_items"))
    await session.add_items([popped])
    assert world.count()["create_items"] == 1
    assert await session.get_items() == searches(3)


async def test_a_copy_that_failed_succeeds_the_next_time(world):
    source = await world.session_with(*ITEMS)
    target = await world.session_with()
    world.inject(Spot("quota", "create_items", after=1))
    with pytest.raises(openai.RateLimitError):
        await copy_session(source, target)
    await world.calm()
    await copy_session(source, target)
    assert await target.get_items() == ITEMS


async def test_such_an_item_is_popped_once_each_time_it_is_stored(world):
    session = await world.session_with(*searches(1))
    for _ in range(3):
        assert [await session.pop_item(), await session.pop_item()] == [*searches(1), None]
        await session.add_items(searches(1))


async def test_a_rollback_of_such_items_that_fails_is_settled_by_their_ids(world):
    session = await world.session_with()
    world.inject(Spot("quota", "create_items", after=1), Spot("quota", "delete_item", times=ALWAYS))
    with pytest.raises(Exception, match="could not be undone"):
        await session.add_items(ITEMS)
    await world.calm()
    await session.add_items(ITEMS)
    assert await session.get_items() == ITEMS


@pytest.mark.parametrize("fault", [None, "cut_before", "cut_after_commit"])
async def test_an_item_that_another_process_deleted_is_stored_again(world, fault):
    """This process still remembers its id."""
    session = await world.session_with(*users(1), *searches(2))
    await world.foreign_delete(session.session_id, "fs_0", "fs_1")
    world.inject(*([Spot(fault, "create_items")] if fault else []))
    await session.add_items(searches(2))
    assert world.count()["create_items"] == (2 if fault == "cut_before" else 1)
    assert await session.get_items() == [*users(1), *searches(2)]


async def test_an_item_that_is_there_is_not_deleted_by_the_rollback_of_a_write_that_has_it_again(world):
    session = await world.session_with(*searches(2), *users(1))
    before = await session.get_items()
    with pytest.raises(openai.BadRequestError):
        await session.add_items([*users(20), *searches(2)])
    assert await session.get_items() == before


async def test_an_incremental_session_sees_an_item_that_is_stored_again(world):
    session = await world.session_with(*searches(3), *users(120), history="incremental")
    assert len(await session.get_items()) == 123
    await world.foreign_delete(session.session_id, "fs_1")
    await world.foreign_add(session.session_id, searches(2)[1])
    expected = [searches(1)[0], searches(3)[2], *users(120), searches(2)[1]]
    assert await session.get_items() == expected
