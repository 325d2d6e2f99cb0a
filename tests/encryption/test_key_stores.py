"""Sessions whose keys are in a store, which is asked at each operation."""

import asyncio
import gc
import logging
import secrets
import weakref

import pytest

from openai_sessions import Compaction, OpenAIConversationsSession
from openai_sessions.encryption import EncryptedSession, SkippedItems
from openai_sessions.encryption._envelope import session_cipher
from tests.agents.test_compaction import in_place
from tests.turns.test_compact import question_and_answer, shown

from .stores import HELLO, HI, KEY, ListSession, said, texts
from .test_runner import compact


class MemoryKeys:
    """A key store in memory.

    Attributes:
        keys: The keys of each user, newest first.
        asked: The user and `create` of each call of `get_keys`.
        error: What `get_keys` raises instead, or None.
        gate: What `get_keys` waits for, or None.
        reached: Set once it waits.
    """

    def __init__(self):
        self.keys = {}
        self.asked = []
        self.error = self.gate = None
        self.reached = asyncio.Event()

    async def get_keys(self, user, *, create):
        self.asked.append((user, create))
        if self.gate:
            self.reached.set()
            await self.gate.wait()
        if self.error:
            raise self.error
        if create:
            self.keys.setdefault(user, [secrets.token_bytes(32)])
        return self.keys.get(user, [])

    async def destroy_keys(self, user):
        return self.keys.pop(user, None) is not None


@pytest.fixture
def store():
    return MemoryKeys()


@pytest.fixture
def of_user(hosted, store, clock):
    """Return a factory of sessions whose keys are in the store."""

    def make(user="alice", underlying=None, **options):
        return EncryptedSession(
            "chat", hosted if underlying is None else underlying, store, user=user, clock=clock, **options
        )

    return make


async def test_each_user_has_a_key(of_user, store):
    await of_user().add_items([HELLO])
    await of_user("bob").add_items([HI])
    assert await of_user().get_items() == [HELLO]
    assert await of_user("bob").get_items() == [HI]
    assert store.keys["alice"] != store.keys["bob"]


async def test_only_writes_create_a_key(of_user, store, hosted, emulator):
    session = of_user()
    assert await session.get_items() == []
    assert await session.pop_item() is None
    assert (emulator.requests, store.asked) == ((), [])  # an unused session asks nobody
    await hosted.add_items([HI])
    assert (await session.get_items(), session.skipped) == ([], SkippedItems(unencrypted=1))
    assert await session.pop_item() is None
    await session.add_items([])
    assert (store.keys, {create for _, create in store.asked}) == ({}, {False})
    await session.add_items([HELLO])
    assert list(store.keys) == ["alice"]


async def test_keys_are_read_at_each_operation(of_user, store):
    """One process rotates a key, another one reads with it at once."""
    session = of_user()
    await session.add_items([HELLO])
    store.keys["alice"] = [secrets.token_bytes(32), *store.keys["alice"]]
    await of_user().add_items([HI])
    assert await session.get_items() == [HELLO, HI]
    store.keys["alice"] = store.keys["alice"][:1]
    assert (await session.get_items(), session.skipped) == ([HI], SkippedItems(undecryptable=1))


async def test_a_destroyed_key_works_in_no_session(of_user, store, hosted, emulator):
    session = of_user()
    await session.add_items(said("1", "2"))
    stored = emulator.items(hosted.session_id)
    async with session.turn() as turn:
        await turn.get_items()
        await store.destroy_keys("alice")
        assert await turn.get_items() == []
    assert await session.get_items() == []
    assert await session.pop_item() is None
    assert [item async for item in session.iterate_items()] == []
    assert session.skipped == SkippedItems(undecryptable=2)
    assert await session.compact(Compaction(model="gpt-5-mini", keep_turns=0)) is None
    assert store.keys == {}

    await session.add_items(said("3"))
    assert texts(await session.get_items()) == ["3"]
    assert session.skipped == SkippedItems(undecryptable=2)
    assert emulator.items(hosted.session_id)[:2] == stored
    await of_user("bob").add_items([HELLO])
    assert await of_user("bob").get_items() == [HELLO]


async def test_an_iteration_reads_keys_for_each_batch(of_user, store):
    session = of_user(underlying=ListSession())
    await session.add_items(said(*map(str, range(250))))
    read = []
    async for item in session.iterate_items():
        read.append(item["content"])
        if len(read) == 50:
            await store.destroy_keys("alice")
    assert len(read) == 100
    assert session.skipped == SkippedItems(undecryptable=150)


async def _add_in_turn(session):
    async with session.turn() as turn:
        await turn.add_items([HI])


@pytest.mark.parametrize(
    "operation",
    [
        lambda session: session.add_items([HI]),
        lambda session: session.get_items(),
        lambda session: session.pop_item(),
        lambda session: session.compact(Compaction(model="gpt-5-mini", keep_turns=0)),
        lambda session: anext(session.iterate_items()),
        _add_in_turn,
    ],
    ids=["add", "get", "pop", "compact", "iterate", "turn"],
)
@pytest.mark.parametrize("way", ["raises", "is cancelled", "returns a weak key"])
async def test_a_store_that_fails_changes_nothing(of_user, store, emulator, operation, way):
    session = of_user()
    await session.add_items([HELLO, HI])
    before = emulator.items(session.conversation_id)
    emulator.forget_requests()
    if way == "raises":
        store.error = LookupError("the service is away")
        with pytest.raises(LookupError, match="the service is away"):
            await operation(of_user())
    elif way == "returns a weak key":
        store.keys["alice"] = ["hunter2hunter2"]
        with pytest.raises(ValueError, match=r"get_keys\('alice'\)\[0\] is too weak") as raised:
            await operation(of_user())
        assert "hunter2" not in str(raised.value)
    else:
        store.gate = asyncio.Event()
        task = asyncio.ensure_future(operation(of_user()))
        await store.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert emulator.items(session.conversation_id) == before
    assert {request.method for request in emulator.requests} <= {"GET"}


async def test_a_store_without_a_key_for_a_write_is_named(of_user, store):
    store.keys["alice"] = []
    with pytest.raises(ValueError, match=r"get_keys\('alice'\) is an empty list"):
        await of_user().add_items([HELLO])


async def test_turns_keep_what_they_have_read(of_user, store):
    """What is complete and what is pending needs no key."""
    session = of_user()
    call = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
    await session.add_items([HELLO, call])
    output = {"type": "function_call_output", "call_id": "call_1", "output": "42"}

    async def fail():
        async with session.turn(on_error="keep") as turn:
            await turn.get_items()
            await turn.add_items([output, {**call, "call_id": "call_2"}])
            store.asked = []
            assert turn.pending == [output, {**call, "call_id": "call_2"}]
            assert store.asked == []
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await session.get_items() == [HELLO, call, output]


async def test_compaction_uses_the_keys_of_the_user(of_user, emulator, hosted):
    session = of_user()
    for number in range(3):
        await session.add_items(question_and_answer(number))
    await session.compact(Compaction(model="gpt-5-mini", keep_turns=1))
    assert shown(await session.get_items()) == ["q0", "q1", "compaction", "q2", "a2"]
    assert all("encrypted:" in text for text in shown(emulator.items(hosted.session_id)))


async def test_no_cipher_outlives_an_operation(of_user, monkeypatch):
    made = []

    def noted(*args):
        made.append(weakref.ref(cipher := session_cipher(*args)))
        return cipher

    monkeypatch.setattr("openai_sessions.encryption._session.session_cipher", noted)
    session = of_user()

    def alive():
        gc.collect()
        return [reference for reference in made if reference() is not None]

    for number in range(3):
        await session.add_items(question_and_answer(number))
        await session.get_items()
        assert made
        assert not alive()
    async with session.turn() as turn:
        await turn.get_items()
        await turn.add_items([HELLO])
        assert not alive()
    await session.pop_item()
    assert not alive()
    async for _ in session.iterate_items():
        pass
    await session.compact(Compaction(model="gpt-5-mini", keep_turns=1))
    assert not alive()


async def test_a_turn_forgets_what_it_has_read_when_it_ends(of_user):
    session = of_user()
    await session.add_items([HELLO])

    async def fail():
        async with turn:
            await turn.get_items()
            await turn.add_items([HI])
            raise LookupError

    turn = session.turn()
    with pytest.raises(LookupError):
        await fail()
    assert turn.pending == [HI]
    assert list(turn._known.values()) == [HI]


@in_place
async def test_the_sdk_compacts_with_the_keys_of_the_user(of_user):
    session, other = of_user(), of_user("bob")
    await session.add_items([HELLO, HI])
    await other.add_items(said("theirs"))
    await compact(session)
    assert [item.get("type") for item in await session.get_items()] == [None, "compaction"]
    assert await other.get_items() == said("theirs")


def test_a_user_and_a_store_belong_together(store):
    with pytest.raises(TypeError, match="a key store needs user="):
        EncryptedSession("chat", ListSession(), store)
    with pytest.raises(TypeError, match="user= needs a key store"):
        EncryptedSession("chat", ListSession(), KEY, user="alice")
    with pytest.raises(ValueError, match="user is empty"):
        EncryptedSession("chat", ListSession(), store, user="")
    with pytest.raises(TypeError, match="user must be a string, not int"):
        EncryptedSession("chat", ListSession(), store, user=7)
    with pytest.raises(TypeError, match="encryption_key must be a string"):
        EncryptedSession("chat", ListSession(), object())


async def test_no_key_is_shown_or_kept(of_user, store, client, caplog):
    caplog.set_level(logging.DEBUG)
    session = of_user(underlying=OpenAIConversationsSession(openai_client=client))
    await session.add_items([HELLO])
    await session.get_items()
    (key,) = store.keys["alice"]
    assert repr(key) not in repr(session) + repr(vars(session)) + caplog.text
    assert not any(isinstance(value, bytes) and key in value for value in vars(session).values())


def test_sessions_in_two_event_loops_share_a_store(store):
    underlying = ListSession()

    async def write_and_read(text):
        session = EncryptedSession("chat", underlying, store, user="alice")
        await session.add_items(said(text))
        return texts(await session.get_items())

    assert asyncio.run(write_and_read("1")) == ["1"]
    assert asyncio.run(write_and_read("2")) == ["1", "2"]
