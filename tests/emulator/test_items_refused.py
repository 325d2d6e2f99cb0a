"""What a create refuses, and that a refused request stores nothing."""

import pytest

from .wire import user, users

CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "done"}
SEARCH = {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["x"]}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}


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


@pytest.mark.parametrize(("item", "code", "param"), REFUSED.values(), ids=REFUSED)
async def test_item_is_refused(wire, conversation, item, code, param):
    assert await wire.refusal(conversation, item) == (code, param)


async def test_param_names_the_place_in_the_request(wire, conversation):
    assert await wire.refusal(conversation, user("x"), {**CALL, "foo": 1}) == (
        "unknown_parameter",
        "items[1].foo",
    )


async def test_one_refused_item_refuses_the_whole_request(wire, conversation):
    await wire.refusal(conversation, user("x"), {**CALL, "foo": 1})
    assert await wire.texts(conversation) == []


async def test_refused_items_leave_no_conversation_behind(wire, emulator):
    """Also where the refusal comes from the store, in the middle of its transaction."""
    twice = [{**CALL, "id": "fc_1"}] * 2
    status, _ = await wire.post("/conversations", {"items": twice})
    rows = emulator._store._connection.execute("SELECT count(*) FROM conversations").fetchone()
    assert (status, rows) == (400, (0,))


async def test_wrong_id_prefix_has_the_wording_of_the_api(wire, conversation):
    _, answer = await wire.add(conversation, {**CALL, "id": "__fake_id__"})
    expected = "Invalid 'items[0].id': '__fake_id__'. Expected an ID that begins with 'fc'."
    assert answer["error"]["message"] == expected


async def test_unknown_status_names_the_values_allowed(wire, conversation):
    _, answer = await wire.add(conversation, {**CALL, "status": "done"})
    expected = "Invalid value: 'done'. Supported values are: 'in_progress', 'completed', and 'incomplete'."
    assert answer["error"]["message"] == expected


async def test_21_items_are_refused(wire, conversation):
    assert await wire.refusal(conversation, *users(21)) == ("array_above_max_length", "items")
    assert await wire.texts(conversation) == []


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "items"),
        ({"items": None}, "invalid_type", "items"),
        ({"items": {}}, "invalid_type", "items"),
        ({"items": [], "metadata": {}}, "unknown_parameter", "metadata"),
        ([], "invalid_type", "body"),
    ],
    ids=["no items", "null", "object", "another field", "array"],
)
async def test_body_of_a_wrong_form_is_refused(wire, conversation, body, code, param):
    status, answer = await wire.post(f"/conversations/{conversation}/items", body)
    assert (400, code, param) == (status, answer["error"]["code"], answer["error"]["param"])
