"""Requests for responses that are refused: with which error, and without a trace."""

import pytest

from .responding import ADD, CALL, MODEL, ask, items_of, output_of, refused
from .wire import user


@pytest.mark.parametrize(
    ("options", "code", "param"),
    [
        ({"modell": "x"}, "unknown_parameter", "modell"),
        ({"type": "x"}, "unknown_parameter", "type"),
        ({"model": None}, "invalid_type", "model"),
        ({"model": 1}, "invalid_type", "model"),
        ({"model": ""}, "empty_string", "model"),
        ({"given": None}, "invalid_type", "input"),
        ({"given": ""}, "missing_required_parameter", None),
        ({"given": []}, "missing_required_parameter", None),
        ({"given": [1]}, "invalid_type", "input[0]"),
        ({"given": [{"role": "user", "content": "x", "mood": 1}]}, "unknown_parameter", "input[0].mood"),
        ({"given": [{"role": "robot", "content": "x"}]}, "invalid_value", "input[0].role"),
        ({"given": [{"type": "telepathy"}]}, "invalid_value", "input[0].type"),
        ({"conversation": 1}, "invalid_type", "conversation"),
        ({"conversation": {}}, "missing_required_parameter", "conversation.id"),
        ({"conversation": "thread_1"}, "invalid_value", "conversation"),
        ({"temperature": "hot"}, "invalid_type", "temperature"),
        ({"temperature": 2.5}, "decimal_above_max_value", "temperature"),
        ({"top_p": -0.1}, "decimal_below_min_value", "top_p"),
        ({"max_output_tokens": 15}, "integer_below_min_value", "max_output_tokens"),
        ({"top_logprobs": 21}, "integer_above_max_value", "top_logprobs"),
        ({"stream": "yes"}, "invalid_type", "stream"),
        ({"truncation": "often"}, "invalid_value", "truncation"),
        ({"tool_choice": "maybe"}, "invalid_value", "tool_choice"),
        ({"tools": [{}]}, "missing_required_parameter", "tools[0].type"),
        ({"tools": [{"type": 1}]}, "invalid_type", "tools[0].type"),
        ({"tools": [ADD, {"type": "function"}]}, "missing_required_parameter", "tools[1].name"),
        ({"include": ["everything"]}, "invalid_value", "include[0]"),
        ({"metadata": {"topic": 1}}, "invalid_type", "metadata.topic"),
        ({"background": True}, "unsupported_parameter", "background"),
        ({"prompt": {"id": "pmpt_1"}}, "unsupported_parameter", "prompt"),
        ({"moderation": {"model": "omni"}}, "unsupported_parameter", "moderation"),
        ({"previous_response_id": "resp_1"}, "previous_response_not_found", "previous_response_id"),
        (
            {"previous_response_id": "resp_1", "conversation": "conv_1"},
            "mutually_exclusive_parameters",
            None,
        ),
    ],
)
async def test_wrong_request_is_a_400(wire, options, code, param):
    assert (400, code, param) == await refused(wire, **options)


@pytest.mark.parametrize("missing", ["model", "input"])
async def test_missing_field_is_named(wire, missing):
    body = {"model": MODEL, "input": "Hello"}
    del body[missing]
    status, answer = await wire.post("/responses", body)
    assert (400, f"Missing required parameter: '{missing}'.") == (status, answer["error"]["message"])


@pytest.mark.parametrize(
    "options", [{"background": False}, {"conversation": None, "previous_response_id": None}]
)
async def test_what_asks_for_nothing_is_served(wire, options):
    assert "completed" == (await ask(wire, **options))["status"]


async def test_unknown_conversation_is_a_404(wire, conversation):
    assert (404, None, None) == await refused(wire, conversation="conv_unknown")
    await wire.delete(f"/conversations/{conversation}")
    assert (404, None, None) == await refused(wire, conversation=conversation)


async def test_locked_conversation_is_a_400(emulator, wire, conversation):
    with emulator.locked(conversation):
        assert (400, "conversation_locked", None) == await refused(wire, conversation=conversation)
    await ask(wire, conversation=conversation)
    assert 2 == len(await items_of(wire, conversation))


async def test_call_without_its_output_is_refused(emulator, wire, conversation):
    """In the words of the API; the conversation goes on once the output is there."""
    emulator.reply(CALL)
    emulator.reply("Well.")
    await ask(wire, conversation=conversation)
    status, answer = await wire.post(
        "/responses", {"model": MODEL, "input": "And?", "conversation": conversation}
    )
    error = answer["error"]
    assert (400, "input", None) == (status, error["param"], error["code"])
    assert "No tool output found for function call call_1." == error["message"]
    await ask(wire, [output_of("call_1"), user("And?")], conversation=conversation)


@pytest.mark.parametrize(
    "given",
    [
        [output_of("call_9")],
        [output_of("call_9"), {**CALL, "arguments": "{}", "call_id": "call_9"}],
        [
            {"type": "custom_tool_call", "call_id": "call_9", "name": "x", "input": ""},
            output_of("call_9"),
        ],
    ],
    ids=["no call", "call behind it", "call of another kind"],
)
async def test_output_without_its_call_is_refused(wire, given):
    status, answer = await wire.post("/responses", {"model": MODEL, "input": given})
    assert (400, "No tool call found for function call output with call_id call_9.") == (
        status,
        answer["error"]["message"],
    )


async def test_item_that_is_there_already_is_refused(wire, conversation):
    response = await ask(wire, conversation=conversation)
    again = response["output"]
    assert (400, None, "input") == await refused(wire, given=again, conversation=conversation)
    assert (400, None, "input") == await refused(wire, given=again, previous_response_id=response["id"])
    assert (400, None, "input") == await refused(wire, given=again * 2)
    await ask(wire, again)


async def test_reference_to_nothing_is_a_404(wire, conversation):
    given = [{"type": "item_reference", "id": "msg_unknown"}]
    assert (404, None, None) == await refused(wire, given=given, conversation=conversation)


@pytest.mark.parametrize(
    "options",
    [{"given": [{"role": "robot"}]}, {"temperature": 9}, {"given": [output_of("call_9")]}, {"stream": 1}],
)
async def test_refused_request_adds_nothing_and_uses_no_reply(emulator, wire, conversation, options):
    emulator.reply("Hello")
    await refused(wire, **{"conversation": conversation, **options})
    assert ([], 1) == (await items_of(wire, conversation), emulator.unused_replies)
    await ask(wire, conversation=conversation)


async def test_stored_response_is_not_streamed_again(wire):
    response = await ask(wire)
    status, answer = await wire.get(f"/responses/{response['id']}", stream="true")
    assert (400, "stream") == (status, answer["error"]["param"])


@pytest.mark.parametrize("path", ["/responses/resp_unknown", "/responses/resp_unknown/input_items"])
async def test_unknown_response_is_a_404(wire, path):
    status, answer = await wire.get(path)
    assert (404, "Response with id 'resp_unknown' not found.") == (status, answer["error"]["message"])


@pytest.mark.parametrize("path", ["/responses/compact", "/responses/resp_1/cancel"])
async def test_other_operations_are_not_there(wire, path):
    assert (await wire.post(path, {}))[0] in {404, 405}
