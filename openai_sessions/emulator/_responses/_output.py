"""The output of a response: the items that a scripted reply stands for."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from openai_sessions.emulator._errors import ApiError, JsonObject
from openai_sessions.emulator._item_schema import ITEM_TYPES
from openai_sessions.emulator._items import NewId, prepare_items
from openai_sessions.emulator._message_schema import OUTPUT_PARTS

_CALLS_OF_THE_APPLICATION = frozenset(
    {
        "apply_patch_call",
        "computer_call",
        "custom_tool_call",
        "function_call",
        "local_shell_call",
        "shell_call",
    }
)
"""The calls that an application answers by their `call_id`."""

OUTPUT_TYPES = (
    "message",
    *sorted(_CALLS_OF_THE_APPLICATION),
    "code_interpreter_call",
    "compaction",
    "file_search_call",
    "image_generation_call",
    "mcp_approval_request",
    "mcp_call",
    "mcp_list_tools",
    "reasoning",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
)
"""The types of items that a model puts out."""


def output_items(reply: Any, *, new_id: NewId) -> tuple[JsonObject, ...]:
    """Return the output that a reply stands for, in the form in which items are listed.

    Args:
        reply: The text of a message; an item; or a list of items and texts. What an item lacks is filled in:
            its id, its `call_id`, the role and parts of a message, `"{}"` for arguments, an empty summary.
            Arguments may be a mapping.
        new_id: Makes a fresh id from a prefix.

    Raises:
        ValueError: The reply is of another form, or names its first item that no model puts out.
    """
    alone = isinstance(reply, str | Mapping)
    if not alone and not isinstance(reply, Sequence):
        raise ValueError(f"A reply is a text, an item or a list of items, not {_kind(reply)}.")
    items = [
        _completed(each, new_id=new_id, name="The reply" if alone else f"Item {index} of the reply")
        for index, each in enumerate([reply] if alone else reply)
    ]
    try:
        return prepare_items(items, new_id=new_id).items
    except ApiError as error:
        raise ValueError(f"The reply cannot be put out: {error.message}") from error


def _completed(given: Any, *, new_id: NewId, name: str) -> JsonObject:
    if isinstance(given, str):
        given = {"type": "message", "content": given}
    if not isinstance(given, Mapping):
        raise ValueError(f"{name} is {_kind(given)}, not a text or an item.")  # noqa: TRY004 - as promised
    try:
        item: JsonObject = json.loads(json.dumps(dict(given)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is not JSON: {error}.") from error
    item.setdefault("type", "message" if "content" in item else None)
    if item["type"] not in OUTPUT_TYPES:
        raise ValueError(f"{name} has the type {item['type']!r}; a model puts out {', '.join(OUTPUT_TYPES)}.")
    return _filled(item, new_id=new_id, name=name)


def _filled(item: JsonObject, *, new_id: NewId, name: str) -> JsonObject:
    item_type = item["type"]
    if item_type == "message":
        return _message(item, new_id=new_id, name=name)
    item.setdefault("id", new_id(ITEM_TYPES[item_type].prefix))
    if item_type in _CALLS_OF_THE_APPLICATION:
        item.setdefault("call_id", f"call_{secrets.token_hex(12)}")
    if item_type == "function_call":
        arguments = item.get("arguments", {})
        compact = json.dumps(arguments, separators=(",", ":")) if isinstance(arguments, dict) else arguments
        item["arguments"] = compact
    if item_type == "reasoning":
        item.setdefault("summary", [])
    return item


def _message(item: JsonObject, *, new_id: NewId, name: str) -> JsonObject:
    if item.setdefault("role", "assistant") != "assistant":
        raise ValueError(f"{name} is a message of {item['role']!r}; a model writes as 'assistant'.")
    if isinstance(item.get("content"), str):
        item["content"] = [{"type": "output_text", "text": item["content"]}]
    for part in item.get("content") or ():
        if not isinstance(part, dict) or part.get("type") not in OUTPUT_PARTS:
            raise ValueError(f"{name} has a part that is none of {', '.join(OUTPUT_PARTS)}.")
    item.setdefault("id", new_id("msg"))
    return item


def _kind(value: object) -> str:
    return "None" if value is None else f"of the type {type(value).__name__}"
