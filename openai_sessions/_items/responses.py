"""The items that a response adds to a conversation: its input, and the output that follows it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from openai_sessions._items.types import Item

REBUILT_KEY = "openai_sessions.rebuilt"
"""The key in the metadata of a response that was rebuilt from its items."""

_CLIENT_MADE = frozenset(
    {
        *("additional_tools", "compaction_trigger", "configuration_update", "item_reference"),
        *("apply_patch_call_output", "computer_call_output", "custom_tool_call_output"),
        *("function_call_output", "local_shell_call_output", "mcp_approval_response"),
    }
)
"""The types of items that only clients make."""

_OUTPUTS_WITH_CALL_ID = frozenset(
    {
        *("apply_patch_call_output", "computer_call_output", "custom_tool_call_output"),
        *("function_call_output", "local_shell_call_output", "shell_call_output", "tool_search_output"),
    }
)


def input_items(given: object) -> tuple[Item, ...] | None:
    """Return the items that the `input` of a request adds to a conversation; None if it is malformed.

    A string is one user message. References add nothing.
    """
    if isinstance(given, str):
        return ({"role": "user", "content": given},)
    if given is None:
        return ()
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        return None
    return tuple(item for item in given if item.get("type") != "item_reference")


def answered_calls(items: Sequence[Item]) -> frozenset[str]:
    """Return the call ids that the outputs among input items answer."""
    outputs = (item for item in items if item.get("type") in _OUTPUTS_WITH_CALL_ID)
    return frozenset(item["call_id"] for item in outputs if isinstance(item.get("call_id"), str))


def calls_in(output: Sequence[Item]) -> frozenset[str]:
    """Return the call ids in the output of a response."""
    return frozenset(item["call_id"] for item in output if isinstance(item.get("call_id"), str))


def output_at(listed: Sequence[Item], start: int) -> list[Item]:
    """Return the items from a position on that one response may have put out."""
    output: list[Item] = []
    for item in listed[start:]:
        if not _may_be_output(item, output):
            break
        output.append(item)
    return output


def _may_be_output(item: Item, before: Sequence[Item]) -> bool:
    kind = item.get("type") or "message"
    if kind == "message":
        return item.get("role") == "assistant"
    if kind == "shell_call_output":  # of a container of OpenAI's
        return any(_runs_remotely(call) and call.get("call_id") == item.get("call_id") for call in before)
    if kind == "tool_search_output":
        return item.get("execution") == "server"
    return kind not in _CLIENT_MADE


def _runs_remotely(call: Item) -> bool:
    environment = call.get("environment")
    kind = environment.get("type") if isinstance(environment, dict) else None
    return call.get("type") == "shell_call" and isinstance(kind, str) and kind.startswith("container")


def rebuilt_response(
    body: Mapping[str, Any], conversation_id: str, response_id: str, output: Sequence[Item]
) -> Item:
    """Return a response object made from the request and the items that the response has stored.

    What the items do not show is unknown: the usage is null, and the id is empty unless it is given.
    """
    metadata = body.get("metadata") if isinstance(body.get("metadata"), dict) else {}
    second = int(time.time())
    return {
        "id": response_id,
        "object": "response",
        "created_at": second,
        "status": "completed",
        "background": bool(body.get("background")),
        "completed_at": second,
        "conversation": {"id": conversation_id},
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": {**(metadata or {}), REBUILT_KEY: "true"},
        "model": body.get("model") or "",
        "output": list(output),
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
        "service_tier": body.get("service_tier"),
        "store": body.get("store", True),
        "temperature": body.get("temperature"),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": list(body.get("tools") or ()),
        "top_p": body.get("top_p"),
        "truncation": body.get("truncation") or "disabled",
        "usage": None,
    }
