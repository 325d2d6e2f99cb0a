"""When a written item and a stored one are the same."""

from __future__ import annotations

from typing import Any

from openai_sessions._items import replay_form
from openai_sessions._types import Item

_DEFAULTS: dict[str, Any] = {"detail": "auto", "annotations": [], "logprobs": []}
"""What the API fills in for fields of a part that were not written."""

_PARTS = frozenset(
    {
        "message.content",
        "function_call_output.output",
        "custom_tool_call_output.output",
        "computer_call_output.output",
        "web_search_call.action",
    }
)
"""Fields with a schema of their own; all others are compared to the letter."""

_GATED = frozenset(
    {
        "message.content.image_url",
        "message.content.logprobs",
        "computer_call_output.output.image_url",
        "code_interpreter_call.outputs",
        "file_search_call.results",
        "web_search_call.action.sources",
        "reasoning.encrypted_content",
    }
)
"""Fields that the API leaves out of an answer unless `include` asks for them."""


def same_item(written: Item, stored: Item) -> bool:
    """Tell whether `stored` is what the API makes of `written`.

    Both are compared in replay form. Defaults that the API fills in, null for absent, an id that one
    side lacks, and fields that the stored side lacks because `include` did not ask for them, make no
    difference.
    """
    left, right = replay_form(written), replay_form(stored)
    item_type = str(left.get("type") or "message")
    return _same_fields(left, right, item_type)


def _same_fields(left: Item, right: Item, path: str) -> bool:
    return all(
        _same_field(key, left.get(key), right.get(key), f"{path}.{key}") for key in left.keys() | right.keys()
    )


def _same_field(key: str, left: Any, right: Any, path: str) -> bool:
    if right is None and (path in _GATED or key == "id"):
        return True
    if left is None and key == "id":
        return True
    default = _DEFAULTS.get(key) if path.count(".") > 1 else None
    left, right = (default if value is None else value for value in (left, right))
    if path in _PARTS and isinstance(left, dict) and isinstance(right, dict):
        return _same_fields(left, right, path)
    if path in _PARTS and isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(
            _same_part(*parts, path) for parts in zip(left, right, strict=True)
        )
    return bool(left == right)


def _same_part(left: Any, right: Any, path: str) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return _same_fields(left, right, path)
    return bool(left == right)
