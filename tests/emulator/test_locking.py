"""A conversation that another writer holds."""

import sqlite3
import threading

import openai
import pytest

from openai_sessions.emulator import Emulator

from .wire import Wire, user


async def test_locked_conversation_refuses_every_write(emulator, wire):
    conversation_id = await wire.new_conversation(user("Hello"))
    _, page = await wire.list(conversation_id)
    path = f"/conversations/{conversation_id}"
    with emulator.locked(conversation_id):
        answers = [
            await wire.add(conversation_id, user("x")),
            await wire.delete(f"{path}/items/{page['last_id']}"),
            await wire.post(path, {"metadata": {"a": "b"}}),
            await wire.delete(path),
        ]
    assert {(status, answer["error"]["code"]) for status, answer in answers} == {(400, "conversation_locked")}
    assert {answer["error"]["type"] for _, answer in answers} == {"invalid_request_error"}
    assert await wire.texts(conversation_id) == ["Hello"]


async def test_locked_conversation_can_be_read(emulator, wire):
    conversation_id = await wire.new_conversation(user("Hello"))
    with emulator.locked(conversation_id):
        assert await wire.texts(conversation_id) == ["Hello"]


async def test_lock_holds_one_conversation_only(emulator, wire, conversation):
    with emulator.locked("conv_other"):
        await wire.add_one(conversation, user("Hello"))
    assert await wire.texts(conversation) == ["Hello"]


async def test_lock_ends_with_its_last_block(emulator, wire, conversation):
    with emulator.locked(conversation):
        with emulator.locked(conversation):
            pass
        assert (await wire.refusal(conversation, user("x")))[0] == "conversation_locked"
    await wire.add_one(conversation, user("Hello"))


async def test_lock_raises_bad_request_in_the_client(emulator, client, conversation):
    with emulator.locked(conversation), pytest.raises(openai.BadRequestError) as caught:
        await client.conversations.items.create(conversation, items=[user("x")])
    assert caught.value.code == "conversation_locked"


async def test_file_that_another_process_writes_refuses_writes_and_allows_reads(tmp_path):
    file = tmp_path / "conversations.db"
    with Emulator(file) as emulator:
        wire = Wire(emulator)
        conversation_id = await wire.new_conversation(user("Hello"))
        writer = sqlite3.connect(file, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        assert (await wire.refusal(conversation_id, user("x")))[0] == "conversation_locked"
        assert await wire.texts(conversation_id) == ["Hello"]
        writer.close()
        await wire.add_one(conversation_id, user("again"))


async def test_short_write_of_another_process_is_waited_for(tmp_path):
    file = tmp_path / "conversations.db"
    with Emulator(file) as emulator:
        wire = Wire(emulator)
        conversation_id = await wire.new_conversation()
        writer = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        writer.execute("BEGIN IMMEDIATE")
        end_of_write = threading.Timer(0.02, writer.close)
        end_of_write.start()
        await wire.add_one(conversation_id, user("Hello"))
        end_of_write.join()


async def test_other_trouble_with_the_file_is_no_lock(tmp_path):
    """A file that cannot be written is a fault of the set-up, and raises."""
    file = tmp_path / "conversations.db"
    with Emulator(file) as emulator:
        emulator._store._connection.execute("PRAGMA query_only = 1")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await Wire(emulator).new_conversation()
