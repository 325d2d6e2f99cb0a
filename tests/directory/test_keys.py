"""A key for each user in the database, encrypted with a master key."""

import asyncio
import copy
import itertools
import pickle
from pathlib import Path

import pytest
from sqlalchemy import event, update
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from openai_sessions import EncryptedSession, OpenAIConversationsSession
from openai_sessions.directory import SessionDirectory
from openai_sessions.directory._database import keys
from openai_sessions.encryption import SkippedItems
from openai_sessions.errors import MasterKeyError

from .stage import rows, user

MASTER = "PYoP8Q2wWW0nFM3mRJjB5Cvs4ZrQd0SnVn4rDnBfGiA="
NEW_MASTER = "6Lr5mGgyGkCq2bqf3NjWcQv1oT8yUxEoJ0zAhK4sXdI="


async def change(url, statement):
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(statement)
    await engine.dispose()


async def stored_keys(url):
    return {(row["tenant"], row["user_id"]): row["encrypted_key"] for row in await rows(url, keys)}


async def test_each_user_of_each_tenant_has_a_key(open_directory, url):
    stores = [open_directory(tenant=tenant).key_store(MASTER) for tenant in ("", "acme")]
    made = [await store.get_keys(name, create=True) for store in stores for name in ("alice", "bob")]
    assert [len(key) for (key,) in made] == [32] * 4
    assert len({key for (key,) in made}) == 4
    again = [await store.get_keys(name, create=False) for store in stores for name in ("alice", "bob")]
    assert again == made
    shown = str(await rows(url, keys))
    assert shown.count("encrypted_key") == 4
    assert not any(repr(key) in shown for (key,) in made)


async def test_a_user_without_a_key_gets_none_by_reading(directory, url):
    assert await directory.key_store(MASTER).get_keys("alice", create=False) == []
    assert await stored_keys(url) == {}


async def test_processes_that_create_a_key_at_once_get_the_same(open_directory, url):
    stores = [open_directory().key_store(MASTER) for _ in range(6)]
    made = await asyncio.gather(*(store.get_keys("alice", create=True) for store in stores))
    assert len({key for (key,) in made}) == 1
    assert len(await stored_keys(url)) == 1


async def test_a_key_destroyed_while_others_create_it_leaves_one_or_none(open_directory, url):
    stores = [open_directory().key_store(MASTER) for _ in range(4)]
    for _ in range(5):
        creating = [store.get_keys("alice", create=True) for store in stores[1:]]
        made = await asyncio.gather(*creating, stores[0].destroy_keys("alice"))
        left = await stores[0].get_keys("alice", create=False)
        assert [] == left or left in made


async def test_a_wrong_master_key_is_an_error_and_changes_nothing(directory, other, url):
    key = await directory.key_store(MASTER).get_keys("alice", create=True)
    before = await stored_keys(url)
    wrong = other.key_store(NEW_MASTER)
    for create in (False, True):
        with pytest.raises(MasterKeyError, match=r"user 'alice' .* key_store\(\[new, old\]\)") as raised:
            await wrong.get_keys("alice", create=create)
        assert raised.value.users == ("alice",)
        assert MASTER not in str(raised.value)
        assert NEW_MASTER not in str(raised.value)
    assert await stored_keys(url) == before
    assert await other.key_store([NEW_MASTER, MASTER]).get_keys("alice", create=True) == key


async def test_a_row_copied_to_another_user_or_tenant_opens_nothing(open_directory, url):
    store, acme = (open_directory(tenant=tenant).key_store(MASTER) for tenant in ("", "acme"))
    for each in (store, acme):
        await each.get_keys("alice", create=True)
        await each.get_keys("bob", create=True)
    stored = await stored_keys(url)
    await change(url, update(keys).where(keys.c.user_id == "bob").values(encrypted_key=stored["", "alice"]))
    for each in (store, acme):
        with pytest.raises(MasterKeyError, match="'bob'"):
            await each.get_keys("bob", create=False)
    swapped = update(keys).where(keys.c.tenant == "acme").values(encrypted_key=stored["", "alice"])
    await change(url, swapped)
    with pytest.raises(MasterKeyError, match="'alice'"):
        await acme.get_keys("alice", create=False)


async def test_the_master_key_is_changed(directory, other, url, monkeypatch):
    monkeypatch.setattr("openai_sessions.directory._keys._PAGE", 2)
    old, both, new = (directory.key_store(key) for key in (MASTER, [NEW_MASTER, MASTER], NEW_MASTER))
    made = {name: await old.get_keys(name, create=True) for name in ("alice", "bob", "carol")}
    made["dora"] = await both.get_keys("dora", create=True)
    assert sorted(await asyncio.gather(both.rewrap(), other.key_store([NEW_MASTER, MASTER]).rewrap()))[1] <= 3
    assert {name: await new.get_keys(name, create=False) for name in made} == made
    assert await both.rewrap() == 0
    with pytest.raises(MasterKeyError, match="'alice'"):
        await old.get_keys("alice", create=False)
    with pytest.raises(MasterKeyError, match="user 'alice' and of 3 more") as raised:
        await old.rewrap()
    assert raised.value.users == ("alice", "bob", "carol", "dora")


async def test_rewrap_counts_what_it_changes_and_passes_over_damaged_rows(directory, url):
    store = directory.key_store([NEW_MASTER, MASTER])
    for name in ("alice", "bob"):
        await directory.key_store(MASTER).get_keys(name, create=True)
    await change(url, update(keys).where(keys.c.user_id == "alice").values(encrypted_key="damaged"))
    with pytest.raises(MasterKeyError) as raised:
        await store.rewrap()
    assert raised.value.users == ("alice",)
    assert await store.destroy_keys("alice")
    assert await store.rewrap() == 0
    assert len(await directory.key_store(NEW_MASTER).get_keys("bob", create=False)) == 1
    await directory.key_store(MASTER).get_keys("carol", create=True)
    assert await store.rewrap() == 1


async def test_a_key_destroyed_during_rewrap_stays_destroyed(directory, other, url):
    store = directory.key_store([NEW_MASTER, MASTER])
    await directory.key_store(MASTER).get_keys("alice", create=True)
    page = await store._page("")
    assert await other.key_store(MASTER).destroy_keys("alice")
    assert [await store._rewrap(*row) for row in page] == [False]
    assert await stored_keys(url) == {}
    renewed = await other.key_store(MASTER).get_keys("alice", create=True)
    assert [await store._rewrap(*row) for row in page] == [False]
    assert await store.get_keys("alice", create=False) == renewed


async def test_destroying_tells_whether_there_was_a_key(directory, open_directory, url):
    store = directory.key_store(MASTER)
    first = await store.get_keys("alice", create=True)
    acme = await open_directory(tenant="acme").key_store(MASTER).get_keys("alice", create=True)
    assert await store.destroy_keys("alice") is True
    assert await store.destroy_keys("alice") is False
    assert await store.get_keys("alice", create=False) == []
    assert await store.get_keys("alice", create=True) != first
    assert await open_directory(tenant="acme").key_store(MASTER).get_keys("alice", create=False) == acme


async def test_a_file_does_not_keep_a_destroyed_key(sqlite_url):
    engine = create_async_engine(sqlite_url)

    @event.listens_for(engine.sync_engine, "connect")
    def leave_deleted_rows(connection, _):
        connection.execute("PRAGMA secure_delete = OFF")  # the default of SQLite, not of every Linux

    store = SessionDirectory(engine=engine).key_store(MASTER)
    await store.get_keys("alice", create=True)
    (token,) = (await stored_keys(sqlite_url)).values()
    folder = Path(make_url(sqlite_url).database).parent
    await store.destroy_keys("alice")
    await engine.dispose()
    files = [path.read_bytes() for path in folder.iterdir()]
    assert files
    assert not any(token.encode() in content for content in files)


async def test_an_erased_user_cannot_be_read_by_anybody(directory, other, client, emulator):
    """OpenAI keeps the items of a conversation that was deleted, and here they are not deleted before."""
    store, elsewhere = directory.key_store(MASTER), other.key_store(MASTER)
    hosted = await directory.session("chat", user="alice")
    session = EncryptedSession("chat", hosted, store, user="alice")
    await session.add_items([user("My number is 0451-7788."), user("Call me.")])
    await EncryptedSession("chat", hosted, store, user="bob").add_items([user("bob")])
    conversation_id = hosted.session_id
    assert 2 == len(await session.get_items())

    report = await other.erase("alice", items=False)
    assert (report.conversations.deleted, report.keys.deleted) == ((conversation_id,), ("alice",))
    kept = emulator.items(conversation_id)
    assert len(kept) == 3

    await session.add_items([user("new")])
    copied = OpenAIConversationsSession(openai_client=client)
    await copied.add_items([{"role": item["role"], "content": item["content"]} for item in kept])
    for name, key_store in itertools.product(("alice", "bob", "carol"), (store, elsewhere)):
        reader = EncryptedSession("chat", copied, key_store, user=name, ttl=None)
        assert await reader.get_items() == ([user("bob")] if name == "bob" else [])
        assert reader.skipped.undecryptable == (2 if name == "bob" else 3)
    session = EncryptedSession("chat", await directory.session("chat"), store, user="alice")
    assert await session.get_items() == [user("new")]


async def test_a_session_open_before_the_key_was_destroyed_reads_nothing(directory, other):
    session = EncryptedSession(
        "chat", await directory.session("chat"), directory.key_store(MASTER), user="alice"
    )
    await session.add_items([user("My number is 0451-7788.")])
    assert await session.get_items() == [user("My number is 0451-7788.")]
    await other.key_store(MASTER).destroy_keys("alice")
    assert await session.get_items() == []
    await session.add_items([user("new")])
    assert (await session.get_items(), session.skipped) == ([user("new")], SkippedItems(undecryptable=1))


async def test_a_store_is_not_shown_and_not_copied(directory):
    store = directory.key_store(MASTER)
    assert repr(store) == "<DirectoryKeyStore tenant=''>"
    for make_copy in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="would expose its master key"):
            make_copy(store)


@pytest.mark.parametrize("user_id", ["", "a" * 256, "nul\0", "\ud800"])
async def test_a_user_that_is_no_name_is_refused(directory, user_id):
    store = directory.key_store(MASTER)
    for call in (store.get_keys(user_id, create=True), store.destroy_keys(user_id)):
        with pytest.raises(ValueError, match="the user"):
            await call


def test_a_weak_master_key_is_refused(open_on, sqlite_url):
    for key in ("", "hunter2", []):
        with pytest.raises(ValueError, match="master_key is"):
            open_on(sqlite_url).key_store(key)
    with pytest.raises(TypeError, match="master_key must be a string"):
        open_on(sqlite_url).key_store(None)
