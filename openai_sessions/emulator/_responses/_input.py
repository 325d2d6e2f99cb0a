"""The input of a response beside what came before it: what a model would be shown, and what cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from openai_sessions.emulator._errors import ApiError, JsonObject, duplicate_item, item_not_found
from openai_sessions.emulator._items import Addition, NewId, prepare_items
from openai_sessions.emulator._responses._errors import call_missing, output_missing

_CALLS = {"function_call": "function call", "custom_tool_call": "custom tool call"}
_OUTPUTS = {"function_call_output": "function call", "custom_tool_call_output": "custom tool call"}
"""The types that belong together by their `call_id`, and how errors name them."""


def prepare_input(
    items: Sequence[Any], *, history: Sequence[JsonObject], new_id: NewId, accept_unknown_types: bool
) -> Addition:
    """Check the input of a response and bring it into the form in which items are listed.

    Args:
        items: The items of the request.
        history: What comes before them: all items of the conversation, or those of the previous response.
        new_id: Makes a fresh id from a prefix.
        accept_unknown_types: Whether items of other types than the public document's are taken as they come.

    Raises:
        ApiError: 400 for an item that is refused, one whose id is there already, a call without its output or
            an output without its call; 404 for a reference to what is not in the history.
    """
    try:
        addition = prepare_items(items, new_id=new_id, accept_unknown_types=accept_unknown_types)
    except ApiError as error:
        raise error.renamed("items", "input") from None
    _check_ids(addition, history=history)
    _check_calls([*history, *addition.items])
    return addition


def _check_ids(addition: Addition, *, history: Sequence[JsonObject]) -> None:
    known = {item["id"] for item in history}
    for referenced in addition.referenced:
        if referenced not in known:
            raise item_not_found(referenced)
    for item in addition.items:
        if item["id"] in known:
            raise duplicate_item(item["id"]).renamed("items", "input")
        known.add(item["id"])


def _check_calls(items: Iterable[JsonObject]) -> None:
    """Refuse what the API refuses: an output must follow its call, and every call must have one."""
    waiting: dict[tuple[str, Any], None] = {}
    called: set[tuple[str, Any]] = set()
    for item in items:
        call_id = item.get("call_id")
        if item["type"] in _CALLS:
            call = (_CALLS[item["type"]], call_id)
            called.add(call)
            waiting[call] = None
        elif item["type"] in _OUTPUTS:
            call = (_OUTPUTS[item["type"]], call_id)
            if call not in called:
                raise call_missing(call_id, kind=call[0])
            waiting.pop(call, None)
    for kind, call_id in waiting:
        raise output_missing(call_id, kind=kind)
