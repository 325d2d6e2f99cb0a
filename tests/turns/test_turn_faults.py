"""Faults and cancellations at the end of a turn: it is stored whole, once, or not at all."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from openai_sessions._conversation.locked import LockedConversation
from openai_sessions._conversation.shielding import run_shielded
from openai_sessions._conversation.writing import append_and_delete
from tests.faults.cancelling import WAYS, anyio_scope, asyncio_wait_for, task_cancel
from tests.faults.conftest import quiet_loop  # noqa: F401 -- a fixture
from tests.faults.stage import Gate, Stage
from tests.faults.world import ALWAYS, FAILURES, Spot, World, spots, texts, users
from tests.selection import one_in

OLD = users(3, name="old")
NEW = users(25, name="new")

CASES = [
    *((0, (fault,)) for fault in spots("create_items", after=(0, 1))),
    *((2, (fault,)) for fault in spots("list_items")),
    *((2, (fault,)) for fault in spots("delete_item", after=(0, 1), times=(1, ALWAYS))),
    *(
        (2, (Spot(first, "create_items", 1, ALWAYS), second))
        for first in ("quota", "cut_after_commit")
        for second in spots("delete_item")
    ),
]
"""How many items a turn pops, and the faults of its end; two of them are of a write and of its undoing."""

SOME_WAYS = one_in(len(WAYS), [anyio_scope, *(way for way in WAYS if way is not anyio_scope)])


@pytest.fixture
def world(emulator):
    return World(emulator)


@pytest.mark.parametrize("case", one_in(16, CASES), ids=str)
async def test_a_turn_under_a_fault_is_whole_or_absent(world, case):
    pops, faults = case
    session = await world.session_with(*OLD, openai_client=world.patient)
    receipt = None
    try:
        async with session.turn(on_conflict="raise") as turn:
            await turn.get_items()
            for _ in range(pops):
                await turn.pop_item()
            await turn.add_items(NEW)
            world.inject(*faults)
    except FAILURES as error:
        receipt = getattr(error, "receipt", None)
        expected = OLD
        assert turn.pending == NEW
    else:
        expected = [*OLD[: 3 - pops], *NEW]
        assert turn.pending == []
    await world.calm()
    if receipt is not None:
        await session.settle(receipt)
    assert await session.get_items() == expected
    assert world.stored(session.session_id) == texts(expected)
    assert session.unsettled == ()


PHASES = {
    "posting": ("create_items", 0),
    "posting more": ("create_items", 1),
    "deleting": ("delete_item", 0),
    "deleting more": ("delete_item", 1),
    "reading": ("list_items", 1),
    "checking": ("list_items", 2),
}


@pytest.mark.usefixtures("quiet_loop")
@pytest.mark.parametrize("way", SOME_WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("phase", one_in(3, PHASES))
async def test_a_cancelled_end_is_whole_or_absent(world, phase, moment, way):
    stage, gate = Stage(world.emulator), Gate()
    known = await world.session_with(*OLD)
    session = world.session(known.session_id, openai_client=stage.client)
    operation, number = PHASES[phase]
    stage.at(operation, number, getattr(gate, moment))
    made = []

    async def work():
        async with session.turn(on_conflict="raise", exclusive=moment == "after") as turn:
            made.append(turn)
            await turn.get_items(1)
            await turn.get_items()
            await turn.pop_item()
            await turn.pop_item()
            await turn.add_items(NEW)

    await way(work, gate)
    assert gate.reached.is_set() or way is asyncio_wait_for
    await world.calm()
    stored = await session.get_items()
    whole = [*OLD[:1], *NEW]
    assert stored in (OLD, whole)
    if phase != "reading":
        assert made[0].pending == (NEW if stored == OLD else [])
    if phase.startswith("deleting") and way is not asyncio_wait_for:
        assert stored == whole
    assert world.stored(session.session_id) == texts(stored)
    assert session.unsettled == ()


@pytest.mark.usefixtures("quiet_loop")
@pytest.mark.parametrize("way", SOME_WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("exclusive", [False, True])
async def test_a_cancelled_block_is_kept_in_every_way(world, way, exclusive):
    session, gate = await world.session_with(*OLD), Gate()

    async def work():
        async with session.turn(on_error="keep", exclusive=exclusive) as turn:
            await turn.get_items()
            await turn.add_items(NEW)
            gate.reached.set()
            await asyncio.Event().wait()

    await way(work, gate)
    assert gate.reached.is_set() or way is asyncio_wait_for
    assert await session.get_items() in ([*OLD, *NEW], OLD if way is asyncio_wait_for else None)


@pytest.mark.usefixtures("quiet_loop")
@pytest.mark.parametrize("way", SOME_WAYS, ids=lambda way: way.__name__)
async def test_a_cancelled_wait_for_an_exclusive_turn_ends_at_once(world, way):
    session, gate = await world.session_with(*OLD), Gate()
    other = world.session(session.session_id)

    async def wait():
        gate.reached.set()
        async with other.turn(exclusive=True):
            raise AssertionError

    started, is_over = asyncio.Event(), asyncio.Event()

    async def hold():
        async with session.turn(exclusive=True) as turn:
            started.set()
            await is_over.wait()
            await turn.add_items(NEW)

    holding = asyncio.ensure_future(hold())
    await started.wait()
    await way(wait, gate)
    is_over.set()
    await holding
    assert await other.get_items() == [*OLD, *NEW]


async def test_a_server_that_stalls_after_a_cancellation_is_waited_for_within_the_grace_period(
    world, monkeypatch
):
    """The items that it stored are deleted by the next operation."""
    from openai_sessions import turn as turns  # noqa: PLC0415

    run_to_end = turns.run_to_end
    monkeypatch.setattr(turns, "run_to_end", lambda work: run_to_end(work, 0.01))
    stage, gate = Stage(world.emulator), Gate()
    known = await world.session_with(*OLD)
    session = world.session(known.session_id, openai_client=stage.client)
    stage.at("create_items", 1, gate.before)
    entered = Gate()

    async def work():
        async with session.turn(on_error="keep") as turn:
            await turn.get_items()
            await turn.add_items(NEW)
            await entered.pause()

    async def opened():
        with anyio.fail_after(10):
            await task_cancel(work, entered)

    cancelling = asyncio.ensure_future(opened())
    await gate.reached.wait()
    gate.opened.set()
    await cancelling
    assert await session.get_items() in (OLD, [*OLD, *NEW])
    assert session.unsettled == ()


@pytest.mark.usefixtures("quiet_loop")
async def test_deletions_that_are_cut_are_left_to_the_next_operation(world):
    """One of them may have happened: the turn goes on, and is not undone."""
    stage, gate = Stage(world.emulator), Gate()
    known = await world.session_with(*OLD)
    session = world.session(known.session_id, openai_client=stage.client)
    await session.get_items()
    old = world.stored_ids(session.session_id)
    client = await session._clients.client()
    stage.at("delete_item", None, gate.before)

    async def replaced(cancellation):
        locked = LockedConversation(client, session.session_id, session._conversation.known, cancellation)
        await append_and_delete(locked, NEW, [old])

    task = asyncio.ensure_future(run_shielded(replaced, grace=0.01))
    await gate.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.stored(session.session_id) == texts([*OLD, *NEW])
    stage.forget()
    assert await session.get_items() == NEW
