"""What is left when undoing is cut in the middle, and what is known once earlier items are deleted."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from openai_sessions import UnsettledWriteError

from .cancelling import task_cancel
from .stage import Gate, answering, cut, cut_after_commit
from .world import FAILURES, Spot, texts, users

YES = {"role": "user", "content": "yes"}
NO = {"role": "user", "content": "no"}
BEFORE = users(3, name="before")
REFUSED = answering(403, None)


@pytest.fixture
async def session(world, stage):
    return await world.session_with(*BEFORE, openai_client=stage.client)


@pytest.fixture
async def resumed(world, stage):
    """Return a session on a conversation that this process has never seen."""
    conversation = await world.foreign.conversations.create(items=[YES, NO])
    return world.session(conversation.id, openai_client=stage.client)


async def test_a_write_after_a_pop_of_all_that_was_known_takes_no_older_item_for_its_own(
    world, stage, resumed
):
    await resumed.pop_item()
    world.emulator.forget_requests()
    stage.at("create_items", 0, cut)
    await resumed.add_items([YES])
    assert world.stored(resumed.session_id) == ["yes", "yes"]
    assert world.operations() == ["list_items", *["list_items"] * 2, "create_items"]


@pytest.mark.parametrize("number", [0, 1, None])
async def test_when_a_second_copy_cannot_be_deleted_the_first_is_undone_too(world, stage, session, number):
    stage.at("create_items", 0, cut)
    stage.at("create_items", 1, applying_both(world, session))
    stage.at("delete_item", number, REFUSED)
    with pytest.raises(FAILURES) as caught:
        await session.add_items([YES, NO])
    stage.forget()
    if isinstance(caught.value, UnsettledWriteError):
        await session.settle(caught.value.receipt)
    assert texts(await session.get_items()) == texts(BEFORE) == world.stored(session.session_id)
    assert session.unsettled == ()


def applying_both(world, session):
    """Return an action that applies the first request late, and loses the answer to the second."""

    async def action(forward):
        await world.foreign_add(session.session_id, YES, NO)
        return await cut_after_commit(forward)

    return action


async def test_a_settling_that_was_cut_in_the_middle_goes_on_by_ids(world, stage, session):
    stage.at("create_items", 0, cut_after_commit)
    stage.at("list_items", None, answering(403, None))
    with pytest.raises(UnsettledWriteError) as caught:
        await session.add_items([YES, NO])
    stage.forget()
    stage.at("delete_item", 1, REFUSED)
    with pytest.raises(UnsettledWriteError) as again:
        await session.settle(caught.value.receipt)
    assert (1, again.value.stored_ids) == (
        len(world.stored(session.session_id)) - len(BEFORE),
        tuple(world.stored_ids(session.session_id)[len(BEFORE) :]),
    )
    assert session.unsettled == ()  # known by their content only: no operation deletes them by itself
    settlement = await session.settle(again.value.receipt)
    assert settlement.deleted == again.value.stored_ids
    assert world.stored(session.session_id) == texts(BEFORE)
    assert session.unsettled == ()


@pytest.mark.parametrize("hidden", ["empty_page", "stale_page"])
async def test_a_purge_lists_again_what_a_page_has_hidden(world, session, hidden):
    conversation_id = session.session_id
    world.inject(Spot(hidden, "list_items"))
    await session.clear_session(purge_items=True)
    assert world.stored(conversation_id) == []


class OneAtATime:
    """A server that refuses a deletion while another is under way."""

    def __init__(self, stage):
        self._is_busy = False
        stage.at("delete_item", None, self._delete)

    async def _delete(self, forward):
        if self._is_busy:
            return await answering(400, "conversation_locked")(forward)
        self._is_busy = True
        try:
            await asyncio.sleep(0.001)
            return await forward()
        finally:
            self._is_busy = False


async def test_deletions_that_lock_each_other_out_go_on_one_by_one(world, stage, session):
    OneAtATime(stage)
    await session.add_items(users(20))
    await session.clear_session(keep_conversation=True)
    assert await session.get_items() == []
    assert world.count()["delete_item"] == len(BEFORE) + 20


@asynccontextmanager
async def free_lock(_):
    yield


async def test_a_cancelled_write_too_gives_a_request_time_before_the_second_look(world, stage):
    """After the call, what is applied late can no longer be told from what others write."""
    session = await world.session_with(*BEFORE, openai_client=stage.client, lock=free_lock)
    gate = Gate()
    stage.at("create_items", 0, cut)
    stage.at("list_items", 1, gate.after)

    async def apply_meanwhile(_):
        await world.foreign_add(session.session_id, YES)

    client = session._clients._client
    client.retries = replace(client.retries, sleep=apply_meanwhile)
    await task_cancel(lambda: session.add_items([YES]), gate)
    assert world.stored(session.session_id) == texts(BEFORE)
    assert session.unsettled == ()
