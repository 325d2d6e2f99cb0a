"""Callers of a fork that are cancelled, in every way and in every phase: nothing of the fork is left."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.cancelling import WAYS, asyncio_wait_for, task_cancel
from tests.faults.stage import Gate, Stage
from tests.faults.world import Spot, texts, users
from tests.selection import one_in

from .fork_world import ForkWorld

ITEMS = users(45)

PHASES = {
    "reading": ("list_items", 0),
    "creation": ("create_conversation", 0),
    **{f"post {number}": ("create_items", number) for number in range(3)},
    "reading back": ("list_items", 1),
    "undoing": ("delete_item", 3),
    "deleting": ("delete_conversation", 0),
}
"""The request at which the caller is cancelled; a fork is undone after a refusal."""


@pytest.fixture
def world(emulator):
    return ForkWorld(emulator)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("phase", one_in(5, PHASES))
async def test_a_cancelled_fork_leaves_nothing(world, phase, moment, way):
    stage, gate = Stage(world.emulator), Gate()
    session = await world.session_with(*ITEMS, openai_client=stage.client)
    operation, number = PHASES[phase]
    if phase in ("undoing", "deleting"):
        Spot("quota", "create_items", after=2).inject(world.emulator)
    stage.at(operation, number, getattr(gate, moment))
    await way(session.fork, gate)
    assert gate.reached.is_set() or way is asyncio_wait_for
    assert world.conversations() == [session.session_id]
    assert world.count_items() == len(ITEMS)
    await world.calm()
    assert texts(await (await session.fork()).get_items()) == texts(ITEMS)
    assert world.stored(session.session_id) == texts(ITEMS)


async def test_no_task_is_left_behind(world):
    before = asyncio.all_tasks()
    stage, gate = Stage(world.emulator), Gate()
    session = await world.session_with(*ITEMS, openai_client=stage.client)
    stage.at("create_items", 1, gate.before)
    await task_cancel(session.fork, gate, times=4)
    for _ in range(3):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() - before - {asyncio.current_task()} == set()


async def test_a_cancelled_creation_without_an_answer_is_told_of(world):
    """The caller waits for the answer; when it is lost, an empty conversation may exist."""
    orphans = []
    stage, gate = Stage(world.emulator), Gate()
    session = await world.session_with(*ITEMS, openai_client=stage.client, on_orphan=orphans.append)
    stage.at("create_conversation", 0, gate.after)
    await task_cancel(session.fork, gate)
    assert orphans == []
    assert world.conversations() == [session.session_id]


def hurry(loop, times=10):
    """Let an event loop wait so many times shorter than it is told to, and take it for the whole time."""
    start, time, select = loop.time(), loop.time, loop._selector.select
    loop.time = lambda: start + times * (time() - start)
    loop._selector.select = lambda timeout=None: select(timeout and timeout / times)


@pytest.mark.exhaustive
async def test_a_server_that_stalls_is_waited_for_for_a_while_and_what_is_left_is_in_the_log(world, caplog):
    hurry(asyncio.get_running_loop())
    stage, gate = Stage(world.emulator), Gate()
    session = await world.session_with(*ITEMS, openai_client=stage.client)
    stage.at("delete_item", None, gate.before)
    stage.at("list_items", 1, gate.before)
    calling = asyncio.ensure_future(session.fork())
    await gate.reached.wait()
    started = asyncio.get_running_loop().time()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert 9.9 < asyncio.get_running_loop().time() - started < 45
    (left,) = set(world.conversations()) - {session.session_id}
    assert f"{left}: the conversation of a failed fork was not deleted" in caplog.text
