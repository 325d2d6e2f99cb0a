"""The four operations on conversations, and the limits of metadata."""

import re
import time

import openai
import pytest


async def test_create_returns_the_conversation_without_its_items(wire):
    before = int(time.time())
    status, answer = await wire.post(
        "/conversations", {"metadata": {"topic": "test"}, "items": [{"role": "user", "content": "Hello"}]}
    )
    created_at = answer["created_at"]
    assert status == 200
    assert list(answer) == ["id", "object", "created_at", "metadata"]
    assert answer["object"] == "conversation"
    assert answer["metadata"] == {"topic": "test"}
    assert before <= created_at <= int(time.time())


async def test_id_starts_with_the_second_of_creation(wire):
    _, answer = await wire.post("/conversations", {})
    assert re.fullmatch(r"conv_[0-9a-f]{48}", answer["id"])
    assert answer["created_at"] == int(answer["id"][5:13], 16)


async def test_create_stores_the_items(wire):
    conversation_id = await wire.new_conversation({"role": "user", "content": "Hello"})
    assert await wire.texts(conversation_id) == ["Hello"]


@pytest.mark.parametrize("body", [{}, {"metadata": None, "items": None}, {"items": []}])
async def test_create_without_items_makes_an_empty_conversation(wire, body):
    status, answer = await wire.post("/conversations", body)
    _, page = await wire.list(answer["id"])
    assert status == 200
    assert answer["metadata"] == {}
    assert page["data"] == []


async def test_create_without_a_body_makes_an_empty_conversation(wire):
    status, answer = await wire.send("POST", "/conversations")
    assert (status, answer["metadata"]) == (200, {})


async def test_create_refuses_more_than_20_items(wire):
    status, answer = await wire.post("/conversations", {"items": [{"role": "user", "content": "x"}] * 21})
    assert (status, answer["error"]["code"]) == (400, "array_above_max_length")


async def test_create_refuses_unknown_fields(wire):
    status, answer = await wire.post("/conversations", {"title": "Weather"})
    assert status == 400
    assert answer["error"] == {
        "message": "Unknown parameter: 'title'.",
        "type": "invalid_request_error",
        "param": "title",
        "code": "unknown_parameter",
    }


async def test_retrieve_returns_what_create_returned(wire):
    _, created = await wire.post("/conversations", {"metadata": {"topic": "test"}})
    assert await wire.get(f"/conversations/{created['id']}") == (200, created)


async def test_update_replaces_the_metadata(wire):
    _, created = await wire.post("/conversations", {"metadata": {"topic": "test", "left": "out"}})
    path = f"/conversations/{created['id']}"
    expected = {**created, "metadata": {"topic": "updated"}}
    assert await wire.post(path, {"metadata": {"topic": "updated"}}) == (200, expected)
    assert await wire.get(path) == (200, expected)


async def test_update_with_null_empties_the_metadata(wire):
    _, created = await wire.post("/conversations", {"metadata": {"topic": "test"}})
    _, updated = await wire.post(f"/conversations/{created['id']}", {"metadata": None})
    assert updated["metadata"] == {}


async def test_update_without_metadata_is_refused(wire, conversation):
    status, answer = await wire.post(f"/conversations/{conversation}", {})
    assert (status, answer["error"]["code"]) == (400, "missing_required_parameter")


async def test_delete_returns_the_deletion(wire, conversation):
    expected = {"id": conversation, "object": "conversation.deleted", "deleted": True}
    assert await wire.delete(f"/conversations/{conversation}") == (200, expected)


async def test_deleted_conversation_is_a_404_with_its_items(wire):
    conversation_id = await wire.new_conversation({"role": "user", "content": "Hello"})
    _, page = await wire.list(conversation_id)
    path = f"/conversations/{conversation_id}"
    item_path = f"{path}/items/{page['data'][0]['id']}"
    await wire.delete(path)
    answers = [
        await wire.get(path),
        await wire.post(path, {"metadata": {}}),
        await wire.delete(path),
        await wire.get(f"{path}/items"),
        await wire.post(f"{path}/items", {"items": []}),
        await wire.get(item_path),
        await wire.delete(item_path),
    ]
    assert {status for status, _ in answers} == {404}


async def test_unknown_conversation_is_a_404_without_a_code(wire):
    status, answer = await wire.get("/conversations/conv_unknown")
    assert status == 404
    assert answer == {
        "error": {
            "message": "Conversation with id 'conv_unknown' not found.",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
    }


async def test_unknown_conversation_is_a_not_found_error_in_the_client(client):
    with pytest.raises(openai.NotFoundError) as caught:
        await client.conversations.retrieve("conv_unknown")
    assert caught.value.code is None


@pytest.mark.parametrize(
    "metadata",
    [{str(n): "x" for n in range(16)}, {"k" * 64: "x"}, {"k": "v" * 512}, {"k": ""}],
    ids=["16 pairs", "key of 64", "value of 512", "empty value"],
)
async def test_metadata_at_its_limits_is_stored(wire, metadata):
    _, created = await wire.post("/conversations", {"metadata": metadata})
    assert created["metadata"] == metadata


@pytest.mark.parametrize(
    ("metadata", "code", "param"),
    [
        ({str(n): "x" for n in range(17)}, "object_above_max_properties", "metadata"),
        ({"k" * 65: "x"}, "property_name_above_max_length", "metadata"),
        ({"k": "v" * 513}, "string_above_max_length", "metadata.k"),
        ({"k": 1}, "invalid_type", "metadata.k"),
        ({"k": None}, "invalid_type", "metadata.k"),
        (["k"], "invalid_type", "metadata"),
    ],
    ids=["17 pairs", "key of 65", "value of 513", "number", "null", "array"],
)
async def test_metadata_over_its_limits_is_refused(wire, conversation, metadata, code, param):
    for path in ("/conversations", f"/conversations/{conversation}"):
        status, answer = await wire.post(path, {"metadata": metadata})
        assert (400, code, param) == (status, answer["error"]["code"], answer["error"]["param"])
