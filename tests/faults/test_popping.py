"""One item, one taker: pops whose deletion is lost, raced for, or given up."""

from __future__ import annotations

import asyncio

import openai
import pytest

from openai_sessions.emulator import Fault

from .stage import after
from .world import ALWAYS, FAILURES, LOST, Spot, texts, users

ITEMS = users(3)


async def test_a_404_after_a_deletion_of_unknown_outcome_is_success(world):
    session = await world.session_with(*ITEMS)
    world.inject(Spot("cut_after_commit", "delete_item"))
    assert await session.pop_item() == ITEMS[2]
    assert [request.status for request in world.emulator.requests] == [200, None, 404]
    assert world.stored(session.session_id) == texts(ITEMS)[:2]


async def test_a_404_at_the_first_try_means_that_another_took_it(world, stage):
    session = await world.session_with(*ITEMS, openai_client=stage.client)
    newest = world.stored_ids(session.session_id)[-1]
    stage.at("delete_item", 0, after(lambda: world.foreign_delete(session.session_id, newest)))
    assert await session.pop_item() == ITEMS[1]
    assert world.stored(session.session_id) == texts(ITEMS)[:1]


async def test_a_foreign_process_that_is_always_faster_takes_all_but_what_is_popped(world, stage):
    session = await world.session_with(*ITEMS, openai_client=stage.client)

    async def take(forward):
        await world.foreign_delete(session.session_id, world.stored_ids(session.session_id)[-1])
        return await forward()

    stage.at("delete_item", None, take)
    assert await session.pop_item() is None


@pytest.mark.parametrize("kind", ["cut_after_commit", "stall_after_commit", "error_500_after_commit"])
async def test_a_value_that_turns_out_to_be_gone_is_handed_out_by_the_next_pop(world, kind):
    """Every answer of the first pop is lost: it raises, as nobody can tell."""
    session = await world.session_with(*ITEMS)
    other = world.session(session.session_id)
    world.inject(Spot(kind, "delete_item"), Spot("cut_before", "delete_item", times=ALWAYS))
    with pytest.raises(FAILURES):
        await session.pop_item()
    assert world.count()["delete_item"] == 6
    await world.calm()
    world.emulator.forget_requests()
    assert await other.pop_item() == ITEMS[2]
    assert world.count() == {"retrieve_item": 1}
    assert await session.pop_item() == ITEMS[1]


async def test_a_value_that_is_still_there_is_taken_as_usual(world):
    session = await world.session_with(*ITEMS)
    world.inject(Spot("cut_before", "delete_item", times=6))
    with pytest.raises(openai.APIConnectionError):
        await session.pop_item()
    assert texts(await session.get_items()) == texts(ITEMS)
    assert [await session.pop_item() for _ in range(4)] == [*ITEMS[::-1], None]


async def test_a_refused_deletion_takes_nothing(world):
    session = await world.session_with(*ITEMS)
    world.inject(Spot("quota", "delete_item"))
    with pytest.raises(openai.RateLimitError):
        await session.pop_item()
    world.emulator.forget_requests()
    assert await session.pop_item() == ITEMS[2]
    assert world.operations() == ["list_items", "delete_item"]


async def test_a_value_in_doubt_is_not_handed_out_twice_when_another_item_was_added_since(world):
    session = await world.session_with(*ITEMS)
    world.inject(Spot("cut_after_commit", "delete_item"), Spot("cut_before", "delete_item", times=5))
    with pytest.raises(FAILURES):
        await session.pop_item()
    await world.calm()
    await session.add_items([{"role": "user", "content": "new"}])
    popped = [await session.pop_item() for _ in range(5)]
    assert sorted(texts(popped[:4])) == sorted(["new", *texts(ITEMS)])
    assert popped[4] is None


@pytest.mark.parametrize("seed", range(6))
async def test_many_tasks_over_several_sessions_get_different_items(world, seed):
    items = users(20)
    first = await world.session_with(*items)
    sessions = [first, *(world.session(first.session_id) for _ in range(3))]
    faults = [
        Fault(kind, delay=0.001) if kind == "late_commit" else Fault(kind)
        for kind in (*LOST, "locked", "quota")
    ]
    faults = [fault for fault in faults if fault.kind != "locked" or fault.fits("delete_item")]
    world.emulator.inject_at_random(
        0.3, seed=seed, faults=faults, operations=["list_items", "delete_item", "retrieve_item"]
    )
    results = await asyncio.gather(
        *(sessions[number % 4].pop_item() for number in range(24)), return_exceptions=True
    )
    await world.calm()
    popped = [result for result in results if isinstance(result, dict)]
    assert all(isinstance(result, (dict, type(None), *FAILURES)) for result in results)
    assert len(popped) >= 10
    while (item := await first.pop_item()) is not None:
        popped.append(item)
    assert sorted(texts(popped)) == sorted(texts(items))
    assert world.stored(first.session_id) == []
