"""Compaction: the items that replace a history, and those they replace.

Sources: the response object is recorded. The API encrypts a summary; the emulator encodes the items in
Base64.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openai_sessions.emulator._errors import JsonObject
    from openai_sessions.emulator._items import NewId


def compacted(items: Iterable[JsonObject], *, new_id: NewId) -> tuple[JsonObject, ...]:
    """Return the user's messages and one compaction item, which replaces all other items.

    What earlier compaction items replaced is in it, so that only the new one is needed.
    """
    kept: list[JsonObject] = []
    replaced: list[JsonObject] = []
    for item in items:
        if item.get("role") == "user":
            kept.append(item)
        else:
            replaced += _replaced_by(item) or [item]
    content = base64.urlsafe_b64encode(json.dumps(replaced).encode()).decode()
    return (*kept, {"id": new_id("cmp"), "type": "compaction", "encrypted_content": content})


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
