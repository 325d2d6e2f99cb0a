"""What a person is shown of an item: who says what, as plain text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

MAX_CHARACTERS = 5_000
"""How much of an item is shown, unless all of it is asked for."""

_HIDDEN = ("type", "id", "status", "call_id")


@dataclass(frozen=True, slots=True)
class ShownItem:
    """An item for people.

    Attributes:
        label: Who or what: the role of a message, `call`, `output`, `reasoning`, or the type of the item.
        text: What it says, as it was given: it may hold anything.
        omitted: How many more characters there are.
    """

    label: str
    text: str
    omitted: int = 0


def shown_item(item: Mapping[str, Any], *, full: bool = False) -> ShownItem:
    """Return what is shown of an item in replay form; unknown types are shown as JSON.

    Args:
        item: The item. It is shown as well as it can be whatever it holds.
        full: Show all of it; otherwise its first 5,000 characters.
    """
    shown = _PRESENTATIONS.get(_type_of(item), _as_json)(item)
    omitted = 0 if full else max(0, len(shown.text) - MAX_CHARACTERS)
    return replace(shown, text=shown.text[:MAX_CHARACTERS], omitted=omitted) if omitted else shown


def starts_turn(item: Mapping[str, Any]) -> bool:
    """Tell whether an item is a message of the user."""
    return _type_of(item) == "message" and item.get("role") == "user"


def _type_of(item: Mapping[str, Any]) -> str:
    return str(item.get("type") or "message")


def _message(item: Mapping[str, Any]) -> ShownItem:
    text = _text_of(item.get("content"))
    unfinished = f" [{item['status']}]" if item.get("status") not in (None, "completed") else ""
    return ShownItem(str(item.get("role")), f"{text}{unfinished}")


def _function_call(item: Mapping[str, Any]) -> ShownItem:
    return ShownItem("call", f"{item.get('name')}({_text_of(item.get('arguments'))})")


def _custom_tool_call(item: Mapping[str, Any]) -> ShownItem:
    return ShownItem("call", f"{item.get('name')}({_text_of(item.get('input'))})")


def _call_output(item: Mapping[str, Any]) -> ShownItem:
    return ShownItem("output", _text_of(item.get("output")))


def _mcp_call(item: Mapping[str, Any]) -> ShownItem:
    call = f"{item.get('server_label')}.{item.get('name')}({_text_of(item.get('arguments'))})"
    results = [item[key] for key in ("output", "error") if item.get(key) is not None]
    return ShownItem("call", "\n".join([call, *map(_text_of, results)]))


def _reasoning(item: Mapping[str, Any]) -> ShownItem:
    said = _text_of(item.get("summary") or item.get("content") or [])
    return ShownItem("reasoning", said or "[no summary]")


def _as_json(item: Mapping[str, Any]) -> ShownItem:
    kept = {key: value for key, value in item.items() if key not in _HIDDEN and value is not None}
    return ShownItem(_type_of(item), json.dumps(kept, ensure_ascii=False) if kept else "")


_PRESENTATIONS: dict[str, Callable[[Mapping[str, Any]], ShownItem]] = {
    "message": _message,
    "function_call": _function_call,
    "function_call_output": _call_output,
    "custom_tool_call": _custom_tool_call,
    "custom_tool_call_output": _call_output,
    "mcp_call": _mcp_call,
    "reasoning": _reasoning,
}


def _text_of(content: Any) -> str:
    """Return the text of a string or of a list of parts; anything else as JSON."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(map(_text_of_part, content))
    return "" if content is None else json.dumps(content, ensure_ascii=False)


def _text_of_part(part: Any) -> str:
    if not isinstance(part, Mapping):
        return json.dumps(part, ensure_ascii=False)
    for key in ("text", "refusal"):
        if isinstance(part.get(key), str):
            return str(part[key])
    named = [str(part[key]) for key in ("filename", "file_id", "image_url", "file_url") if part.get(key)]
    kind = str(part.get("type")).removeprefix("input_")
    return f"[{' '.join([kind, *map(_brief, named)])}]"


def _brief(name: str) -> str:
    """Say of a file that is given within its own URL what it is, and how long."""
    head, comma, data = name.partition(",")
    if not (comma and head.startswith("data:")):
        return name
    return f"{head.removeprefix('data:').removesuffix(';base64')}, {len(data):,} characters"
