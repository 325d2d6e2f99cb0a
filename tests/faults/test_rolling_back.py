"""What a write that fails deletes, and what clearing deletes, on the wire."""

from __future__ import annotations

import asyncio

import openai
import pytest

from .stage import answering
from .world import ALWAYS, FAILURES, Spot, texts, users

ITEMS = users(45)
BEFORE = users(2, name="before")


class Deletions:
    """Record the deletions as they begin, and how many are under way at once."""

    def __init__(self, stage):
        self.most, self._under_way = 0, 0
        stage.at("delete_item", None, self._action)

    async def _action(self, forward):
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        for _ in range(20):
            await asyncio.sleep(0)
        answer = await forward()
        self._under_way -= 1
        return answer


def deleted_ids(world):
    return [request.path.rsplit("/")[-1] for request in world.emulator.requests if request.method == "DELETE"]


async def test_a_rollback_deletes_the_newest_first_eight_at_a_time(world, stage):
    session = await world.session_with(*BEFORE, openai_client=stage.client)
    deletions = Deletions(stage)
    stored = []

    async def note():
        stored.extend(world.stored_ids(session.session_id)[2:])

    stage.at("create_items", 2, answering(403, None, meanwhile=note))
    with pytest.raises(openai.PermissionDeniedError):
        await session.add_items(ITEMS)
    assert len(stored) == 40
    assert deleted_ids(world) == stored[::-1]
    assert deletions.most == 8
    assert world.stored(session.session_id) == texts(BEFORE)


async def test_clearing_with_purge_deletes_eight_at_a_time_and_tells_of_each(world, stage):
    session = await world.session_with(*ITEMS, openai_client=stage.client)
    conversation_id, deletions, progress = session.session_id, Deletions(stage), []
    await session.clear_session(purge_items=True, on_progress=lambda *done: progress.append(done))
    assert progress == [(done, 45) for done in range(1, 46)]
    assert deletions.most == 8
    assert world.stored(conversation_id) == []
    assert session.conversation_id is None
    assert world.operations() == ["list_items", *["delete_item"] * 45, "list_items", "delete_conversation"]


async def test_clearing_can_keep_the_conversation(world):
    session = await world.session_with(*ITEMS)
    conversation_id = session.session_id
    await session.clear_session(keep_conversation=True)
    assert world.conversations() == [session.session_id] == [conversation_id]
    assert world.stored(conversation_id) == []
    await session.add_items(BEFORE)
    assert texts(await session.get_items()) == texts(BEFORE)


@pytest.mark.parametrize("options", [{}, {"purge_items": True}], ids=str)
async def test_clearing_what_is_gone_is_done(world, options):
    session = await world.session_with(*BEFORE)
    await world.foreign.conversations.delete(session.session_id)
    await session.clear_session(**options)
    assert session.conversation_id is None


async def test_a_clear_that_fails_keeps_the_id_and_the_history(world):
    session = await world.session_with(*BEFORE)
    conversation_id = session.session_id
    world.inject(Spot("cut_before", "delete_conversation", times=ALWAYS))
    with pytest.raises(openai.APIConnectionError):
        await session.clear_session()
    await world.calm()
    assert session.session_id == conversation_id
    assert texts(await session.get_items()) == texts(BEFORE)


async def test_a_late_deletion_of_a_conversation_does_not_reach_the_next_one(world):
    session = await world.session_with(*BEFORE)
    world.inject(Spot("late_commit", "delete_conversation"))
    await session.clear_session()
    await session.add_items(ITEMS)
    await world.calm()
    assert world.conversations() == [session.session_id]
    assert texts(await session.get_items()) == texts(ITEMS)


async def test_a_purge_that_fails_keeps_the_conversation(world):
    session = await world.session_with(*BEFORE)
    world.inject(Spot("quota", "delete_item"))
    with pytest.raises(FAILURES):
        await session.clear_session(purge_items=True)
    assert world.conversations() == [session.session_id]
