"""Requests whose answers were lost: what a look finds, and what it must not conclude."""

from __future__ import annotations

import asyncio

import pytest

from openai_sessions import ConversationNotFoundError, UnsettledWriteError

from .stage import after, answering, cut, cut_after_commit
from .world import FAILURES, texts, users

YES = {"role": "user", "content": "yes"}
NO = {"role": "user", "content": "no"}
BEFORE = users(3, name="before")
DELETIONS = ["delete_item"] * (len(BEFORE) + 1)


@pytest.fixture
async def session(world, stage):
    return await world.session_with(*BEFORE, openai_client=stage.client)


@pytest.fixture
def foreign(world, session):
    """Return a function that gives what another process does later."""

    def later(*items):
        return lambda: world.foreign_add(session.session_id, *items)

    return later


def kept(world, session):
    return world.stored(session.session_id)[len(BEFORE) :]


@pytest.mark.parametrize("how", [cut, cut_after_commit])
async def test_identical_content_of_two_session_objects_with_one_of_them_cut(world, stage, session, how):
    other = world.session(session.session_id, openai_client=stage.client)
    stage.at("create_items", 0, how)
    await asyncio.gather(session.add_items([YES]), other.add_items([YES]))
    assert kept(world, session) == ["yes", "yes"]
    assert world.count()["create_items"] == 2


async def test_a_commit_after_the_first_look_is_found_by_the_second(world, stage, session, foreign):
    stage.at("create_items", 0, cut)
    stage.at("list_items", 1, after(foreign(YES)))
    await session.add_items([YES])
    assert kept(world, session) == ["yes"]
    assert world.operations() == ["list_items", "create_items", "list_items"]


@pytest.mark.parametrize("moment", ["before the resend", "after it"])
async def test_a_commit_after_both_looks_stays(world, stage, session, foreign, moment):
    """It cannot be told from an equal item that another process was told is stored."""
    stage.at("create_items", 0, cut)
    if moment == "before the resend":
        stage.at("create_items", 1, after(foreign(YES)))
    await session.add_items([YES])
    if moment == "after it":
        await foreign(YES)()
    other = world.session(session.session_id, openai_client=stage.client)
    assert texts(await other.get_items()) == [*texts(BEFORE), "yes", "yes"]
    assert world.count()["delete_item"] == 0


@pytest.mark.parametrize(
    ("how", "outage"), [(cut, False), (cut, True), (cut_after_commit, True)], ids=["cut", "outage", "lost"]
)
@pytest.mark.parametrize("operation", ["get", "pop", "add", "clear", "replace", "turns", "close"])
async def test_what_another_worker_stored_after_a_failed_write_stays(  # noqa: PLR0917 -- fixtures
    world, stage, session, how, outage, operation
):
    """The user retried there, and was told that it is stored."""
    stage.at("create_items", None, how)
    if outage:
        stage.at("list_items", None, answering(403, None))
    with pytest.raises(FAILURES):
        await session.add_items([YES, NO])
    stage.forget()
    acknowledged = set(await world.foreign_add(session.session_id, YES, NO))
    before = world.stored_ids(session.session_id)
    world.emulator.forget_requests()
    await {
        "get": session.get_items,
        "pop": session.pop_item,
        "add": lambda: session.add_items([YES]),
        "clear": lambda: session.clear_session(keep_conversation=True),
        "replace": lambda: session._atomic_replace_items([YES]),
        "turns": lambda: session.get_items(turns=1),
        "close": session.aclose,
    }[operation]()
    gone = {"pop": 1, "clear": len(before), "replace": len(before)}.get(operation, 0)
    assert len(set(before) - set(world.stored_ids(session.session_id))) == gone
    assert world.count()["delete_item"] == gone
    assert gone or acknowledged.issubset(world.stored_ids(session.session_id))


@pytest.mark.parametrize(
    ("operation", "requests"),
    [
        (lambda session: session.get_items(), ["list_items"]),
        (lambda session: session.pop_item(), ["list_items", "delete_item"]),
        (lambda session: session.add_items([NO]), ["create_items"]),
        (lambda session: session._atomic_replace_items([NO]), ["list_items", "create_items", *DELETIONS]),
        (lambda session: session.aclose(), []),
    ],
)
async def test_an_operation_after_a_lost_request_searches_for_nothing(
    world, stage, session, operation, requests
):
    stage.at("create_items", 0, cut)
    await session.add_items([YES])
    world.emulator.forget_requests()
    await operation(session)
    assert world.operations() == requests


async def test_the_anchor_popped_by_a_foreign_client_leaves_an_older_one(world, stage, session):
    newest = world.stored_ids(session.session_id)[-1]
    stage.at("create_items", 0, cut_after_commit)
    stage.at("list_items", 0, after(lambda: world.foreign_delete(session.session_id, newest)))
    await session.add_items([YES])
    assert world.stored(session.session_id) == [*texts(BEFORE)[:-1], "yes"]
    assert world.count()["create_items"] == 1


async def test_all_known_ids_gone_is_told_and_nothing_deleted(world, stage, session):
    known = world.stored_ids(session.session_id)
    stage.at("create_items", 0, cut_after_commit)
    stage.at("list_items", 0, after(lambda: world.foreign_delete(session.session_id, *known)))
    with pytest.raises(UnsettledWriteError) as caught:
        await session.add_items([YES])
    assert caught.value.unknown == [YES]
    assert world.count()["create_items"] == 1
    assert world.count()["delete_item"] == len(known)  # the foreign ones
    assert texts(await session.get_items()) == ["yes"]
    assert world.stored(session.session_id) == ["yes"]


async def test_more_copies_than_sends_are_told_and_nothing_deleted(world, stage, session, foreign):
    stage.at("create_items", 0, cut_after_commit)
    stage.at("list_items", 0, after(foreign(YES)))
    with pytest.raises(UnsettledWriteError) as caught:
        await session.add_items([YES])
    assert caught.value.unknown == [YES]
    assert kept(world, session) == ["yes", "yes"]
    assert world.count()["delete_item"] == 0
    await session.get_items()
    assert kept(world, session) == ["yes", "yes"]


async def test_one_foreign_copy_at_the_same_moment_is_taken_for_the_own_one(world, stage, session, foreign):
    """Without a lock, identical items of another process cannot be told apart: docs/across-processes.md."""
    stage.at("create_items", 0, cut)
    stage.at("list_items", 0, after(foreign(YES)))
    await session.add_items([YES])
    assert kept(world, session) == ["yes"]
    assert world.count()["delete_item"] == 0


async def test_other_foreign_items_in_between_are_no_copies(world, stage, session, foreign):
    stage.at("create_items", 0, cut_after_commit)
    stage.at("list_items", 0, after(foreign(NO)))
    await session.add_items([YES])
    assert kept(world, session) == ["yes", "no"]
    assert world.count()["delete_item"] == 0


async def test_half_a_copy_is_none(world, stage, session, foreign):
    stage.at("create_items", 0, cut)
    stage.at("list_items", 0, after(foreign(YES)))
    await session.add_items([YES, NO])
    assert kept(world, session) == ["yes", "yes", "no"]
    assert world.count()["delete_item"] == 0


@pytest.mark.parametrize("code", ["duplicate_item", "conversation_locked", None])
async def test_a_resend_refused_because_the_first_request_was_applied_after_all(
    world, stage, session, foreign, code
):
    stage.at("create_items", 0, cut)
    stage.at("create_items", 1, answering(400, code, meanwhile=foreign(YES)))
    await session.add_items([YES])
    assert kept(world, session) == ["yes"]
    assert texts(await session.get_items()) == [*texts(BEFORE), "yes"]
    assert kept(world, session) == ["yes"]


async def test_an_id_that_is_a_duplicate_is_that_of_the_first_request(world, stage, session):
    """The emulator refuses an id that the conversation holds, as the API does."""
    call = {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["q"]}
    foreign = world.foreign.conversations.items
    stage.at("create_items", 0, cut)
    stage.at("create_items", 1, after(lambda: foreign.create(session.session_id, items=[call])))
    await session.add_items([call])
    assert 400 in [request.status for request in world.emulator.requests]
    assert world.stored_ids(session.session_id)[len(BEFORE) :] == ["fs_1"]


async def test_a_resend_refused_for_good_is_raised_and_leaves_nothing(world, stage, session):
    stage.at("create_items", 0, cut)
    stage.at("create_items", 1, answering(400, "duplicate_item"))
    with pytest.raises(Exception, match="no") as caught:
        await session.add_items([YES])
    assert caught.value.status_code == 400
    assert kept(world, session) == []
    assert session.unsettled == ()


@pytest.mark.parametrize("meanwhile", ["reply lost", "look fails once", "caller cancelled"])
async def test_a_conversation_deleted_before_the_look_is_not_found_and_leaves_nothing_to_settle(
    world, stage, session, meanwhile
):
    """Nothing can stand in it: there is nothing to be undone, now or later."""

    async def delete():
        await world.foreign.conversations.delete(session.session_id)
        if meanwhile == "caller cancelled":
            writing.cancel()

    stage.at("create_items", 0, cut_after_commit)
    look_fails = meanwhile == "look fails once"
    stage.at("list_items", 0, answering(403, None, delete) if look_fails else after(delete))
    writing = asyncio.ensure_future(session.add_items([YES]))
    cancelled = meanwhile == "caller cancelled"
    with pytest.raises(asyncio.CancelledError if cancelled else ConversationNotFoundError):
        await writing
    assert session.unsettled == ()


async def test_a_listing_that_is_not_found_although_the_conversation_is_there_leaves_a_receipt(
    world, stage, session
):
    """A 404 alone says nothing of what is stored."""
    stage.at("create_items", 0, cut_after_commit)
    for number in range(2):
        stage.at("list_items", number, answering(404, None))
    with pytest.raises(UnsettledWriteError) as caught:
        await session.add_items([YES])
    assert caught.value.unknown == [YES]
    assert kept(world, session) == ["yes"]
    await session.settle(caught.value.receipt)
    assert kept(world, session) == []
