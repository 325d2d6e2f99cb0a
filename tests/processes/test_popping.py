"""Several processes take items from one conversation at once."""

import openai
import pytest

from openai_sessions.emulator import Fault
from tests.selection import one_in

from .staff import FAST, all_do, batch, user

FAULTS = [Fault(kind) for kind in ("cut_after_commit", "cut_before", "throttled", "locked")]


def pop_everything(staff, setting):
    """Let three processes pop at once, round after round, until nothing is left; return what each got."""
    taken = []
    with staff.workers(3, setting) as workers:
        while None not in taken:
            taken += all_do(workers, "pop")
    return [item["content"] for item in taken if item is not None]


async def test_item_popped_with_a_shared_lock_has_one_taker(session, staff, locked):
    items = batch("item", 0, 16)
    await session.add_items(items)
    taken = pop_everything(staff, locked)
    assert sorted(item["content"] for item in items) == sorted(taken)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", one_in(3, [1, 2, 3]))
async def test_item_popped_with_a_shared_lock_has_one_taker_under_faults(
    emulator, session, staff, locked, seed
):
    items = batch("item", 0, 16)
    await session.add_items(items)
    emulator.inject_at_random(0.3, seed=seed, faults=FAULTS, operations=("delete_item", "list_items"))
    taken = pop_everything(staff, locked)
    assert sorted(item["content"] for item in items) == sorted(taken)


@pytest.mark.exhaustive
async def test_item_left_by_a_failed_pop_has_one_taker(emulator, session, staff, locked):
    """Who could not delete an item does not hand it out after another process has taken it."""
    await session.add_items([user("older"), user("newer")])
    with staff.workers(2, locked) as (unlucky, other):
        emulator.inject(Fault("cut_before"), operation="delete_item", times=FAST["attempts"])
        failed = unlucky.do("pop_or_fail")
        emulator.clear_faults()
        taken = [worker.do("pop") for worker in (other, unlucky, unlucky)]
    assert openai.APIConnectionError.__name__ == failed
    assert [user("newer"), user("older"), None] == taken


@pytest.mark.exhaustive
async def test_item_whose_deletion_got_no_answer_goes_to_who_deleted_it(emulator, session, staff, locked):
    """The item is gone, so its value is with the process that asked for its deletion, and only there."""
    await session.add_items([user("older"), user("newer")])
    with staff.workers(2, locked) as (unlucky, other):
        emulator.inject(Fault("cut_after_commit"), operation="delete_item")
        emulator.inject(Fault("cut_before"), operation="delete_item", times=FAST["attempts"] - 1)
        first = unlucky.do("pop_or_fail")
        emulator.clear_faults()
        taken = [worker.do("pop") for worker in (other, unlucky)]
    values = [value for value in (first, *taken) if isinstance(value, dict)]
    assert [user("newer"), user("older")] == sorted(values, key=lambda item: item["content"])
