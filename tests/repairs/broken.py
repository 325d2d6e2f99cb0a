"""Conversations after which the API refuses the next response, or that a model cannot understand."""

from __future__ import annotations

import openai


def user(text: str = "?") -> dict:
    return {"role": "user", "content": text}


def assistant(text: str = "!") -> dict:
    return {"role": "assistant", "content": text}


def call(key: str, call_type: str = "function_call") -> dict:
    given = "arguments" if call_type == "function_call" else "input"
    return {"type": call_type, "call_id": key, "name": "look_up", given: "{}"}


def output(key: str, call_type: str = "function_call") -> dict:
    return {"type": f"{call_type}_output", "call_id": key, "output": f"output of {key}"}


def thought(number: int, encrypted: str | None = None) -> dict:
    item = {"type": "reasoning", "id": f"rs_{number:048x}", "summary": []}
    return {**item, "encrypted_content": encrypted} if encrypted else item


CUSTOM = "custom_tool_call"

COMPUTER = {
    "type": "computer_call",
    "id": f"cu_{1:048x}",
    "call_id": "screen",
    "action": {"type": "wait"},
    "pending_safety_checks": [],
    "status": "completed",
}

APPROVAL = {
    "type": "mcp_approval_request",
    "id": f"mcpr_{1:048x}",
    "server_label": "maps",
    "name": "find",
    "arguments": "{}",
}

BROKEN = {
    "open call": [user(), call("a")],
    "open call after reasoning": [user(), thought(1), call("a")],
    "open calls made together": [user(), thought(1), call("a"), call("b"), call("c", CUSTOM), output("b")],
    "open call before a question": [user(), call("a"), user()],
    "open call before an answered question": [user(), thought(1), call("a"), user(), assistant()],
    "open call before an answer": [user(), call("a"), assistant()],
    "open call of a first turn": [call("a"), user(), assistant()],
    "output of another type": [user(), call("a"), output("a", CUSTOM), assistant()],
    "output without call": [user(), output("a"), assistant()],
    "output before its call": [user(), output("a"), call("a"), assistant()],
    "open calls of one call_id": [user(), call("a"), call("a"), output("a"), user(), call("a")],
    "second output": [user(), call("a"), output("a"), output("a"), assistant()],
    "reasoning at the end": [user(), assistant(), user(), thought(1)],
    "reasoning before a question": [user(), thought(1), thought(2, "secret"), user(), assistant()],
    "everything": [
        *(user(), thought(1), call("a"), output("x"), call("b"), user(), thought(2), user()),
        *(call("c"), output("c"), output("c"), thought(3, "s"), call("d", CUSTOM), COMPUTER, APPROVAL),
    ],
}
"""Histories, each with something to repair."""

SOUND = [user("Before"), call("s"), output("s"), assistant("All is well")]


async def next_response(client: openai.AsyncOpenAI, conversation_id: str) -> int:
    """Return the status of the next response on a conversation."""
    try:
        await client.responses.create(model="emulated", input="And now?", conversation=conversation_id)
    except openai.APIStatusError as error:
        return error.status_code
    return 200
