"""POST /responses/compact: what replaces a history."""

import pytest

from .responding import CALL, MODEL, ask, output_of, text_of
from .wire import user

CALLED = [CALL | {"arguments": "{}"}, output_of("call_1", "one")]
ASSISTANT = {"role": "assistant", "content": "Hi there!"}


async def compact(wire, **body):
    """Compact items; the request must be accepted."""
    status, answer = await wire.post("/responses/compact", {"model": MODEL, **body})
    assert status == 200, answer
    return answer


def kinds(items):
    return [(item["type"], item.get("role")) for item in items]


async def test_messages_of_the_user_and_one_item_remain(wire):
    answer = await compact(wire, input=[user("Hello"), ASSISTANT, user("Well?"), *CALLED])
    assert ["id", "object", "created_at", "output", "usage"] == list(answer)
    assert "response.compaction" == answer["object"]
    assert [("message", "user"), ("message", "user"), ("compaction", None)] == kinds(answer["output"])
    assert ["Hello", "Well?"] == [item["content"][0]["text"] for item in answer["output"][:2]]
    usage = answer["usage"]
    assert usage["input_tokens"] + usage["output_tokens"] == usage["total_tokens"]


async def test_output_is_the_input_of_a_response_that_reads_it_back(emulator, wire):
    """Also after it was compacted again."""
    once = await compact(wire, input=[user("Hello"), ASSISTANT, *CALLED])
    twice = await compact(wire, input=[*once["output"], {"role": "assistant", "content": "Bye!"}])
    seen = []
    emulator.reply(lambda request: seen.append(request.compacted_items) or "Done.", times=2)
    for answer in (once, twice):
        assert "Done." == text_of(await ask(wire, [*answer["output"], user("And?")]))
    first = [("message", "assistant"), ("function_call", None), ("function_call_output", None)]
    assert [first, [*first, ("message", "assistant")]] == [kinds(items) for items in seen]


@pytest.mark.parametrize("content", ["gAAAAAB", "not Base64!", "W10=", "WzFd", "e30=", "W10"])
async def test_compaction_item_of_another_server_replaces_nothing(emulator, wire, content):
    seen = []
    emulator.reply(lambda request: seen.append(request.compacted_items) or "Done.")
    await ask(wire, [{"type": "compaction", "encrypted_content": content}, user("And?")])
    assert [()] == seen


async def test_items_of_the_previous_response_are_compacted(wire):
    previous = await ask(wire, "Hello")
    answer = await compact(wire, previous_response_id=previous["id"])
    assert [("message", "user"), ("compaction", None)] == kinds(answer["output"])
    assert answer["usage"]["input_tokens"] == 4


async def test_compaction_is_not_stored(wire):
    answer = await compact(wire, input="Hello")
    assert 404 == (await wire.get(f"/responses/{answer['id']}"))[0]


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"input": "Hello", "stream": True}, "unknown_parameter", "stream"),
        ({"input": "Hello", "conversation": "conv_1"}, "unknown_parameter", "conversation"),
        ({"input": "Hello", "model": None}, "missing_required_parameter", "model"),
        ({}, "missing_required_parameter", None),
        ({"input": [output_of("call_9")]}, None, "input"),
        ({"previous_response_id": "resp_1"}, "previous_response_not_found", "previous_response_id"),
    ],
)
async def test_invalid_request_is_a_400(wire, body, code, param):
    status, answer = await wire.post("/responses/compact", {"model": MODEL, **body})
    assert (400, code, param) == (status, answer["error"]["code"], answer["error"]["param"])
