"""Branches of a name."""

import logging

import openai
import pytest

from openai_sessions import ConversationNotCreatedError, Usage
from openai_sessions.directory import BranchEntry, NamedSession
from openai_sessions.directory._database import deletions, usage
from openai_sessions.emulator import Fault
from openai_sessions.errors import (
    CurrentBranchError,
    CutPointError,
    NameNotFoundError,
    NameTakenError,
    UnfinishedForkError,
)

from .stage import CREATE, held, hooked_client, in_tables, made, rows, user


def assistant(text):
    return {"role": "assistant", "content": text}


TURNS = [user("1"), assistant("one"), user("2"), assistant("two")]


@pytest.fixture
async def session(directory):
    session = await directory.session("user_1")
    await session.add_items(TURNS)
    return session


async def test_new_name_has_one_branch(directory, clock):
    await directory.session("user_1")
    expected = BranchEntry(branch="main", conversation_id=None, created_at=clock.now, is_current=True)
    assert (expected,) == await directory.branches("user_1")


async def test_fork_is_an_independent_branch(directory, session, clock, url):
    clock.advance(seconds=1)
    fork = await directory.fork("user_1", "retry", before_turn=2)
    assert ("user_1", "retry", NamedSession) == (fork.name, fork.branch, type(fork))
    await fork.add_items([user("3")])
    assert [*TURNS[:2], user("3")] == await fork.get_items()
    assert TURNS == await session.get_items()
    found = await directory.branches("user_1")
    assert [("main", session.session_id, True), ("retry", fork.session_id, False)] == [
        (each.branch, each.conversation_id, each.is_current) for each in found
    ]
    assert session.session_id == (await fork.parent()).conversation_id
    assert (1, 2, 0, 0) == await in_tables(url)


async def test_fork_after_an_item(directory, session):
    (first, _) = await session.turns()
    fork = await directory.fork("user_1", "retry", after_item=first.item_ids[0])
    assert TURNS[:1] == await fork.get_items()


async def test_switch_changes_the_current_branch(directory, other, session):
    fork = await directory.fork("user_1", "retry")
    await directory.switch("user_1", "retry")
    await fork.add_items([user("3")])
    assert [*TURNS, user("3")] == await (await other.session("user_1")).get_items()
    entry = await directory.get("user_1")
    assert ("retry", fork.session_id) == (entry.branch, entry.conversation_id)
    await session.add_items([user("4")])
    assert [*TURNS, user("4")] == await session.get_items()
    await directory.switch("user_1", "main")
    assert [*TURNS, user("4")] == await (await other.session("user_1")).get_items()


async def test_clearing_a_branch_keeps_the_others(directory, session):
    fork = await directory.fork("user_1", "retry")
    await fork.clear_session()
    await fork.add_items([user("new")])
    assert [user("new")] == await fork.get_items()
    assert TURNS == await session.get_items()
    assert [fork.session_id] == [
        each.conversation_id for each in await directory.branches("user_1") if each.branch == "retry"
    ]


async def test_forgetting_a_name_deletes_its_branches(directory, session, emulator, url):
    await directory.fork("user_1", "retry")
    await directory.forget("user_1", delete=True)
    assert (set(), (0, 0, 0, 0)) == (held(emulator), await in_tables(url))


async def test_expired_name_is_reset_to_one_branch(directory, clock, emulator, session, url):
    await directory.session("user_1", expires_in=60)
    fork = await directory.fork("user_1", "retry")
    await directory.switch("user_1", "retry")
    clock.advance(hours=1)
    await fork.add_items([user("new")])
    entry = await directory.get("user_1")
    assert ("main", fork.session_id) == (entry.branch, entry.conversation_id)
    assert ["main"] == [each.branch for each in await directory.branches("user_1")]
    assert 2 == (await directory.sweep()).deleted
    assert {fork.session_id} == held(emulator)


async def test_existing_branch_is_refused(directory, session, emulator):
    emulator.forget_requests()
    with pytest.raises(NameTakenError, match="branch 'main' of 'user_1'"):
        await directory.fork("user_1", "main")
    assert () == emulator.requests


async def test_branch_created_meanwhile_by_another_process_is_refused(
    open_directory, other, session, emulator, url
):
    """Nothing is left of the second fork."""
    made = []

    async def make(request):
        if not made and request.method == "POST":  # the creation
            made.append(None)
            made.append(await other.fork("user_1", "retry"))

    async with hooked_client(emulator, make) as client:
        with pytest.raises(NameTakenError, match="'retry'"):
            await open_directory(openai_client=client).fork("user_1", "retry")
    assert {session.session_id, made[1].session_id} == held(emulator)
    assert (1, 2, 0, 0) == await in_tables(url)


async def test_fork_of_a_missing_name_turn_or_conversation_is_refused(directory, session, url):
    with pytest.raises(NameNotFoundError, match="'user_2'"):
        await directory.fork("user_2", "retry")
    with pytest.raises(CutPointError):
        await directory.fork("user_1", "retry", before_turn=9)
    await directory.session("unused")
    with pytest.raises(ConversationNotCreatedError):
        await directory.fork("unused", "retry")
    with pytest.raises(NameNotFoundError, match="branch 'retry' of 'user_1'"):
        await directory.switch("user_1", "retry")
    assert (2, 1, 0, 0) == await in_tables(url)


async def test_failed_fork_leaves_nothing(directory, session, emulator, url):
    emulator.inject(Fault("quota"), operation="create_items")
    with pytest.raises(openai.RateLimitError):
        await directory.fork("user_1", "retry")
    assert {session.session_id} == held(emulator)
    assert (1, 1, 0, 0) == await in_tables(url)


async def test_failed_fork_that_cannot_be_deleted_is_swept(directory, session, emulator, url, caplog):
    emulator.inject(Fault("quota"), operation="create_items")
    emulator.inject(Fault("error_500_before"), operation="delete_conversation", times=6)
    with caplog.at_level(logging.CRITICAL, "openai_sessions"), pytest.raises(UnfinishedForkError) as caught:
        await directory.fork("user_1", "retry")
    assert [caught.value.conversation_id] == [row["conversation_id"] for row in await rows(url, deletions)]
    assert 1 == (await directory.sweep()).deleted
    assert {session.session_id} == held(emulator)


async def test_lost_creation_of_a_fork_is_reported(directory, session, emulator, url):
    emulator.inject(Fault("cut_after_commit"), operation="create_conversation")
    fork = await directory.fork("user_1", "retry")
    (lost,) = await directory.lost_creations()
    (orphan,) = [each for each in emulator.conversations() if not each.item_count]
    assert lost.creation_id == orphan.metadata["openai_sessions.creation"]
    assert TURNS == await fork.get_items()
    assert (1, 2, 0, 1) == await in_tables(url)


async def test_fork_without_a_branch_has_no_name(session, directory, url):
    fork = await session.fork(before_turn=2)
    assert not isinstance(fork, NamedSession)
    assert TURNS[:2] == await fork.get_items()
    assert (1, 1, 0, 0) == await in_tables(url)


async def test_fork_with_too_many_pairs_is_refused(session, emulator):
    emulator.forget_requests()
    with pytest.raises(ValueError, match="metadata has 14 pairs, and 13 fit"):
        await session.fork(metadata={f"{number}": "" for number in range(14)})
    assert not any(request.method == "POST" for request in emulator.requests)


async def test_branch_is_opened_without_switching(directory, other, session, clock, emulator):
    fork = await directory.fork("user_1", "retry", before_turn=2)
    emulator.forget_requests()
    clock.advance(seconds=5)
    opened = await other.session("user_1", "retry", metadata={"plan": "pro"}, history="incremental")
    assert () == emulator.requests
    assert ("retry", fork.session_id) == (opened.branch, opened.session_id)
    assert "incremental" == opened._options.history
    await opened.add_items([user("3")])
    assert [*TURNS[:2], user("3")] == await fork.get_items()
    entry = await directory.get("user_1")
    assert ("main", session.session_id) == (entry.branch, entry.conversation_id)
    assert ({"plan": "pro"}, clock.now) == (entry.metadata, entry.used_at)


async def test_missing_branch_is_not_opened(directory, session, url):
    with pytest.raises(NameNotFoundError, match="branch 'retry' of 'user_1'"):
        await directory.session("user_1", branch="retry", expires_in=60)
    with pytest.raises(NameNotFoundError, match="no name 'user_2'"):
        await directory.session("user_2", branch="main")
    with pytest.raises(ValueError, match="branch is empty"):
        await directory.session("user_1", branch="")
    assert (1, 1, 0, 0) == await in_tables(url)
    assert (await directory.get("user_1")).expires_at is None


async def test_branch_of_an_expired_name_is_not_opened(directory, session, clock, url):
    await directory.session("user_1", expires_in=60)
    await directory.fork("user_1", "retry")
    clock.advance(hours=1)
    with pytest.raises(NameNotFoundError, match="branch 'retry' of 'user_1'"):
        await directory.session("user_1", "retry")
    assert (1, 2, 0, 0) == await in_tables(url)
    assert [] == await (await directory.session("user_1", "main")).get_items()


async def test_forgetting_a_branch_keeps_its_conversation_and_the_others(directory, session, emulator, url):
    fork = await directory.fork("user_1", "retry")
    assert await directory.forget_branch("user_1", "retry")
    assert ["main"] == [each.branch for each in await directory.branches("user_1")]
    assert {session.session_id, fork.session_id} == held(emulator)
    assert (1, 1, 0, 0) == await in_tables(url)
    assert not await directory.forget_branch("user_1", "retry")
    assert not await directory.forget_branch("user_2", "main")


async def test_forgotten_branch_is_deleted_on_request(directory, session, emulator, url):
    fork = await directory.fork("user_1", "retry")
    await fork.set_session_usage(Usage(requests=1))
    assert await directory.forget_branch("user_1", "retry", delete=True)
    assert {session.session_id} == held(emulator)
    assert (1, 1, 0, 0) == await in_tables(url)
    assert [] == await rows(url, usage)


async def test_failed_deletion_of_a_branch_is_swept(directory, session, emulator, url):
    await directory.fork("user_1", "retry")
    emulator.inject(Fault("error_500_before"), operation="delete_conversation", times=6)
    with pytest.raises(openai.InternalServerError):
        await directory.forget_branch("user_1", "retry", delete=True)
    assert (1, 1, 1, 0) == await in_tables(url)
    assert 1 == (await directory.sweep()).deleted
    assert {session.session_id} == held(emulator)


async def test_forgetting_the_current_branch_is_refused(directory, session, emulator, url):
    await directory.fork("user_1", "retry")
    with pytest.raises(CurrentBranchError, match=r"`await directory.switch\('user_1', …\)`") as caught:
        await directory.forget_branch("user_1", "main", delete=True)
    assert ("user_1", "main") == (caught.value.name, caught.value.branch)
    assert (1, 2, 0, 0) == await in_tables(url)
    await directory.switch("user_1", "retry")
    assert await directory.forget_branch("user_1", "main", delete=True)
    assert session.session_id not in held(emulator)


async def test_open_session_of_a_forgotten_branch_continues(directory, other, session):
    fork = await other.fork("user_1", "retry", before_turn=2)
    await directory.forget_branch("user_1", "retry")
    await fork.add_items([user("3")])
    assert [*TURNS[:2], user("3")] == await fork.get_items()
    assert TURNS == await session.get_items()
    assert ["main"] == [each.branch for each in await directory.branches("user_1")]


async def test_open_session_of_a_deleted_branch_never_writes_to_another_one(
    directory, other, session, emulator, url
):
    """Its next write creates the branch again, as with a forgotten name."""
    fork = await other.fork("user_1", "retry")
    await directory.forget_branch("user_1", "retry", delete=True)
    assert [] == await fork.get_items()
    await fork.add_items([user("new")])
    assert [user("new")] == await fork.get_items()
    assert TURNS == await session.get_items()
    found = {each.branch: each.conversation_id for each in await directory.branches("user_1")}
    assert {"main": session.session_id, "retry": fork.session_id} == found
    assert {session.session_id, fork.session_id} == held(emulator)
    assert (1, 2, 0, 0) == await in_tables(url)


async def test_write_to_a_branch_with_a_pending_deletion_creates_it_again(directory, session, emulator):
    fork = await directory.fork("user_1", "retry")
    doomed = fork.session_id
    emulator.inject(Fault("error_500_before"), operation="delete_conversation", times=6)
    with pytest.raises(openai.InternalServerError):
        await directory.forget_branch("user_1", "retry", delete=True)
    await fork.add_items([user("new")])
    await directory.sweep()
    assert doomed not in held(emulator)
    assert [user("new")] == await (await directory.session("user_1", "retry")).get_items()


async def test_branch_forgotten_during_its_first_write_is_created_again(
    open_directory, other, session, emulator, url
):
    """The conversation created for it is not lost."""

    async def forget(request):
        if request.method == "POST" and request.url.path.endswith("/conversations"):
            assert await other.forget_branch("user_1", "retry")

    fork = await other.fork("user_1", "retry")
    await fork.clear_session()
    emulator.forget_requests()
    async with hooked_client(emulator, forget) as client:
        late = await open_directory(openai_client=client).session("user_1", "retry")
        await late.add_items([user("new")])
    assert 1 == made(emulator).count(CREATE)
    assert late.session_id == (await other.session("user_1", "retry")).session_id
    assert {session.session_id, late.session_id} == held(emulator)
    assert (1, 2, 0, 0) == await in_tables(url)
