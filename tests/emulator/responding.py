"""Helpers that create responses on the emulator."""

import asyncio

MODEL = "emulated"
ADD = {
    "type": "function",
    "name": "add",
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
}
CALL = {"type": "function_call", "name": "add", "arguments": {"a": 1}, "call_id": "call_1"}


def output_of(call_id, output="1"):
    return {"type": "function_call_output", "call_id": call_id, "output": output}


async def ask(wire, given="Hello", **options):
    """Create a response and return it; it must be accepted."""
    status, body = await wire.post("/responses", {"model": MODEL, "input": given, **options})
    assert status == 200, body
    return body


async def refused(wire, *, given="Hello", **options):
    """Send a request that must be refused, and return the status, code and param of the error."""
    status, body = await wire.post("/responses", {"model": MODEL, "input": given, **options})
    assert status >= 400, body
    return status, body["error"]["code"], body["error"]["param"]


def text_of(response):
    """Return the text of a response with a single message of a single part."""
    (message,) = response["output"]
    (part,) = message["content"]
    return part["text"]


async def items_of(wire, conversation_id):
    """Return the items of a conversation, oldest first."""
    _, page = await wire.list(conversation_id, order="asc", limit=100)
    return page["data"]


async def added_when_free(wire, conversation_id, item, *, within=20):
    """Add an item as soon as the conversation is unlocked."""
    await asyncio.wait_for(_added(wire, conversation_id, item), within)


async def _added(wire, conversation_id, item):
    statuses = set()
    while 200 not in statuses:
        statuses.add((await wire.add(conversation_id, item))[0])
    assert statuses <= {200, 400}
