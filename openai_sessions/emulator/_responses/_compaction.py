"""Compaction: the items that replace a history, and those they replace.

Sources: the response object is recorded. The API encrypts a summary; the emulator encodes the items in
Base64.
"""

from __future__ import annotations

import base64
import json
from itertools import takewhile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from openai_sessions.emulator._errors import JsonObject
    from openai_sessions.emulator._items import NewId


def compacted(items: Iterable[JsonObject], *, new_id: NewId) -> tuple[JsonObject, ...]:
    """Return the user's messages and one compaction item, which replaces all other items.

    What earlier compaction items replaced is in it, so that only the new one is needed.
    """
    kept: list[JsonObject] = []
    replaced: list[JsonObject] = []
    for item in items:
        (kept if item.get("role") == "user" else replaced).append(item)
    return (*kept, compaction_item(replaced, new_id=new_id))


def compaction_item(items: Iterable[JsonObject], *, new_id: NewId) -> JsonObject:
    """Return the item that replaces others, and what earlier compaction items replaced."""
    replaced = [each for item in items for each in (_replaced_by(item) or [item])]
    content = base64.urlsafe_b64encode(json.dumps(replaced).encode()).decode()
    return {"id": new_id("cmp"), "type": "compaction", "encrypted_content": content}


def compact_threshold(request: JsonObject) -> int | None:
    """Return the number of tokens above which a response compacts; None if it does not."""
    managed = request.get("context_management", ())
    thresholds = [each.get("compact_threshold") for each in managed if each.get("type") == "compaction"]
    return min((each for each in thresholds if each is not None), default=None)


def since_compaction(history: Sequence[JsonObject]) -> tuple[JsonObject, ...]:
    """Return the items of a history that a model is shown: those from its newest compaction item on.

    They include the messages directly before it that are not the assistant's, as `/responses/compact` returns
    the user's messages before the item, and the input of a response precedes that of its output.
    """
    places = [place for place, item in enumerate(history) if item["type"] == "compaction"]
    start = places[-1] if places else 0
    return tuple(history[start - _messages_at_end(history[:start]) :])


def replaceable(items: Sequence[JsonObject]) -> tuple[tuple[JsonObject, ...], tuple[JsonObject, ...]]:
    """Split items into those that a compaction item replaces, and the messages at their end, which stay."""
    end = len(items) - _messages_at_end(items)
    return tuple(items[:end]), tuple(items[end:])


def _messages_at_end(items: Sequence[JsonObject]) -> int:
    is_kept = (item["type"] == "message" and item.get("role") != "assistant" for item in reversed(items))
    return sum(1 for _ in takewhile(bool, is_kept))


def replaced_items(items: Iterable[JsonObject]) -> tuple[JsonObject, ...]:
    """Return the items that compaction items replaced, oldest first; none for those of another server."""
    compactions = (item for item in items if item["type"] == "compaction")
    return tuple(each for item in compactions for each in _replaced_by(item))


def _replaced_by(item: JsonObject) -> list[JsonObject]:
    """Return the items that an item replaced: none, unless it is a compaction item of the emulator."""
    content = item.get("encrypted_content") if item.get("type") == "compaction" else None
    items = _decoded(content) if isinstance(content, str) else None
    if not isinstance(items, list) or not all(isinstance(each, dict) and "type" in each for each in items):
        return []
    return [each for item in items for each in (_replaced_by(item) or [item])]


def _decoded(content: str) -> Any:
    try:
        return json.loads(base64.b64decode(content, altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        return None
