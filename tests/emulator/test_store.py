"""The database: its file, locks, contents and seeds."""

import asyncio
import json
import sqlite3
import threading

import openai
import pytest

from openai_sessions.emulator import Emulator, InvalidSeedError, SeedResult, StoredConversation

from .wire import KEY, Wire, user, users

OTHER_KEY = "sk-other"


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


async def test_file_of_another_format_is_refused(file):
    file.write_text("not a database, but long enough to be taken for one" * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        Emulator(file)


async def test_emulator_can_be_closed_twice_and_then_serves_nothing(emulator, wire):
    emulator.close()
    emulator.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        await wire.post("/conversations", {})


async def test_full_database_raises_and_stores_nothing(emulator, wire, conversation):
    """SQLite ends the transaction by itself then."""
    connection = emulator._store._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        await wire.add(conversation, user("small"), user("x" * 100_000))
    assert await wire.texts(conversation) == []


async def test_threads_with_event_loops_write_concurrently(emulator, wire, conversation):
    """The items of each request stay together, and none is lost."""

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


async def test_lock_is_for_one_conversation(emulator, wire, conversation):
    with emulator.locked("conv_other"):
        await wire.add_one(conversation, user("Hello"))
    assert await wire.texts(conversation) == ["Hello"]


async def test_lock_ends_with_its_last_block(emulator, wire, conversation):
    with emulator.locked(conversation):
        with emulator.locked(conversation):
            pass
        assert (await wire.refusal(conversation, user("x")))[0] == "conversation_locked"
    await wire.add_one(conversation, user("Hello"))


async def test_lock_is_a_bad_request_error_in_the_client(emulator, client, conversation):
    with emulator.locked(conversation), pytest.raises(openai.BadRequestError) as caught:
        await client.conversations.items.create(conversation, items=[user("x")])
    assert caught.value.code == "conversation_locked"


async def test_file_that_another_process_writes_refuses_writes_and_allows_reads(file):
    with Emulator(file) as emulator:
        wire = Wire(emulator)
        conversation_id = await wire.new_conversation(user("Hello"))
        writer = sqlite3.connect(file, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        assert (await wire.refusal(conversation_id, user("x")))[0] == "conversation_locked"
        assert await wire.texts(conversation_id) == ["Hello"]
        writer.close()
        await wire.add_one(conversation_id, user("again"))


async def test_write_waits_for_a_short_write_of_another_process(file):
    with Emulator(file) as emulator:
        wire = Wire(emulator)
        conversation_id = await wire.new_conversation()
        writer = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        writer.execute("BEGIN IMMEDIATE")
        end_of_write = threading.Timer(0.02, writer.close)
        end_of_write.start()
        await wire.add_one(conversation_id, user("Hello"))
        end_of_write.join()


async def test_file_that_cannot_be_written_raises(file):
    with Emulator(file) as emulator:
        emulator._store._connection.execute("PRAGMA query_only = 1")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await Wire(emulator).new_conversation()


async def test_contents_are_the_conversations_of_all_keys_newest_first(emulator, wire):
    emulator.seed([{"id": "conv_old", "created_at": 1, "metadata": {"a": "b"}, "items": []}])
    first = await wire.new_conversation(user("one"), user("two"))
    second = await Wire(emulator, key=OTHER_KEY).new_conversation()
    stored = emulator.conversations()
    assert [(each.id, each.item_count) for each in stored] == [(second, 0), (first, 2), ("conv_old", 0)]
    assert stored[2] == StoredConversation("conv_old", 1, {"a": "b"}, item_count=0, first_position=None)


async def test_contents_of_a_key_are_the_conversations_it_sees(emulator, wire):
    emulator.seed([{"id": "conv_old", "created_at": 1, "items": []}])
    own = await wire.new_conversation()
    assert [each.id for each in emulator.conversations(api_key=KEY)] == [own, "conv_old"]
    assert [each.id for each in emulator.conversations(api_key=OTHER_KEY)] == ["conv_old"]
    assert emulator.contents.has_conversation(own, api_key=KEY)
    assert not emulator.contents.has_conversation(own, api_key=OTHER_KEY)
    assert emulator.contents.has_conversation("conv_old", api_key=OTHER_KEY)


async def test_deleted_conversation_is_not_in_the_contents(emulator, wire):
    conversation_id = await wire.new_conversation(user("one"))
    await wire.delete(f"/conversations/{conversation_id}")
    assert emulator.conversations() == ()
    assert not emulator.contents.has_conversation(conversation_id)


async def test_items_of_a_deleted_conversation_stay_until_each_is_deleted(emulator, wire):
    """As OpenAI documents; no request reaches them any more."""
    conversation_id = await wire.new_conversation(user("one"), user("two"))
    first, second = (item["id"] for item in emulator.items(conversation_id))
    await wire.delete(f"/conversations/{conversation_id}/items/{first}")
    await wire.delete(f"/conversations/{conversation_id}")
    assert [second] == [item["id"] for item in emulator.items(conversation_id)]
    assert emulator.item(conversation_id, first) is None
    assert "two" == emulator.item(conversation_id, second)["content"][0]["text"]
    assert 404 == (await wire.get(f"/conversations/{conversation_id}/items/{second}"))[0]


async def test_items_of_an_unknown_conversation_raise(emulator, wire):
    other = await wire.new_conversation(user("one"))
    with pytest.raises(LookupError, match="no conversation 'conv_unknown'"):
        emulator.items("conv_unknown")
    assert emulator.item("conv_unknown", emulator.items(other)[0]["id"]) is None


async def test_stored_responses_are_those_of_all_keys_oldest_first(emulator, wire):
    asked = {"model": "emulated", "input": "Hello"}
    _, first = await wire.post("/responses", asked)
    _, deleted = await wire.post("/responses", asked)
    await wire.post("/responses", {**asked, "store": False})
    _, last = await Wire(emulator, key=OTHER_KEY).post("/responses", asked)
    await wire.delete(f"/responses/{deleted['id']}")
    assert (first, last) == emulator.responses()


async def test_contents_have_whole_items_oldest_first(emulator, wire):
    """They have the fields that a list shows only with an `include`."""
    picture = {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "auto"}
    conversation_id = await wire.new_conversation({"role": "user", "content": [picture]}, user("two"))
    first, second = emulator.items(conversation_id)
    assert first["content"][0]["image_url"] == "https://example.com/a.png"
    assert second["content"][0]["text"] == "two"


async def test_contents_give_items_in_pages(emulator, wire):
    conversation_id = await wire.new_conversation(*users(3))
    contents = emulator.contents
    one, two, three = contents.items(conversation_id)
    assert one.position < two.position < three.position
    assert json.loads(two.json)["content"][0]["text"] == "1"
    assert contents.items(conversation_id, after=one.position) == (two, three)
    assert contents.items(conversation_id, max_items=2) == (one, two)
    assert contents.items(conversation_id, max_characters=1) == (one,)
    assert contents.items(conversation_id, max_characters=len(one.json) + 1) == (one, two)
    assert contents.positions(conversation_id, to=two.position) == (one.position, two.position)
    assert contents.items("conv_none") == ()


async def test_version_changes_with_every_write(emulator, wire):
    versions = [emulator.contents.version()]
    conversation_id = await wire.new_conversation(user("one"))
    versions.append(emulator.contents.version())
    await wire.list(conversation_id)
    assert emulator.contents.version() == versions[-1]
    await wire.add(conversation_id, user("two"))
    versions.append(emulator.contents.version())
    await wire.delete(f"/conversations/{conversation_id}/items/{emulator.items(conversation_id)[0]['id']}")
    versions.append(emulator.contents.version())
    await wire.delete(f"/conversations/{conversation_id}")
    versions.append(emulator.contents.version())
    assert len(set(versions)) == 5


async def test_version_changes_with_writes_of_another_process(file):
    with Emulator(file) as one, Emulator(file) as other:
        before = one.contents.version()
        await Wire(other).new_conversation()
        assert one.contents.version() != before


SEED = {
    "id": "conv_seed",
    "created_at": 1_700_000_000,
    "metadata": {"user": "first"},
    "items": [{"id": "msg_1", **user("Hello")}, {"role": "assistant", "content": "Hi there!"}],
}


async def test_seeded_conversation_is_as_given_for_every_key(emulator):
    assert emulator.seed([SEED]) == SeedResult(conversations=1, items=2)
    for key in ("sk-one", "sk-two"):
        wire = Wire(emulator, key=key)
        status, conversation = await wire.get("/conversations/conv_seed")
        assert (status, conversation["created_at"], conversation["metadata"]) == (
            200,
            1_700_000_000,
            {"user": "first"},
        )
        assert await wire.texts("conv_seed") == ["Hi there!", "Hello"]
    assert emulator.items("conv_seed")[0]["id"] == "msg_1"


async def test_seeded_conversation_can_be_written_to(emulator, wire):
    emulator.seed([SEED])
    await wire.add("conv_seed", user("And then?"))
    assert await wire.texts("conv_seed") == ["And then?", "Hi there!", "Hello"]
    assert (await wire.delete("/conversations/conv_seed/items/msg_1"))[0] == 200
    assert (await wire.delete("/conversations/conv_seed"))[0] == 200
    assert (await wire.get("/conversations/conv_seed"))[0] == 404


async def test_seed_may_have_more_items_than_a_request(emulator):
    emulator.seed([{"id": "conv_1", "items": users(250)}])
    assert emulator.conversations()[0].item_count == 250


def test_seed_without_an_id_gets_one_from_its_content(emulator):
    """Two seeds with the same content are two conversations."""
    plain, same, other = ({"items": [user(text)]} for text in ("one", "one", "two"))
    emulator.seed([plain, same, other])
    ids = {each.id for each in emulator.conversations()}
    assert len(ids) == 3
    assert all(each.startswith("conv_") and len(each) == 53 for each in ids)
    with Emulator() as another:
        another.seed([other, plain, same])
        assert {each.id for each in another.conversations()} == ids


def test_same_seeds_after_a_restart_add_nothing(file):
    seeds = [SEED, {"items": [user("one")]}, {"items": [user("one")]}]
    with Emulator(file) as emulator:
        emulator.seed(seeds)
        before = emulator.conversations()
    with Emulator(file) as emulator:
        assert emulator.seed([*seeds, {"items": []}]) == SeedResult(conversations=1, items=0, known=3)
        assert emulator.conversations()[1:] == before


async def test_seeds_do_not_undo_later_writes(file):
    with Emulator(file) as emulator:
        emulator.seed([SEED, {"id": "conv_gone", "items": [user("gone")]}])
        await Wire(emulator).add("conv_seed", user("And then?"))
        await Wire(emulator).delete("/conversations/conv_gone")
    with Emulator(file) as emulator:
        assert emulator.seed([SEED, {"id": "conv_gone", "items": [user("gone")]}]).known == 2
        assert [(each.id, each.item_count) for each in emulator.conversations()] == [("conv_seed", 3)]


INVALID_SEEDS = [
    ({}, "Missing required parameter: 'items'."),
    ({"items": {}}, "Invalid type for 'items': expected an array, but got an object instead."),
    ({"items": [], "name": "x"}, "Unknown field 'name'. The fields are id, created_at, metadata, items."),
    ({"items": [], "id": "thread_1"}, "Invalid 'id': 'thread_1'. Expected an ID that begins with 'conv_'."),
    ({"items": [], "id": 1}, "Invalid type for 'id': expected a string, but got an integer instead."),
    (
        {"items": [], "created_at": "now"},
        "Invalid type for 'created_at': expected an integer, but got a string instead.",
    ),
    (
        {"items": [], "created_at": True},
        "Invalid type for 'created_at': expected an integer, but got a boolean instead.",
    ),
    (
        {"items": [], "created_at": -1},
        "Invalid 'created_at': integer below minimum value. Expected a value >= 0, but got -1 instead.",
    ),
    (
        {"items": [], "created_at": 2**32},
        (
            "Invalid 'created_at': integer above maximum value. "
            "Expected a value <= 4294967295, but got 4294967296 instead."
        ),
    ),
    (
        {"items": [], "metadata": {"a": 1}},
        "Invalid type for 'metadata.a': expected a string, but got an integer instead.",
    ),
    ({"items": [user("a"), {"role": "user"}]}, "Missing required parameter: 'items[1].content'."),
    (
        {"items": [{"type": "message", "role": "poet", "content": "a"}]},
        "The field is 'items[0].role'.",
    ),
    (
        {"items": [{"id": "msg_1", **user("a")}, {"id": "msg_1", **user("b")}]},
        "Duplicate item found with id msg_1.",
    ),
    (
        {"items": [{"type": "item_reference", "id": "msg_1"}]},
        "Item with id 'msg_1' not found in conversation.",
    ),
    ({**SEED, "id": "conv_before"}, "the id 'conv_before' is already used by an earlier conversation."),
]


def test_invalid_seed_is_named_and_nothing_is_stored(emulator):
    for seed, reason in INVALID_SEEDS:
        with pytest.raises(InvalidSeedError) as caught:
            emulator.seed([{"id": "conv_before", "items": [user("before")]}, seed])
        assert caught.value.index == 1
        assert reason in caught.value.reason
        assert str(caught.value) == f"Conversation 1 is invalid: {caught.value.reason}"
        assert emulator.conversations() == ()


def test_reference_in_a_seed_adds_nothing(emulator):
    emulator.seed([{"items": [{"id": "msg_1", **user("a")}, {"type": "item_reference", "id": "msg_1"}]}])
    assert emulator.conversations()[0].item_count == 1


async def test_error_of_the_seeds_iterable_is_raised_and_nothing_is_stored(emulator, wire):
    def seeds():
        yield SEED
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        emulator.seed(seeds())
    assert emulator.conversations() == ()
    await wire.new_conversation(user("Hello"))
    assert len(emulator.conversations()) == 1


def test_seed_of_an_unknown_type_is_stored_if_accepted():
    with Emulator(accept_unknown_types=True) as emulator:
        emulator.seed([{"id": "conv_1", "items": [{"type": "telepathy", "thought": 1}]}])
        assert emulator.items("conv_1")[0]["thought"] == 1


def test_seeds_give_up_on_a_long_write_of_another_process(file):
    with Emulator(file) as emulator:
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            emulator.seed([SEED])
        other.execute("ROLLBACK")
        other.close()
        assert emulator.seed([SEED]).conversations == 1


def test_seeds_are_not_mutated(emulator):
    before = json.dumps(SEED)
    emulator.seed([SEED])
    assert json.dumps(SEED) == before
