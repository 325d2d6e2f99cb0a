"""What an emulator holds, for tests and for those who watch it as it changes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai_sessions.emulator._keys import EVERY_KEY, owner_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai_sessions.emulator._store import Store


@dataclass(frozen=True, slots=True)
class HeldConversation:
    """One conversation that an emulator holds.

    Attributes:
        id: Its id.
        created_at: When it was created, in seconds since the epoch.
        metadata: Its metadata.
        item_count: How many items it has.
        first_position: The `position` of its first item; None without items.
    """

    id: str
    created_at: int
    metadata: dict[str, str]
    item_count: int
    first_position: int | None


@dataclass(frozen=True, slots=True)
class HeldItem:
    """One item that an emulator holds.

    Attributes:
        position: A number that is larger than that of every item added before, to whichever conversation,
            and is never given again.
        json: The item as it is stored, every field that an `include` opens among them.
    """

    position: int
    json: str


class Contents:
    """Look into a store: all that it holds, or, with an `api_key`, what that key sees."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def version(self) -> str:
        """Return a text that is another one once anything may have changed, by whichever process."""
        with self._store.exclusive() as connection:
            (by_others,) = connection.execute("PRAGMA data_version").fetchone()
            return f"{by_others}-{connection.total_changes}"

    def conversations(
        self, *, api_key: str | None = None, limit: int | None = None
    ) -> tuple[HeldConversation, ...]:
        """Return the conversations, newest first, at most `limit` of them."""
        owner = None if api_key is None else owner_of(api_key)
        with self._store.exclusive() as connection:
            rows = connection.execute(
                "SELECT id, created_at, metadata,"
                " (SELECT COUNT(*) FROM items WHERE conversation_id = conversations.id),"
                " (SELECT MIN(position) FROM items WHERE conversation_id = conversations.id)"
                " FROM conversations WHERE deleted = 0 AND (? IS NULL OR owner IN (?, ?))"
                " ORDER BY created_at DESC, rowid DESC LIMIT ?",
                (owner, owner, EVERY_KEY, -1 if limit is None else limit),
            ).fetchall()
        return tuple(
            HeldConversation(conversation_id, created_at, json.loads(metadata), item_count, first_position)
            for conversation_id, created_at, metadata, item_count, first_position in rows
        )

    def holds(self, conversation_id: str, *, api_key: str | None = None) -> bool:
        """Tell whether the conversation is there."""
        owner = None if api_key is None else owner_of(api_key)
        with self._store.exclusive() as connection:
            row = connection.execute(
                "SELECT 1 FROM conversations WHERE id = ? AND deleted = 0 AND (? IS NULL OR owner IN (?, ?))",
                (conversation_id, owner, owner, EVERY_KEY),
            ).fetchone()
        return row is not None

    def items(
        self, conversation_id: str, *, after: int = 0, max_items: int = -1, max_characters: int | None = None
    ) -> tuple[HeldItem, ...]:
        """Return items of a conversation, oldest first.

        Args:
            conversation_id: The conversation; one that is not there has no items.
            after: Only those with a larger position.
            max_items: At most so many; -1 for all.
            max_characters: No more once they have so many characters of JSON in all, but at least one.
        """
        with self._store.exclusive() as connection:
            rows = connection.execute(
                "SELECT position, body FROM items"
                " WHERE conversation_id = ? AND position > ? ORDER BY position LIMIT ?",
                (conversation_id, after, max_items),
            )
            return tuple(_until(rows, max_characters))

    def positions(self, conversation_id: str, *, to: int) -> tuple[int, ...]:
        """Return the positions of a conversation's items, none larger than `to`, in order."""
        with self._store.exclusive() as connection:
            rows = connection.execute(
                "SELECT position FROM items WHERE conversation_id = ? AND position <= ? ORDER BY position",
                (conversation_id, to),
            ).fetchall()
        return tuple(position for (position,) in rows)


def _until(rows: Iterator[tuple[int, str]], max_characters: int | None) -> Iterator[HeldItem]:
    characters = 0
    for position, body in rows:
        yield HeldItem(position, body)
        characters += len(body)
        if max_characters is not None and characters >= max_characters:
            return
