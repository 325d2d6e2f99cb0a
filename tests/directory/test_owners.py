"""Owners of names."""

import asyncio

import pytest
from sqlalchemy import update

from openai_sessions.directory._database import creations, deletions, names
from openai_sessions.emulator import Fault
from openai_sessions.errors import NameNotFoundError, NameTakenError, UserMismatchError

from .stage import CREATE, Gate, held, hooked_client, in_tables, made, rows, user


async def owned(directory, name="chat_1", owner="alice", **options):
    session = await directory.session(name, user=owner, **options)
    await session.add_items([user("Hello")])
    return session


async def owner_of(directory, name="chat_1"):
    return (await directory.get(name)).user


async def owners_in(url, table):
    return [row["user_id"] for row in await rows(url, table)]


async def test_new_name_gets_its_owner_and_keeps_it(directory, other):
    session = await owned(directory)
    assert "alice" == session.user
    assert [user("Hello")] == await (await other.session("chat_1", user="alice")).get_items()
    assert [user("Hello")] == await (await other.session("chat_1")).get_items()
    assert "alice" == await owner_of(other)
    assert None is await owner_of(directory, (await directory.session("chat_2")).name)


@pytest.mark.parametrize("owner", ["alice", None])
async def test_name_of_another_user_is_refused_and_not_changed(directory, other, owner, emulator):
    await owned(directory, owner=owner, expires_in=60)
    before = await directory.get("chat_1")
    emulator.forget_requests()
    for options in ({}, {"branch": "main"}, {"title": "Mine", "metadata": {"a": "b"}, "expires_in": 1}):
        with pytest.raises(UserMismatchError, match=r"'chat_1' does not .*set_user\('chat_1', …\)") as caught:
            await other.session("chat_1", user="bob", **options)
        assert "alice" not in str(caught.value)
        assert "chat_1" == caught.value.name
    with pytest.raises(UserMismatchError):
        await other.register("chat_1", "conv_1", user="bob", title="Mine")
    assert before == await directory.get("chat_1")
    assert () == emulator.requests


async def test_of_users_who_create_a_name_at_once_one_gets_it(directory, other):
    owners = ["alice", "bob"] * 4
    results = await asyncio.gather(
        *(
            each.session("chat_1", user=owner)
            for each, owner in zip([directory, other] * 4, owners, strict=True)
        ),
        return_exceptions=True,
    )
    winner = await owner_of(directory)
    assert [owner == winner for owner in owners] == [not isinstance(each, Exception) for each in results]
    assert {UserMismatchError} == {type(each) for each in results if isinstance(each, Exception)}


async def test_register_gives_the_owner(directory, client):
    conversation = await client.conversations.create()
    await directory.register("chat_1", conversation.id, user="alice", title="Old")
    entry = await directory.get("chat_1", user="alice")
    assert (conversation.id, "alice", "Old") == (entry.conversation_id, entry.user, entry.title)


async def test_name_of_another_user_counts_as_missing(directory, emulator):
    session = await owned(directory, title="Mine")
    assert None is await directory.get("chat_1", user="bob")
    assert await directory.forget("chat_1", user="bob", delete=True) is False
    with pytest.raises(NameNotFoundError):
        await directory.set_title("chat_1", "Yours", user="bob")
    assert {session.session_id} == held(emulator)
    assert "Mine" == (await directory.get("chat_1", user="alice")).title
    assert await directory.forget("chat_1", user="alice", delete=True) is True
    assert set() == held(emulator)


async def test_owner_is_changed(directory):
    session = await owned(directory)
    await directory.set_user("chat_1", "bob")
    await session.add_items([user("more")])
    assert ("bob", "bob") == (session.user, await owner_of(directory))
    with pytest.raises(UserMismatchError):
        await directory.session("chat_1", user="alice")
    await directory.set_user("chat_1", None)
    assert None is await owner_of(directory)
    with pytest.raises(NameNotFoundError):
        await directory.set_user("chat_2", "bob")


async def test_expired_name_loses_owner_and_title(directory, clock):
    await owned(directory, title="Mine", expires_in=60)
    clock.advance(seconds=60)
    await directory.session("chat_1")
    entry = await directory.get("chat_1")
    assert (None, None) == (entry.user, entry.title)
    assert () == (await directory.conversations(search="mine")).entries


async def test_expired_name_is_free_for_another_user(directory, clock, url):
    await owned(directory, expires_in=60)
    clock.advance(seconds=60)
    session = await directory.session("chat_1", user="bob")
    assert [] == await session.get_items()
    assert "bob" == await owner_of(directory)
    assert ["alice"] == await owners_in(url, deletions)


async def test_open_session_of_an_expired_name_keeps_its_owner(directory, clock):
    session = await owned(directory, expires_in=60)
    clock.advance(minutes=2)
    await session.add_items([user("new")])
    assert "alice" == await owner_of(directory)


@pytest.mark.parametrize("way", ["expired", "forgotten"])
async def test_open_session_never_continues_in_a_name_of_another_user(directory, other, clock, way):
    """Neither does it read there, nor write, nor fork into it."""
    session = await owned(directory, expires_in=60)
    if way == "expired":
        clock.advance(minutes=2)
    else:
        await other.forget("chat_1", delete=True)
    theirs = await owned(other, owner="bob")
    for operation in (session.get_items, session.pop_item, lambda: session.add_items([user("mine")])):
        with pytest.raises(UserMismatchError):
            await operation()
    assert [user("Hello")] == await theirs.get_items()
    assert "bob" == await owner_of(directory)


async def test_forgotten_name_is_created_again_for_its_user(directory, other):
    session = await owned(directory)
    await other.forget("chat_1", delete=True)
    await session.add_items([user("new")])
    assert "alice" == await owner_of(directory)


@pytest.fixture
async def taking(emulator, clock, other, open_directory):
    """A directory at whose creations of conversations the name expires, and another user takes it."""

    async def take(request):
        if request.method == "POST" and request.url.path.endswith("/conversations"):
            clock.advance(minutes=2)
            await other.session("chat_1", user="bob")

    async with hooked_client(emulator, take) as client:
        yield open_directory(openai_client=client)


async def test_open_session_of_nobody_never_continues_in_a_name_of_a_user(directory, other):
    session = await directory.session("chat_1")
    await other.forget("chat_1")
    await owned(other)
    with pytest.raises(UserMismatchError):
        await session.add_items([user("mine")])
    assert [user("Hello")] == await (await other.session("chat_1")).get_items()


async def test_branch_is_not_added_to_a_name_of_another_user(directory, taking, emulator):
    session = await owned(directory, expires_in=60)
    with pytest.raises(NameTakenError):
        await taking.fork("chat_1", "copy")
    assert ["main"] == [each.branch for each in await directory.branches("chat_1")]
    assert held(emulator) == {session.session_id}


async def test_conversation_created_for_a_name_that_is_taken_meanwhile_is_deleted(taking, emulator, url):
    session = await taking.session("chat_1", user="alice", expires_in=60)
    with pytest.raises(UserMismatchError):
        await session.add_items([user("Hello")])
    assert (set(), None) == (held(emulator), session.conversation_id)
    assert (1, 0, 0, 0) == await in_tables(url)


@pytest.mark.parametrize("way", ["expired", "reset", "cleared", "forgotten", "branch"])
async def test_pending_deletions_have_the_owner(directory, clock, emulator, url, way):
    """Of the time at which the conversation was taken from its name."""
    session = await owned(directory, owner="carol", expires_in=60)
    await directory.set_user("chat_1", "alice")
    emulator.inject(Fault("error_500_before"), operation="delete_conversation", times=1000)
    if way in {"expired", "reset"}:
        clock.advance(minutes=2)
        await (directory.sweep() if way == "expired" else directory.session("chat_1"))
    elif way == "branch":
        await directory.fork("chat_1", "copy")
        with pytest.raises(Exception, match="500"):
            await directory.forget_branch("chat_1", "copy", delete=True)
    else:
        with pytest.raises(Exception, match="500"):
            await (session.clear_session() if way == "cleared" else directory.forget("chat_1", delete=True))
    assert ["alice"] == await owners_in(url, deletions)


async def test_conversation_that_lost_a_race_has_the_owner(open_directory, emulator, url):
    gate = Gate(emulator)
    async with gate.client() as client:
        racing = [open_directory(openai_client=client) for _ in range(2)]
        emulator.inject(Fault("error_500_before"), operation="delete_conversation", times=1000)
        sessions = [await each.session("chat_1", user="alice") for each in racing]
        await asyncio.gather(*(session.add_items([user("Hello")]) for session in sessions))
    assert ["alice"] == await owners_in(url, deletions)
    assert 2 == made(emulator).count(CREATE)


async def test_lost_creation_has_the_owner(directory, emulator, url):
    emulator.inject(Fault("cut_after_commit"), operation="create_conversation")
    await owned(directory)
    (lost,) = await directory.lost_creations()
    assert "alice" == lost.user
    assert ["alice"] == await owners_in(url, creations)


async def test_owner_in_the_database_decides(directory, url):
    """Names of earlier releases have none."""
    await owned(directory, owner=None)
    await directory._database.write(
        lambda connection: connection.execute(update(names).values(user_id="alice"))
    )
    assert "alice" == (await directory.session("chat_1", user="alice")).user
