"""Callers that are cancelled, in every way and in every phase of a write or a pop.

The cancellation goes on to the caller, nothing of the write stays, no value of a pop is lost, and no
task is left behind.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from openai_sessions import RetryPolicy
from tests.selection import one_in

from .cancelling import WAYS, asyncio_wait_for, task_cancel
from .stage import Gate, cut, cut_after_commit, throttled
from .world import Spot, texts, users

pytestmark = pytest.mark.usefixtures("quiet_loop")

ITEMS = users(45)
BEFORE = users(2, name="before")


def post(number, moment):
    def arrange(world, stage, session, gate):
        stage.at("create_items", number, getattr(gate, moment))

    return arrange


def creation(moment):
    def arrange(world, stage, session, gate):
        session._conversation.conversation_id = None
        stage.at("create_conversation", 0, getattr(gate, moment))

    return arrange


def look(how):
    def arrange(world, stage, session, gate):
        stage.at("create_items", 1, how)
        stage.at("list_items", 0, gate.before)

    return arrange


def wait_between_looks(world, stage, session, gate):
    stage.at("create_items", 1, cut)
    sleep_at(session, gate)


def wait_between_attempts(world, stage, session, gate):
    Spot("throttled", "create_items", after=1).inject(world.emulator)
    sleep_at(session, gate)


def rollback(world, stage, session, gate):
    Spot("quota", "create_items", after=2).inject(world.emulator)
    stage.at("delete_item", 0, gate.before)


def rollback_that_looks(world, stage, session, gate):
    """The look fails, and the rollback looks again."""
    stage.at("create_items", 1, cut_after_commit)
    Spot("quota", "list_items").inject(world.emulator)
    stage.at("list_items", 1, gate.before)


def sleep_at(session, gate):
    """Let the session come to the gate in the place of its waits."""
    client = session._clients._client
    client.retries = replace(client.retries, sleep=gate.pause)


PHASES = {
    "creation": creation("before"),
    "creation served": creation("after"),
    **{f"post {number}": post(number, "before") for number in range(3)},
    **{f"post {number} served": post(number, "after") for number in range(3)},
    "look for what is stored": look(cut_after_commit),
    "look for what is not": look(cut),
    "wait between looks": wait_between_looks,
    "wait between attempts": wait_between_attempts,
    "rollback": rollback,
    "rollback that looks": rollback_that_looks,
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("phase", one_in(3, PHASES))
async def test_a_cancelled_write_leaves_nothing(world, stage, phase, way):
    session = await world.session_with(*BEFORE, openai_client=stage.client)
    original, gate = session.session_id, Gate()
    PHASES[phase](world, stage, session, gate)
    await way(lambda: session.add_items(ITEMS), gate)
    assert gate.reached.is_set() or way is asyncio_wait_for
    assert world.stored(original) == texts(BEFORE)
    await world.calm()
    assert texts(await session.get_items()) == world.stored(session.conversation_id)
    assert world.stored(original) == texts(BEFORE)
    assert session.unsettled == ()
    await session.add_items(ITEMS)
    assert world.stored(session.session_id)[-45:] == texts(ITEMS)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_a_cancelled_wait_for_the_lock_ends_at_once(world, stage, way):
    session = await world.session_with(*BEFORE, openai_client=stage.client)
    other = world.session(session.session_id, openai_client=stage.client)
    gate, held = Gate(), Gate()
    stage.at("list_items", 0, held.before)
    reading = asyncio.ensure_future(other.get_items())
    await held.reached.wait()

    async def add():
        gate.reached.set()
        await session.add_items(ITEMS)

    await way(add, gate)
    assert not reading.done()
    held.opened.set()
    assert texts(await reading) == texts(BEFORE)
    assert world.stored(session.session_id) == texts(BEFORE)
    assert world.count()["create_items"] == 0


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize(
    ("operation", "moment"), [("list_items", "before"), ("delete_item", "before"), ("delete_item", "after")]
)
async def test_a_cancelled_pop_loses_no_value(world, stage, operation, moment, way):
    session = await world.session_with(*BEFORE, openai_client=stage.client)
    gate = Gate()
    stage.at(operation, 0, getattr(gate, moment))
    await way(session.pop_item, gate)
    assert gate.reached.is_set() or way is asyncio_wait_for
    assert [await session.pop_item() for _ in range(3)] == [*BEFORE[::-1], None]
    assert world.stored(session.session_id) == []


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_cancelled_clear_keeps_the_id_or_has_cleared(world, stage, moment):
    session = await world.session_with(*BEFORE, openai_client=stage.client)
    conversation_id, gate = session.session_id, Gate()
    stage.at("delete_conversation", 0, getattr(gate, moment))
    await task_cancel(session.clear_session, gate)
    assert (session.conversation_id is None) == (conversation_id not in world.conversations())
    await session.clear_session()
    assert world.conversations() == []


async def test_a_cancelled_creation_is_told_of(world, stage):
    orphans, gate = [], Gate()
    session = world.session(openai_client=stage.client, on_orphan=orphans.append)
    stage.at("create_conversation", 0, gate.after)
    await task_cancel(session.ensure_conversation, gate)
    assert len(orphans) == len(world.conversations()) == 1
    assert session.conversation_id is None


async def test_a_waiting_retry_is_given_up_at_once(world, stage):
    """The server asked for half a minute; nobody waits for it."""
    policy = RetryPolicy(settle_after=0.002)
    waits, waiting = [], asyncio.Event()

    def tell(event):
        waits.append(event.wait)
        waiting.set()

    session = await world.session_with(
        *BEFORE, openai_client=stage.client, retry_policy=policy, on_retry=tell
    )
    stage.at("create_items", 0, throttled(30))
    calling = asyncio.ensure_future(session.add_items(ITEMS))
    await waiting.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(calling, 5)
    assert waits == [30]
    assert world.stored(session.session_id) == texts(BEFORE)


@pytest.mark.exhaustive
async def test_a_server_that_stalls_has_ten_seconds_and_what_it_acknowledged_is_deleted_later(
    world, stage, caplog
):
    """The request without a reply stays: nobody has asked to settle it, and others may store equal items."""
    session = await world.session_with(*BEFORE, openai_client=stage.client)
    gate = Gate()
    stage.at("create_items", 2, gate.after)
    calling = asyncio.ensure_future(session.add_items(ITEMS))
    await gate.reached.wait()
    started = asyncio.get_running_loop().time()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert asyncio.get_running_loop().time() - started > 9.9
    assert world.stored(session.session_id) == [*texts(BEFORE), *texts(ITEMS)]
    (receipt,) = session.unsettled
    assert receipt["stored"] == world.stored_ids(session.session_id)[2:42]
    assert receipt["unknown"] == []
    assert "a write was cut; its outcome is unknown" in caplog.text
    assert texts(await session.get_items()) == [*texts(BEFORE), *texts(ITEMS)[40:]]
    assert session.unsettled == ()
