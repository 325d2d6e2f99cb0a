"""What a database file keeps, and who may share it."""

import asyncio
import sqlite3
import threading

import pytest

from openai_sessions.emulator import Emulator

from .wire import Wire, user, users


@pytest.fixture
def file(tmp_path):
    return tmp_path / "conversations.db"


@pytest.mark.parametrize("as_given", [str, lambda path: path], ids=["string", "path"])
async def test_file_survives_a_restart(file, as_given):
    with Emulator(as_given(file)) as before:
        wire = Wire(before)
        conversation_id = await wire.new_conversation(user("Hello"))
        _, conversation = await wire.get(f"/conversations/{conversation_id}")
        _, page = await wire.list(conversation_id)
    with Emulator(as_given(file)) as after:
        wire = Wire(after)
        assert await wire.get(f"/conversations/{conversation_id}") == (200, conversation)
        assert await wire.list(conversation_id) == (200, page)


async def test_deletion_survives_a_restart_and_leaves_the_items_in_the_file(file):
    with Emulator(file) as before:
        wire = Wire(before)
        conversation_id = await wire.new_conversation(user("Hello"))
        await wire.delete(f"/conversations/{conversation_id}")
    with Emulator(file) as after:
        status, _ = await Wire(after).list(conversation_id)
    database = sqlite3.connect(file)
    (number,) = database.execute("SELECT count(*) FROM items").fetchone()
    database.close()
    assert (status, number) == (404, 1)


async def test_two_emulators_share_a_file(file):
    with Emulator(file) as one, Emulator(file) as other:
        conversation_id = await Wire(one).new_conversation(user("one"))
        await Wire(other).add(conversation_id, user("other"))
        assert await Wire(one).texts(conversation_id) == ["other", "one"]


async def test_emulators_in_memory_share_nothing(emulator, conversation):
    with Emulator() as other:
        status, _ = await Wire(other).get(f"/conversations/{conversation}")
    assert status == 404


async def test_file_that_is_no_database_is_refused(file):
    file.write_text("not a database, but long enough to be taken for one" * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        Emulator(file)


async def test_closed_emulator_closes_again_and_answers_no_more(emulator, wire):
    emulator.close()
    emulator.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        await wire.post("/conversations", {})


async def test_threads_with_loops_of_their_own_write_side_by_side(emulator, wire, conversation):
    """Each request stays together, and none is lost."""

    async def write(first):
        own_wire = Wire(emulator)
        for start in range(first, first + 100, 20):
            await own_wire.add(conversation, *users(20, first=start))

    threads = [
        threading.Thread(target=lambda first=first: asyncio.run(write(first))) for first in (0, 100, 200)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    texts = [int(text) for text in await all_texts(wire, conversation)]
    batches = [texts[start : start + 20] for start in range(0, 300, 20)]
    assert sorted(texts) == list(range(300))
    assert all(batch == list(range(batch[0], batch[0] + 20)) for batch in batches)


async def all_texts(wire, conversation_id):
    texts, after = [], {}
    while True:
        _, page = await wire.list(conversation_id, limit=100, order="asc", **after)
        texts += [item["content"][0]["text"] for item in page["data"]]
        if not page["has_more"]:
            return texts
        after = {"after": page["last_id"]}
