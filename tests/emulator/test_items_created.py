"""What becomes of the items that are added: their normal form, their ids, their order."""

import re
import time

import pytest

from openai_sessions.emulator import Emulator

from .wire import Wire, user, users

ENCRYPTED = {"include[]": "reasoning.encrypted_content"}
FUNCTION_CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}


async def test_create_answers_the_added_items_in_request_order(wire, conversation):
    status, page = await wire.add(conversation, user("one"), user("two"))
    ids = [item["id"] for item in page["data"]]
    assert status == 200
    assert [item["content"][0]["text"] for item in page["data"]] == ["one", "two"]
    assert {key: page[key] for key in ("object", "first_id", "has_more", "last_id")} == {
        "object": "list",
        "first_id": ids[0],
        "has_more": False,
        "last_id": ids[1],
    }


async def test_create_answers_only_what_it_added(wire, conversation):
    await wire.add(conversation, user("one"))
    _, page = await wire.add(conversation, user("two"))
    assert len(page["data"]) == 1


async def test_create_of_nothing_answers_an_empty_page(wire, conversation):
    expected = {"object": "list", "data": [], "first_id": None, "has_more": False, "last_id": None}
    assert await wire.add(conversation) == (200, expected)


@pytest.mark.parametrize("role", ["user", "assistant", "system", "developer"])
@pytest.mark.parametrize("extra", [{}, {"type": "message"}], ids=["bare", "typed"])
async def test_string_content_becomes_one_input_text_part(wire, conversation, role, extra):
    """Whatever the role, the assistant's too."""
    stored = await wire.add_one(conversation, {**extra, "role": role, "content": "Hello"})
    assert stored == {
        "id": stored["id"],
        "type": "message",
        "status": "completed",
        "content": [{"type": "input_text", "text": "Hello"}],
        "role": role,
    }


async def test_output_text_stays_output_text_and_is_completed(wire, conversation):
    part = {"type": "output_text", "text": "Hi"}
    stored = await wire.add_one(conversation, {"role": "assistant", "content": [part]})
    assert stored["content"] == [{**part, "annotations": [], "logprobs": []}]


async def test_image_without_detail_gets_auto(wire, conversation):
    part = {"type": "input_image", "file_id": "file-1"}
    stored = await wire.add_one(conversation, {"role": "user", "content": [part]})
    assert stored["content"] == [{**part, "detail": "auto"}]


async def test_file_without_detail_stays_without(wire, conversation):
    part = {"type": "input_file", "file_id": "file-1"}
    stored = await wire.add_one(conversation, {"role": "user", "content": [part]})
    assert stored["content"] == [part]


@pytest.mark.parametrize("phase", ["commentary", "final_answer", None])
async def test_phase_is_kept(wire, conversation, phase):
    stored = await wire.add_one(conversation, {"role": "assistant", "content": "Hi", "phase": phase})
    assert stored["phase"] == phase


async def test_status_of_a_message_is_kept(wire, conversation):
    stored = await wire.add_one(conversation, {**user("Hello"), "status": "incomplete"})
    assert stored["status"] == "incomplete"


@pytest.mark.parametrize(
    ("item", "added"),
    [
        (FUNCTION_CALL, {"status": "completed"}),
        (
            {"type": "function_call_output", "call_id": "call_1", "output": "done"},
            {"status": "completed"},
        ),
        (
            {"type": "shell_call", "call_id": "call_1", "action": {"commands": ["ls"]}},
            {
                "action": {"commands": ["ls"], "timeout_ms": None, "max_output_length": None},
                "environment": None,
                "status": "completed",
            },
        ),
        (
            {"type": "shell_call_output", "call_id": "call_1", "output": []},
            {"max_output_length": None, "status": "completed"},
        ),
        (
            {"type": "tool_search_call", "arguments": {}},
            {"call_id": None, "execution": "server", "status": "completed"},
        ),
        (
            {"type": "tool_search_output", "tools": []},
            {"call_id": None, "execution": "server", "status": "completed"},
        ),
        (
            {
                "type": "computer_call_output",
                "call_id": "call_1",
                "output": {"type": "computer_screenshot", "file_id": "file-1"},
            },
            {"status": "completed"},
        ),
        ({"type": "custom_tool_call", "call_id": "call_1", "name": "run", "input": ""}, {}),
    ],
    ids=lambda value: value.get("type", "") if isinstance(value, dict) else "",
)
async def test_item_is_completed_to_what_a_list_requires(wire, conversation, item, added):
    stored = await wire.add_one(conversation, item)
    assert stored == {**item, **added, "id": stored["id"]}


async def test_free_form_values_are_kept_with_their_nulls(wire, conversation):
    tool = {"type": "function", "name": "look", "parameters": {"default": None, "enum": ["a", None]}}
    stored = await wire.add_one(
        conversation, {"type": "additional_tools", "role": "developer", "tools": [tool]}
    )
    assert stored["tools"] == [tool]


@pytest.mark.parametrize("name", ["call_id", "name", "namespace"])
async def test_null_that_a_list_cannot_say_counts_as_absent(wire, conversation, name):
    item = {"type": "function_call_output", "call_id": "call_1", "output": "done"}
    stored = await wire.add_one(conversation, {**item, name: None})
    assert name not in stored


async def test_new_ids_have_the_prefix_and_begin_with_the_second_of_creation(wire, conversation):
    before = int(time.time())
    _, page = await wire.add(conversation, user("Hello"), FUNCTION_CALL)
    message_id, call_id = (item["id"] for item in page["data"])
    assert re.fullmatch(r"msg_[0-9a-f]{48}", message_id)
    assert re.fullmatch(r"fc_[0-9a-f]{48}", call_id)
    assert before <= int(message_id[4:12], 16) <= int(time.time())


async def test_new_ids_never_repeat(wire, conversation):
    pages = [await wire.add(conversation, *users(20)) for _ in range(5)]
    ids = [item["id"] for _, page in pages for item in page["data"]]
    assert len(set(ids)) == 100


async def test_given_id_is_kept_where_it_is_required(wire, conversation):
    item = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": None}
    assert (await wire.add_one(conversation, item))["id"] == "ig_1"


async def test_given_id_is_kept_where_it_is_optional(wire, conversation):
    assert (await wire.add_one(conversation, {**FUNCTION_CALL, "id": "fc_1"}))["id"] == "fc_1"
    assert (await wire.add_one(conversation, {**user("Hello"), "id": "msg_1"}))["id"] == "msg_1"


async def test_null_id_counts_as_none(wire, conversation):
    output = {"type": "function_call_output", "call_id": "call_1", "output": "done", "id": None}
    assert (await wire.add_one(conversation, output))["id"].startswith("fco_")


async def test_reasoning_needs_an_id_or_encrypted_content(wire, conversation):
    reasoning = {"type": "reasoning", "summary": []}
    encrypted = await wire.add_one(conversation, {**reasoning, "encrypted_content": "gAAA"}, **ENCRYPTED)
    identified = await wire.add_one(conversation, {**reasoning, "id": "rs_1"})
    assert re.fullmatch(r"rs_[0-9a-f]{48}", encrypted["id"])
    assert identified == {**reasoning, "id": "rs_1"}
    assert await wire.refusal(conversation, reasoning) == ("missing_required_parameter", "items[0].id")


async def test_known_id_of_the_conversation_is_refused(wire, conversation):
    await wire.add(conversation, {**FUNCTION_CALL, "id": "fc_1"})
    assert await wire.refusal(conversation, {**FUNCTION_CALL, "id": "fc_1"}) == (None, "items")


async def test_id_twice_in_a_request_is_refused(wire, conversation):
    again = {**FUNCTION_CALL, "id": "fc_1"}
    assert await wire.refusal(conversation, again, again) == (None, "items")
    assert (await wire.list(conversation))[1]["data"] == []


async def test_id_of_another_conversation_is_accepted(wire, conversation):
    other = await wire.new_conversation({**FUNCTION_CALL, "id": "fc_1"})
    await wire.add_one(conversation, {**FUNCTION_CALL, "id": "fc_1"})
    assert other != conversation


async def test_id_of_a_deleted_item_is_accepted_again(wire, conversation):
    await wire.add_one(conversation, {**FUNCTION_CALL, "id": "fc_1"})
    await wire.delete(f"/conversations/{conversation}/items/fc_1")
    assert (await wire.add_one(conversation, {**FUNCTION_CALL, "id": "fc_1"}))["id"] == "fc_1"


@pytest.mark.parametrize("type_field", [{}, {"type": None}, {"type": "item_reference"}])
async def test_item_reference_to_an_item_of_the_conversation_adds_nothing(wire, conversation, type_field):
    known = await wire.add_one(conversation, user("one"))
    _, page = await wire.add(conversation, {**type_field, "id": known["id"]}, user("two"))
    assert len(page["data"]) == 1
    assert await wire.texts(conversation, order="asc") == ["one", "two"]


async def test_item_reference_to_an_unknown_item_is_a_404(wire, conversation):
    status, answer = await wire.add(conversation, user("one"), {"type": "item_reference", "id": "msg_1"})
    assert (status, answer["error"]["message"]) == (404, "Item with id 'msg_1' not found.")
    assert await wire.texts(conversation) == []


async def test_compaction_trigger_adds_nothing(wire, conversation):
    _, page = await wire.add(conversation, {"type": "compaction_trigger"}, user("one"))
    assert len(page["data"]) == 1


async def test_unknown_type_is_stored_untouched_by_a_newer_service():
    dream = {"type": "dream", "depth": {"levels": [1, None]}, "created_by": None}
    with Emulator(accept_unknown_types=True) as emulator:
        wire = Wire(emulator)
        conversation_id = await wire.new_conversation()
        anonymous = await wire.add_one(conversation_id, dream)
        named = await wire.add_one(conversation_id, {**dream, "id": "dr_1"})
        assert anonymous == {**dream, "id": anonymous["id"]}
        assert (await wire.add_one(conversation_id, {**dream, "id": None}))["id"].startswith("item_")
        assert (await wire.refusal(conversation_id, {**dream, "id": 1})) == ("invalid_type", "items[0].id")
        assert named == {**dream, "id": "dr_1"}
        assert await wire.refusal(conversation_id, {**FUNCTION_CALL, "dream": 1}) == (
            "unknown_parameter",
            "items[0].dream",
        )


async def test_20_items_are_accepted(wire, conversation):
    status, page = await wire.add(conversation, *users(20))
    assert (status, len(page["data"])) == (200, 20)


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (b"na\xc3\xafve", "na\u00efve"),
        (b"na\\u00efve", "na\u00efve"),
        (b"\\ud83d\\ude00", "\U0001f600"),
        (b"\\u0000", "\0"),
        (b"\\ud800", "\ud800"),
    ],
    ids=["utf-8", "escaped", "pair", "null character", "lone surrogate"],
)
async def test_text_outside_ascii_is_kept(wire, conversation, sent, text):
    content = b'{"items": [{"role": "user", "content": "' + sent + b'"}]}'
    await wire.send("POST", f"/conversations/{conversation}/items", content=content)
    assert await wire.texts(conversation) == [text]
