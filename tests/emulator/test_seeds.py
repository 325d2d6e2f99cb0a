"""Conversations that an emulator begins with: all or none, and once."""

import json
import sqlite3

import pytest

from openai_sessions.emulator import Emulator, InvalidSeedError, SeedResult

from .wire import Wire, user, users

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


async def test_seeded_conversation_goes_on_as_any_other(emulator, wire):
    emulator.seed([SEED])
    await wire.add("conv_seed", user("And then?"))
    assert await wire.texts("conv_seed") == ["And then?", "Hi there!", "Hello"]
    assert (await wire.delete("/conversations/conv_seed/items/msg_1"))[0] == 200
    assert (await wire.delete("/conversations/conv_seed"))[0] == 200
    assert (await wire.get("/conversations/conv_seed"))[0] == 404


async def test_seeded_items_may_be_more_than_a_request_takes(emulator):
    emulator.seed([{"id": "conv_1", "items": users(250)}])
    assert emulator.conversations()[0].item_count == 250


def test_conversations_without_an_id_get_one_from_their_content(emulator):
    """Two of the same content are two conversations."""
    plain, same, other = ({"items": [user(text)]} for text in ("one", "one", "two"))
    emulator.seed([plain, same, other])
    ids = {each.id for each in emulator.conversations()}
    assert len(ids) == 3
    assert all(each.startswith("conv_") and len(each) == 53 for each in ids)
    with Emulator() as another:
        another.seed([other, plain, same])
        assert {each.id for each in another.conversations()} == ids


def test_same_seeds_after_a_restart_add_nothing(tmp_path):
    seeds = [SEED, {"items": [user("one")]}, {"items": [user("one")]}]
    with Emulator(tmp_path / "file.db") as emulator:
        emulator.seed(seeds)
        before = emulator.conversations()
    with Emulator(tmp_path / "file.db") as emulator:
        assert emulator.seed([*seeds, {"items": []}]) == SeedResult(conversations=1, items=0, known=3)
        assert emulator.conversations()[1:] == before


async def test_what_became_of_a_seeded_conversation_stays(tmp_path):
    with Emulator(tmp_path / "file.db") as emulator:
        emulator.seed([SEED, {"id": "conv_gone", "items": [user("gone")]}])
        await Wire(emulator).add("conv_seed", user("And then?"))
        await Wire(emulator).delete("/conversations/conv_gone")
    with Emulator(tmp_path / "file.db") as emulator:
        assert emulator.seed([SEED, {"id": "conv_gone", "items": [user("gone")]}]).known == 2
        assert [(each.id, each.item_count) for each in emulator.conversations()] == [("conv_seed", 3)]


REFUSED = [
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
    ({"items": [{"type": "item_reference", "id": "msg_1"}]}, "Item with id 'msg_1' not found."),
    ({**SEED, "id": "conv_before"}, "the id 'conv_before' is already used by an earlier conversation."),
]


@pytest.mark.parametrize(("seed", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_seed_that_cannot_be_held_is_named_and_nothing_is_stored(emulator, seed, reason):
    with pytest.raises(InvalidSeedError) as caught:
        emulator.seed([{"id": "conv_before", "items": [user("before")]}, seed])
    assert caught.value.index == 1
    assert reason in caught.value.reason
    assert str(caught.value) == f"Conversation 1 is invalid: {caught.value.reason}"
    assert emulator.conversations() == ()


def test_reference_to_an_item_of_the_same_conversation_adds_nothing(emulator):
    emulator.seed([{"items": [{"id": "msg_1", **user("a")}, {"type": "item_reference", "id": "msg_1"}]}])
    assert emulator.conversations()[0].item_count == 1


async def test_seeds_that_end_in_an_error_leave_the_emulator_usable(emulator, wire):
    def seeds():
        yield SEED
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        emulator.seed(seeds())
    assert emulator.conversations() == ()
    await wire.new_conversation(user("Hello"))
    assert len(emulator.conversations()) == 1


def test_seeds_of_a_newer_service_are_held_where_these_are_accepted():
    with Emulator(accept_unknown_types=True) as emulator:
        emulator.seed([{"id": "conv_1", "items": [{"type": "telepathy", "thought": 1}]}])
        assert emulator.items("conv_1")[0]["thought"] == 1


def test_seeds_wait_for_no_other_process_for_long(tmp_path):
    with Emulator(tmp_path / "file.db") as emulator:
        other = sqlite3.connect(tmp_path / "file.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            emulator.seed([SEED])
        other.execute("ROLLBACK")
        other.close()
        assert emulator.seed([SEED]).conversations == 1


def test_seeds_are_not_changed(emulator):
    before = json.dumps(SEED)
    emulator.seed([SEED])
    assert json.dumps(SEED) == before
