"""Branches that are opened without switching, and branches that are forgotten."""

import openai
import pytest

from openai_sessions import Usage
from openai_sessions.directory._database import usage
from openai_sessions.emulator import Fault
from openai_sessions.errors import CurrentBranchError, NameNotFoundError

from .stage import CREATE, held, hooked_client, in_tables, made, rows, user

TURNS = [
    user("1"),
    {"role": "assistant", "content": "one"},
    user("2"),
    {"role": "assistant", "content": "two"},
]


@pytest.fixture
async def session(directory):
    session = await directory.session("user_1")
    await session.add_items(TURNS)
    return session


async def test_branch_is_opened_without_switching(directory, other, session, clock, emulator):
    fork = await directory.fork("user_1", "retry", before_turn=2)
    emulator.forget_requests()
    clock.advance(seconds=5)
    opened = await other.session("user_1", "retry", metadata={"plan": "pro"}, history="incremental")
    assert () == emulator.requests
    assert ("retry", fork.session_id) == (opened.branch, opened.session_id)
    assert "incremental" == opened._options["history"]
    await opened.add_items([user("3")])
    assert [*TURNS[:2], user("3")] == await fork.get_items()
    entry = await directory.get("user_1")
    assert ("main", session.session_id) == (entry.branch, entry.conversation_id)
    assert ({"plan": "pro"}, clock.now) == (entry.metadata, entry.used_at)


async def test_branch_that_is_not_there_is_not_opened(directory, session, url):
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


async def test_forgotten_branch_leaves_its_conversation_and_the_others(directory, session, emulator, url):
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


async def test_deletion_of_a_branch_that_fails_is_swept(directory, session, emulator, url):
    await directory.fork("user_1", "retry")
    emulator.inject(Fault("error_500_before"), operation="delete_conversation", times=6)
    with pytest.raises(openai.InternalServerError):
        await directory.forget_branch("user_1", "retry", delete=True)
    assert (1, 1, 1, 0) == await in_tables(url)
    assert 1 == (await directory.sweep()).deleted
    assert {session.session_id} == held(emulator)


async def test_current_branch_is_not_forgotten(directory, session, emulator, url):
    await directory.fork("user_1", "retry")
    with pytest.raises(CurrentBranchError, match=r"`await directory.switch\('user_1', …\)`") as caught:
        await directory.forget_branch("user_1", "main", delete=True)
    assert ("user_1", "main") == (caught.value.name, caught.value.branch)
    assert (1, 2, 0, 0) == await in_tables(url)
    await directory.switch("user_1", "retry")
    assert await directory.forget_branch("user_1", "main", delete=True)
    assert session.session_id not in held(emulator)


async def test_open_session_of_a_forgotten_branch_goes_on(directory, other, session):
    fork = await other.fork("user_1", "retry", before_turn=2)
    await directory.forget_branch("user_1", "retry")
    await fork.add_items([user("3")])
    assert [*TURNS[:2], user("3")] == await fork.get_items()
    assert TURNS == await session.get_items()
    assert ["main"] == [each.branch for each in await directory.branches("user_1")]


async def test_open_session_of_a_deleted_branch_never_writes_to_another_one(
    directory, other, session, emulator, url
):
    """Its next write makes the branch again, as that of a forgotten name makes the name again."""
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


async def test_write_to_a_branch_that_waits_to_be_deleted_begins_it_again(directory, session, emulator):
    fork = await directory.fork("user_1", "retry")
    doomed = fork.session_id
    emulator.inject(Fault("error_500_before"), operation="delete_conversation", times=6)
    with pytest.raises(openai.InternalServerError):
        await directory.forget_branch("user_1", "retry", delete=True)
    await fork.add_items([user("new")])
    await directory.sweep()
    assert doomed not in held(emulator)
    assert [user("new")] == await (await directory.session("user_1", "retry")).get_items()


async def test_branch_that_is_forgotten_while_it_begins_is_made_again(
    open_directory, other, session, emulator, url
):
    """What was created for it is not lost."""

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
