"""Writers that save one conversation at once, and saves that fail or are cancelled."""

import asyncio
import logging
from functools import partial

import openai
import pytest
from pydantic_ai.conversation_store import ConversationConflict

from openai_sessions.adapters.pydantic_ai import OpenAIConversationStore
from openai_sessions.directory import SessionDirectory
from openai_sessions.emulator import Fault
from openai_sessions.emulator._server import in_process_client
from tests.selection import one_in

from .conftest import OPTIONS
from .stage import conversation, made, next_turn, said, stored_texts, turn

LOST = ("cut_after_commit", "error_500_after_commit", "truncated_body")


class Gate:
    """An emulator at which writes of items wait until the test opens it."""

    def __init__(self, emulator):
        self._emulator = emulator
        self.arrived = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, scope, receive, send):
        if scope["method"] == "POST" and scope["path"].endswith("/items"):
            self.arrived.set()
            await self.opened.wait()
        await self._emulator(scope, receive, send)

    def client(self):
        return in_process_client(self, api_key="sk-emulator")


class MeetingDirectory(SessionDirectory):
    """A directory whose replacements of metadata wait until two have come: both writers have stored items."""

    barrier = None

    async def set_metadata(self, *arguments, **options):
        await self.barrier.wait()
        await super().set_metadata(*arguments, **options)


class InterruptedDirectory(SessionDirectory):
    """A directory that does something after it has read a name, or opened a session."""

    after_opening = ()
    after_reading = None

    async def get(self, name):
        entry = await super().get(name)
        if self.after_reading is not None:
            await self.after_reading()
        return entry

    async def session(self, *arguments, **options):
        session = await super().session(*arguments, **options)
        for step in self.after_opening:
            await step()
        return session


@pytest.fixture
async def racing(url, client):
    """Two stores, like those of two processes, that replace a record at the same moment."""
    barrier = asyncio.Barrier(2)
    async with (
        MeetingDirectory(url, openai_client=client, session_options=OPTIONS) as first,
        MeetingDirectory(url, openai_client=client, session_options=OPTIONS) as second,
    ):
        first.barrier = second.barrier = barrier
        yield [OpenAIConversationStore(each) for each in (first, second)]


async def saves(stores, conversations):
    """Save one conversation in each store at once; return what was raised."""
    pairs = zip(stores, conversations, strict=True)
    return await asyncio.gather(*(store.save(each) for store, each in pairs), return_exceptions=True)


async def test_two_save_a_new_conversation_and_one_of_them_succeeds(racing, store, emulator):
    both = [conversation(1), conversation(2)]
    results = await saves(racing, both)
    (lost,) = [place for place, result in enumerate(results) if isinstance(result, ConversationConflict)]
    winner = both[1 - lost]
    assert winner == await store.load("7f3a")
    assert [said(winner.messages)] == stored_texts(emulator)


async def test_two_continue_a_conversation_and_one_of_them_succeeds(racing, store, emulator):
    """Both have read the same revision before either has written."""
    await store.save(conversation(1))
    both = [await next_turn(each, number) for number, each in enumerate(racing, start=2)]
    results = await saves(racing, both)
    (lost,) = [place for place, result in enumerate(results) if isinstance(result, ConversationConflict)]
    winner = both[1 - lost]
    assert winner == await store.load("7f3a")
    assert [said(winner.messages)] == stored_texts(emulator)
    again = await next_turn(store, 4)
    await store.save(again)
    assert again == await store.load("7f3a")


async def test_two_fork_to_one_id_and_one_of_them_succeeds(racing, store, emulator):
    """Both have copied entries of the same ids: the loser deletes its own only."""
    saved = conversation(1, 2)
    entries = await store.save(saved)
    forks = [each.fork("7f3a", at=3, new_conversation_id="fork") for each in racing]
    results = await asyncio.gather(*forks, return_exceptions=True)
    assert [ConversationConflict] == [type(each) for each in results if isinstance(each, Exception)]
    assert entries[:3] == await store.load_entries("fork")
    assert [3, 4] == sorted(map(len, stored_texts(emulator)))


async def test_stale_save_is_refused_before_a_request(store, other, emulator):
    await store.save(conversation(1))
    stale = await next_turn(other, 2)
    await store.save(await next_turn(store, 3))
    emulator.forget_requests()
    with pytest.raises(ConversationConflict):
        await other.save(stale)
    assert [] == made(emulator)


async def test_conversation_that_is_deleted_during_a_save_stays_deleted(
    emulator, open_directory, store, directory
):
    await store.save(conversation(1))
    gate = Gate(emulator)
    async with gate.client() as client:
        slow = OpenAIConversationStore(open_directory(openai_client=client))
        saving = asyncio.create_task(slow.save(await next_turn(slow, 2)))
        await gate.arrived.wait()
        deleting = asyncio.create_task(store.delete("7f3a"))
        while await directory.get("pydantic-ai/7f3a"):
            pass
        gate.opened.set()
        with pytest.raises(ConversationConflict):
            await saving
        await deleting
    assert [] == stored_texts(emulator)
    assert ([], None) == (await store.list_conversations(), await store.load("7f3a"))


async def test_save_after_the_deletion_by_another_process_stores_nothing(
    url, store, directory, client, emulator
):
    """The name and the hosted conversation go between the check of the revision and the write."""
    await store.save(conversation(1))
    saved = await next_turn(store, 2)
    name, stored = "pydantic-ai/7f3a", await directory.get("pydantic-ai/7f3a")
    async with InterruptedDirectory(url, openai_client=client, session_options=OPTIONS) as interrupted:
        interrupted.after_opening = [
            partial(directory.forget, name),
            partial(client.conversations.delete, stored.conversation_id),
        ]
        with pytest.raises(ConversationConflict):
            await OpenAIConversationStore(interrupted).save(saved)
    assert [[]] == stored_texts(emulator)
    assert ([], None) == (await store.list_conversations(), await store.load("7f3a"))
    await store.save(conversation(3))
    assert [["question 3", "answer 3"]] == stored_texts(emulator)


async def test_delete_that_a_save_has_overtaken_deletes_nothing(url, client, store, emulator):
    await store.save(conversation(1))
    saved = await next_turn(store, 2)
    revision = saved.revision
    async with InterruptedDirectory(url, openai_client=client, session_options=OPTIONS) as interrupted:
        interrupted.after_reading = partial(store.save, saved)
        with pytest.raises(ConversationConflict):
            await OpenAIConversationStore(interrupted).delete_record("7f3a", expected_revision=revision)
    assert saved == await store.load("7f3a")


async def test_entries_that_the_loser_cannot_delete_are_left_and_logged(racing, store, emulator, caplog):
    await store.save(conversation(1))
    both = [await next_turn(each, number) for number, each in enumerate(racing, start=2)]
    emulator.inject(Fault("error_500_before"), operation="delete_item", times=20)
    with caplog.at_level(logging.WARNING, "openai_sessions"):
        results = await saves(racing, both)
    (lost,) = [place for place, result in enumerate(results) if isinstance(result, ConversationConflict)]
    assert ["entries of a save that lost a race are left: UnfinishedDeletionError"] == [
        message for message in caplog.messages if message.startswith("entries")
    ]
    winner = both[1 - lost]
    assert winner == await store.load("7f3a")
    assert winner.messages[-3:] == (await store.load("7f3a", limit=3)).messages
    assert [6] == list(map(len, stored_texts(emulator)))


@pytest.mark.parametrize("kind", one_in(3, LOST))
@pytest.mark.parametrize("operation", ["create_conversation", "create_items"])
async def test_save_whose_reply_is_lost_is_stored_once(store, emulator, kind, operation):
    emulator.inject(Fault(kind), operation=operation)
    saved = conversation(1, 2)
    await store.save(saved)
    assert saved == await store.load("7f3a")
    assert [said(saved.messages)] == [texts for texts in stored_texts(emulator) if texts]


@pytest.mark.exhaustive
async def test_save_that_fails_stores_nothing_and_can_be_repeated(store, emulator):
    await store.save(conversation(*range(12)))
    saved = await next_turn(store, 12)
    before = stored_texts(emulator)
    revision = saved.revision
    emulator.inject(Fault("quota"), operation="create_items")
    with pytest.raises(openai.RateLimitError):
        await store.save(saved)
    assert before == stored_texts(emulator)
    assert revision == saved.revision
    await store.save(saved)
    assert saved == await store.load("7f3a")


async def test_first_save_that_fails_leaves_no_conversation(store, emulator):
    saved = conversation(1)
    emulator.inject(Fault("quota"), operation="create_items")
    with pytest.raises(openai.RateLimitError):
        await store.save(saved)
    assert None is await store.load("7f3a")
    assert [] == await store.list_conversations()
    await store.save(saved)
    assert saved == await store.load("7f3a")


async def test_cancelled_save_stores_nothing(emulator, open_directory, store):
    await store.save(conversation(1))
    gate = Gate(emulator)
    async with gate.client() as client:
        slow = OpenAIConversationStore(open_directory(openai_client=client))
        saved = await next_turn(slow, 2)
        saving = asyncio.create_task(slow.save(saved))
        await gate.arrived.wait()
        saving.cancel()
        gate.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await saving
    assert [["question 1", "answer 1"]] == stored_texts(emulator)
    await store.save(saved)
    assert saved == await store.load("7f3a")


@pytest.mark.exhaustive
async def test_delete_that_openai_refuses_is_finished_by_a_sweep(store, directory, emulator):
    await store.save(conversation(1))
    emulator.inject(Fault("error_500_before"), operation="delete_conversation", times=6)
    with pytest.raises(openai.InternalServerError):
        await store.delete("7f3a")
    assert None is await store.load("7f3a")
    assert 1 == (await directory.sweep()).deleted
    assert () == emulator.conversations()


@pytest.mark.exhaustive
async def test_many_writers_lose_no_turn(open_directory, emulator):
    """Each writer loads, adds its turn, and tries again after a conflict."""
    stores = [OpenAIConversationStore(open_directory()) for _ in range(4)]
    await stores[0].save(conversation())

    async def write(store, number):
        while True:
            loaded = await next_turn(store, number)
            try:
                await store.save(loaded)
            except ConversationConflict:
                continue
            return

    await asyncio.gather(*(write(stores[number % 4], number) for number in range(16)))
    loaded = await stores[0].load("7f3a")
    questions = said(loaded.messages)[::2]
    assert sorted(f"question {number}" for number in range(16)) == sorted(questions)
    for index, question in enumerate(questions):
        assert (
            turn(question.split()[1])[1].parts[0].content == loaded.messages[2 * index + 1].parts[0].content
        )
    assert [said(loaded.messages)] == stored_texts(emulator)
