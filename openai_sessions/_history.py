"""A history that a session keeps, to be joined with its newest page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from openai_sessions._types import Item


class KnownHistory:
    """All items of a conversation as they were last listed."""

    def __init__(self) -> None:
        self._conversation_id: str | None = None
        self._items: list[Item] = []

    def is_of(self, conversation_id: str) -> bool:
        """Tell whether the items of this conversation are known."""
        return self._conversation_id == conversation_id

    def learn(self, conversation_id: str, items: Sequence[Item]) -> None:
        """Take up what a read of all items has shown, oldest first."""
        self._conversation_id = conversation_id
        self._items = list(items)

    def joined(self, page: Sequence[Item], *, is_all: bool) -> list[Item] | None:
        """Return the whole history, given its newest page, or None when the page does not fit.

        It fits when what it shows of the known items is a row of them without a gap, and its other
        items follow: then others have only appended, or deleted the newest.

        Args:
            page: The newest items as listed, oldest first.
            is_all: Whether nothing precedes them.
        """
        if is_all:
            return list(page)
        start = self._position(page[0].get("id")) if page else None
        if start is None:
            return None
        row = self._items[start:]
        shown = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(page, row, strict=False)))
        known = {item.get("id") for item in (*self._items[:start], *row[shown:])}
        if any(item.get("id") in known for item in page[shown:]):
            return None
        return [*self._items[:start], *page]

    def _position(self, item_id: object) -> int | None:
        """Return where an item is, looked for from the newest."""
        for position in reversed(range(len(self._items))):
            if item_id is not None and self._items[position].get("id") == item_id:
                return position
        return None


def copied(value: Any) -> Any:
    """Copy the dicts and lists of a JSON value."""
    if isinstance(value, dict):
        return {key: copied(part) for key, part in value.items()}
    if isinstance(value, list):
        return [copied(part) for part in value]
    return value
