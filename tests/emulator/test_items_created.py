"""Items in a create request: their stored form, their ids and order, and what is refused."""

import re
import time

import pytest

from openai_sessions.emulator import Emulator

from .wire import Wire, user, users

ENCRYPTED = {"include[]": "reasoning.encrypted_content"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "done"}
SEARCH = {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["x"]}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}


async def test_create_returns_the_added_items_in_request_order(wire, conversation):
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


async def test_create_returns_only_the_items_it_added(wire, conversation):
    await wire.add(conversation, user("one"))
    _, page = await wire.add(conversation, user("two"))
    assert len(page["data"]) == 1


async def test_create_without_items_returns_an_empty_page(wire, conversation):
    expected = {"object": "list", "data": [], "first_id": None, "has_more": False, "last_id": None}
    assert await wire.add(conversation) == (200, expected)


@pytest.mark.parametrize("role", ["user", "assistant", "system", "developer"])
@pytest.mark.parametrize("extra", [{}, {"type": "message"}], ids=["bare", "typed"])
async def test_string_content_becomes_one_input_text_part(wire, conversation, role, extra):
    """Of any role, even the assistant's."""
    stored = await wire.add_one(conversation, {**extra, "role": role, "content": "Hello"})
    assert stored == {
        "id": stored["id"],
        "type": "message",
        "status": "completed",
        "content": [{"type": "input_text", "text": "Hello"}],
        "role": role,
    }


async def test_output_text_stays_output_text(wire, conversation):
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
        (CALL, {"status": "completed"}),
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
async def test_item_gets_the_fields_that_a_list_requires(wire, conversation, item, added):
    stored = await wire.add_one(conversation, item)
    assert stored == {**item, **added, "id": stored["id"]}


async def test_free_form_values_are_kept_with_their_nulls(wire, conversation):
    tool = {"type": "function", "name": "look", "parameters": {"default": None, "enum": ["a", None]}}
    stored = await wire.add_one(
        conversation, {"type": "additional_tools", "role": "developer", "tools": [tool]}
    )
    assert stored["tools"] == [tool]


@pytest.mark.parametrize("name", ["call_id", "name", "namespace"])
async def test_null_that_lists_do_not_allow_is_dropped(wire, conversation, name):
    item = {"type": "function_call_output", "call_id": "call_1", "output": "done"}
    stored = await wire.add_one(conversation, {**item, name: None})
    assert name not in stored


async def test_new_ids_have_the_prefix_and_begin_with_the_second_of_creation(wire, conversation):
    before = int(time.time())
    _, page = await wire.add(conversation, user("Hello"), CALL)
    message_id, call_id = (item["id"] for item in page["data"])
    assert re.fullmatch(r"msg_[0-9a-f]{48}", message_id)
    assert re.fullmatch(r"fc_[0-9a-f]{48}", call_id)
    assert before <= int(message_id[4:12], 16) <= int(time.time())


async def test_new_ids_never_repeat(wire, conversation):
    pages = [await wire.add(conversation, *users(20)) for _ in range(5)]
    ids = [item["id"] for _, page in pages for item in page["data"]]
    assert len(set(ids)) == 100


async def test_required_id_is_kept(wire, conversation):
    item = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": None}
    assert (await wire.add_one(conversation, item))["id"] == "ig_1"


async def test_optional_id_is_kept(wire, conversation):
    assert (await wire.add_one(conversation, {**CALL, "id": "fc_1"}))["id"] == "fc_1"
    assert (await wire.add_one(conversation, {**user("Hello"), "id": "msg_1"}))["id"] == "msg_1"


async def test_null_id_counts_as_missing(wire, conversation):
    output = {"type": "function_call_output", "call_id": "call_1", "output": "done", "id": None}
    assert (await wire.add_one(conversation, output))["id"].startswith("fco_")


async def test_reasoning_needs_an_id_or_encrypted_content(wire, conversation):
    reasoning = {"type": "reasoning", "summary": []}
    encrypted = await wire.add_one(conversation, {**reasoning, "encrypted_content": "gAAA"}, **ENCRYPTED)
    identified = await wire.add_one(conversation, {**reasoning, "id": "rs_1"})
    assert re.fullmatch(r"rs_[0-9a-f]{48}", encrypted["id"])
    assert identified == {**reasoning, "id": "rs_1"}
    assert await wire.refusal(conversation, reasoning) == ("missing_required_parameter", "items[0].id")


async def test_id_of_an_item_of_the_conversation_is_refused(wire, conversation):
    await wire.add(conversation, {**CALL, "id": "fc_1"})
    assert await wire.refusal(conversation, {**CALL, "id": "fc_1"}) == (None, "items")


async def test_id_twice_in_a_request_is_refused(wire, conversation):
    again = {**CALL, "id": "fc_1"}
    assert await wire.refusal(conversation, again, again) == (None, "items")
    assert (await wire.list(conversation))[1]["data"] == []


async def test_id_of_another_conversation_is_accepted(wire, conversation):
    other = await wire.new_conversation({**CALL, "id": "fc_1"})
    await wire.add_one(conversation, {**CALL, "id": "fc_1"})
    assert other != conversation


async def test_id_of_a_deleted_item_is_accepted(wire, conversation):
    await wire.add_one(conversation, {**CALL, "id": "fc_1"})
    await wire.delete(f"/conversations/{conversation}/items/fc_1")
    assert (await wire.add_one(conversation, {**CALL, "id": "fc_1"}))["id"] == "fc_1"


@pytest.mark.parametrize("type_field", [{}, {"type": None}, {"type": "item_reference"}])
async def test_item_reference_to_an_item_of_the_conversation_adds_nothing(wire, conversation, type_field):
    known = await wire.add_one(conversation, user("one"))
    _, page = await wire.add(conversation, {**type_field, "id": known["id"]}, user("two"))
    assert len(page["data"]) == 1
    assert await wire.texts(conversation, order="asc") == ["one", "two"]


async def test_item_reference_to_an_unknown_item_is_a_404(wire, conversation):
    status, answer = await wire.add(conversation, user("one"), {"type": "item_reference", "id": "msg_1"})
    assert (status, answer["error"]["message"]) == (404, "Item with id 'msg_1' not found in conversation.")
    assert await wire.texts(conversation) == []


async def test_compaction_trigger_adds_nothing(wire, conversation):
    _, page = await wire.add(conversation, {"type": "compaction_trigger"}, user("one"))
    assert len(page["data"]) == 1


async def test_unknown_type_is_stored_as_given_if_accepted():
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
        assert await wire.refusal(conversation_id, {**CALL, "dream": 1}) == (
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


def without(item, *names):
    return {key: value for key, value in item.items() if key not in names}


def message(*parts, role="user"):
    return {"role": role, "content": list(parts)}


REFUSED = {
    "unknown field of an item": ({**CALL, "foo": 1}, "unknown_parameter", "items[0].foo"),
    "unknown field of a message": ({**user("x"), "foo": 1}, "unknown_parameter", "items[0].foo"),
    "unknown field of a part": (
        message({"type": "input_text", "text": "x", "foo": 1}),
        "unknown_parameter",
        "items[0].content[0].foo",
    ),
    "created_by": ({**CALL, "created_by": "u"}, "unknown_parameter", "items[0].created_by"),
    "created_by of a shell output": (
        {
            "type": "shell_call_output",
            "call_id": "call_1",
            "output": [{"stdout": "", "stderr": "", "outcome": {"type": "timeout"}, "created_by": "u"}],
        },
        "unknown_parameter",
        "items[0].output[0].created_by",
    ),
    "provider_data": ({**CALL, "provider_data": {}}, "unknown_parameter", "items[0].provider_data"),
    "status null": ({**CALL, "status": None}, "unknown_parameter", "items[0].status"),
    "namespace null": ({**CALL, "namespace": None}, "unknown_parameter", "items[0].namespace"),
    "required field null": ({**CALL, "name": None}, "unknown_parameter", "items[0].name"),
    "field of a reference": ({"id": "msg_1", "foo": 1}, "unknown_parameter", "items[0].foo"),
    "reference without id": ({"type": "item_reference"}, "missing_required_parameter", "items[0].id"),
    "field of a trigger": (
        {"type": "compaction_trigger", "foo": 1},
        "unknown_parameter",
        "items[0].foo",
    ),
    "required id missing": (without(SEARCH, "id"), "missing_required_parameter", "items[0].id"),
    "required id null": ({**SEARCH, "id": None}, "missing_required_parameter", "items[0].id"),
    "required field missing": (without(CALL, "name"), "missing_required_parameter", "items[0].name"),
    "required status missing": (
        without(SEARCH, "status"),
        "missing_required_parameter",
        "items[0].status",
    ),
    "required nullable missing": (
        {
            "type": "code_interpreter_call",
            "id": "ci_1",
            "status": "completed",
            "container_id": "c",
            "code": None,
        },
        "missing_required_parameter",
        "items[0].outputs",
    ),
    "content missing": ({"role": "user"}, "missing_required_parameter", "items[0].content"),
    "role missing": (
        {"type": "message", "content": "x"},
        "missing_required_parameter",
        "items[0].role",
    ),
    "neither type nor role": ({"content": "x"}, "missing_required_parameter", "items[0].type"),
    "part without type": (
        message({"text": "x"}),
        "missing_required_parameter",
        "items[0].content[0].type",
    ),
    "unknown type": ({"type": "dream"}, "invalid_value", "items[0].type"),
    "type not a string": ({"type": 1}, "invalid_type", "items[0].type"),
    "list-only role": (message(role="tool"), "invalid_value", "items[0].role"),
    "list-only part": (
        message({"type": "text", "text": "x"}),
        "invalid_value",
        "items[0].content[0].type",
    ),
    "output part of a user": (
        message({"type": "output_text", "text": "x"}),
        "invalid_value",
        "items[0].content[0].type",
    ),
    "unknown status": ({**CALL, "status": "done"}, "invalid_value", "items[0].status"),
    "unknown phase": ({**user("x"), "phase": "last"}, "invalid_value", "items[0].phase"),
    "id with a wrong prefix": ({**CALL, "id": "__fake_id__"}, "invalid_value", "items[0].id"),
    "id with other characters": ({**CALL, "id": "fc_1/2"}, "invalid_value", "items[0].id"),
    "id too long": ({**CALL, "id": "fc_" + "x" * 62}, "string_above_max_length", "items[0].id"),
    "id empty": ({**CALL, "id": ""}, "empty_string", "items[0].id"),
    "id not a string": ({**CALL, "id": 1}, "invalid_type", "items[0].id"),
    "call_id too long": ({**OUTPUT, "call_id": "c" * 65}, "string_above_max_length", "items[0].call_id"),
    "call_id empty": ({**OUTPUT, "call_id": ""}, "empty_string", "items[0].call_id"),
    "field of a wrong type": ({**CALL, "arguments": {}}, "invalid_type", "items[0].arguments"),
    "boolean for a number": (
        {"type": "shell_call_output", "call_id": "c", "output": [], "max_output_length": True},
        "invalid_type",
        "items[0].max_output_length",
    ),
    "content of a wrong type": ({"role": "user", "content": 1}, "invalid_type", "items[0].content"),
    "summary of a wrong type": (
        {**REASONING, "summary": [{"type": "text", "text": "x"}]},
        "invalid_value",
        "items[0].summary[0].type",
    ),
    "item not an object": ("Hello", "invalid_type", "items[0]"),
}


async def test_invalid_item_is_refused(wire, conversation):
    refusals = {name: await wire.refusal(conversation, item) for name, (item, *_) in REFUSED.items()}
    assert refusals == {name: (code, param) for name, (_, code, param) in REFUSED.items()}


TEXT = 10_485_760
"""The schema's limit of characters in a text or an output."""


def shell_output(**texts):
    return {
        "type": "shell_call_output",
        "call_id": "c",
        "output": [{"stdout": "", "stderr": "", "outcome": {"type": "timeout"}, **texts}],
    }


def patch(kind, diff):
    operation = {"type": kind, "path": "p", "diff": diff}
    return {"type": "apply_patch_call", "call_id": "c", "status": "completed", "operation": operation}


def program(**fields):
    return {"type": "program", "id": "cm_1", "call_id": "c", "code": "", "fingerprint": "", **fields}


LIMITED = {
    "content[0].text": (TEXT, lambda text: message({"type": "input_text", "text": text})),
    "output": (TEXT, lambda text: {**OUTPUT, "output": text}),
}

LIMITED_TOO = {
    "content[0].text of a string": (TEXT, user),
    "content[1].text of an answer": (
        TEXT,
        lambda text: message(
            {"type": "output_text", "text": "x"}, {"type": "input_text", "text": text}, role="assistant"
        ),
    ),
    "output[0].text": (TEXT, lambda text: {**OUTPUT, "output": [{"type": "input_text", "text": text}]}),
    "output[0].stdout": (TEXT, lambda text: shell_output(stdout=text)),
    "output[0].stderr": (TEXT, lambda text: shell_output(stderr=text)),
    "operation.diff": (TEXT, lambda text: patch("create_file", text)),
    "operation.diff of an update": (TEXT, lambda text: patch("update_file", text)),
    "output of a patch": (
        TEXT,
        lambda text: {
            "type": "apply_patch_call_output",
            "call_id": "c",
            "status": "failed",
            "output": text,
        },
    ),
    "code": (TEXT, lambda text: program(code=text)),
    "fingerprint": (TEXT, lambda text: program(id="cm_2", fingerprint=text)),
    "result": (
        TEXT,
        lambda text: {
            "type": "program_output",
            "id": "progo_1",
            "call_id": "c",
            "result": text,
            "status": "completed",
        },
    ),
    "encrypted_content": (
        20_971_520,
        lambda text: {"type": "compaction", "encrypted_content": text},
    ),
    "content[0].image_url": (
        20_971_520,
        lambda text: message({"type": "input_image", "image_url": text}),
    ),
    "content[0].file_data": (
        73_400_320,
        lambda text: message({"type": "input_file", "file_data": text}),
    ),
    "name": (128, lambda text: {**OUTPUT, "name": text}),
    "namespace": (64, lambda text: {**OUTPUT, "namespace": text}),
}


async def check_limits(wire, conversation, limited):
    for name, (limit, item_with) in limited.items():
        param = f"items[0].{name.partition(' ')[0]}"
        assert await wire.refusal(conversation, item_with("x" * (limit + 1))) == (
            "string_above_max_length",
            param,
        )
        status, _ = await wire.add(conversation, item_with("x" * limit))
        assert (name, status) == (name, 200)


async def test_text_over_the_limit_of_the_schema_is_refused(wire, conversation):
    await check_limits(wire, conversation, LIMITED)


@pytest.mark.exhaustive
async def test_any_field_over_the_limit_of_the_schema_is_refused(wire, conversation):
    await check_limits(wire, conversation, LIMITED_TOO)


async def test_param_is_the_path_in_the_request(wire, conversation):
    assert await wire.refusal(conversation, user("x"), {**CALL, "foo": 1}) == (
        "unknown_parameter",
        "items[1].foo",
    )
    assert await wire.texts(conversation) == []


async def test_refused_items_leave_no_conversation_behind(wire, emulator):
    """The store refuses them, in the middle of its transaction."""
    twice = [{**CALL, "id": "fc_1"}] * 2
    status, _ = await wire.post("/conversations", {"items": twice})
    rows = emulator._store._connection.execute("SELECT count(*) FROM conversations").fetchone()
    assert (status, rows) == (400, (0,))


async def test_wrong_id_prefix_has_the_wording_of_the_api(wire, conversation):
    _, answer = await wire.add(conversation, {**CALL, "id": "__fake_id__"})
    expected = "Invalid 'items[0].id': '__fake_id__'. Expected an ID that begins with 'fc'."
    assert answer["error"]["message"] == expected


async def test_unknown_status_lists_the_supported_values(wire, conversation):
    _, answer = await wire.add(conversation, {**CALL, "status": "done"})
    expected = "Invalid value: 'done'. Supported values are: 'in_progress', 'completed', and 'incomplete'."
    assert answer["error"]["message"] == expected


async def test_21_items_are_refused(wire, conversation):
    assert await wire.refusal(conversation, *users(21)) == ("array_above_max_length", "items")
    assert await wire.texts(conversation) == []


async def test_invalid_body_is_refused(wire, conversation):
    for body, code, param in (
        ({}, "missing_required_parameter", "items"),
        ({"items": None}, "invalid_type", "items"),
        ({"items": {}}, "invalid_type", "items"),
        ({"items": [], "metadata": {}}, "unknown_parameter", "metadata"),
        ([], "invalid_type", "body"),
    ):
        status, answer = await wire.post(f"/conversations/{conversation}/items", body)
        assert (400, code, param) == (status, answer["error"]["code"], answer["error"]["param"])
