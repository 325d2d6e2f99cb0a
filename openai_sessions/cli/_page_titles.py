"""What the page calls a conversation: the beginning of what was said first."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from openai_sessions.emulator import Contents, HeldConversation

LENGTH = 120
_LOOKED_AT = 5
"""How many of the first items are looked at."""

_REMEMBERED = 2_000


class Titles:
    """Read titles from contents, and remember them: items never change, they only come and go."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._read_once = lru_cache(maxsize=_REMEMBERED)(self._read)

    def of(self, conversation: HeldConversation) -> str | None:
        """Return the beginning of the first message of a user, or of the first message; None without any."""
        return self._read_once(
            conversation.id, conversation.first_position, min(conversation.item_count, _LOOKED_AT)
        )

    def _read(self, conversation_id: str, first_position: int | None, count: int) -> str | None:  # noqa: ARG002 - what it depends on
        items = [
            json.loads(held.json)
            for held in self._contents.items(conversation_id, max_items=count, max_characters=1_000_000)
        ]
        by_users = [item for item in items if item.get("role") == "user"]
        for item in (*by_users, *items):
            words = _text_of(item)[: 10 * LENGTH].split()
            if words:
                return " ".join(words)[:LENGTH]
        return None


def _text_of(item: dict[str, Any]) -> str:
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return " ".join(text for text in texts if isinstance(text, str))
