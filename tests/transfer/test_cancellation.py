"""Cancelled copies leave nothing behind, in whichever way they are cancelled."""

from __future__ import annotations

import asyncio

import pytest

from openai_sessions import OpenAIConversationsSession, RequestSettings, copy_session
from openai_sessions.transfer import TransferReport
from tests.faults.cancelling import WAYS, task_cancel
from tests.faults.stage import Gate
from tests.faults.world import texts
from tests.selection import one_in
from tests.wire import FAST

from .items import users

pytestmark = pytest.mark.usefixtures("quiet_loop")

PLACES = [
    ("create_conversation", 0, "before"),
    ("create_items", 0, "before"),
    ("create_items", 0, "after"),
    ("create_items", 6, "before"),
    ("create_items", 6, "after"),
    ("list_items", 0, "before"),
    ("list_items", 1, "after"),
]


def target_on(stage, **options):
    return OpenAIConversationsSession(
        openai_client=stage.client, requests=RequestSettings(retry_policy=FAST), **options
    )


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("place", one_in(6, PLACES), ids=lambda place: "-".join(map(str, place)))
async def test_cancelled_copy_leaves_nothing(world, stage, source, way, place):
    operation, number, moment = place
    target, gate = target_on(stage), Gate()
    stage.at(operation, number, getattr(gate, moment))
    await way(lambda: copy_session(source, target), gate)
    stage.forget()
    assert [] == [held for held in map(world.stored, world.conversations()) if held]
    assert TransferReport(copied=130) == await copy_session(source, target)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_cancelled_copy_keeps_earlier_items(world, stage, source, way):
    target, gate = target_on(stage), Gate()
    await target.add_items(users(3, "before"))
    stage.at("create_items", 5, gate.after)
    await way(lambda: copy_session(source, target, append=True), gate)
    assert texts(users(3, "before")) == world.stored(target.session_id)


async def test_copy_cancelled_again_during_the_undo_is_undone(world, stage, source):
    target, gate = target_on(stage), Gate()

    async def refuse(_):
        raise asyncio.CancelledError

    stage.at("create_items", 6, refuse)
    stage.at("delete_item", 30, gate.before)
    await task_cancel(lambda: copy_session(source, target), gate, times=3)
    assert [] == world.conversations()
