"""Conversations and their items in SQLite: one connection for all threads, one transaction a write."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai_sessions.emulator._errors import (
    JsonObject,
    conversation_locked,
    conversation_not_found,
    duplicate_item,
    item_not_found,
)
from openai_sessions.emulator._keys import EVERY_KEY

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from openai_sessions.emulator._items import Addition
    from openai_sessions.emulator._validation import PageRequest

BUSY_SECONDS = 0.2
"""How long a write waits for another process's write to the same file before it is answered with a 400."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS conversations (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS items (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation_id TEXT NOT NULL REFERENCES conversations (id),
    id TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (conversation_id, id)
);
"""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation; `created_at` in seconds since the epoch."""

    id: str
    created_at: int
    metadata: dict[str, str]

    def body(self) -> JsonObject:
        """Return the conversation object of the API."""
        return {
            "id": self.id,
            "object": "conversation",
            "created_at": self.created_at,
            "metadata": self.metadata,
        }


@dataclass(frozen=True, slots=True)
class Page:
    """Items of a list, in the order asked for, and whether more follow."""

    items: tuple[JsonObject, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class _Change:
    """What a write did to the items of a conversation; a row is a position and a body."""

    added: frozenset[str] = frozenset()
    removed: tuple[tuple[int, str], ...] = ()


class Store:
    """Keep the conversations of all keys; `owner` is a digest of the key that asks.

    Every operation may be called from any thread. A conversation that is unknown, deleted or another owner's
    raises the 404 of the API.
    """

    def __init__(self, database: str | os.PathLike[str]) -> None:
        self._connection = sqlite3.connect(
            database, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._mutex = threading.RLock()
        self._locked: Counter[str] = Counter()
        self._last_changes: dict[str, _Change] = {}
        try:
            # With a write-ahead log, reads are never kept waiting by another process's write.
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.Error:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the database; closing twice is no error."""
        with self._mutex:
            self._connection.close()

    @contextmanager
    def locked(self, conversation_id: str) -> Iterator[None]:
        """Refuse every write to the conversation inside the block, as if another writer held it."""
        with self._mutex:
            self._locked[conversation_id] += 1
        try:
            yield
        finally:
            with self._mutex:
                self._locked[conversation_id] -= 1

    def create(self, conversation: Conversation, *, owner: str, addition: Addition) -> None:
        """Store a new conversation with its first items."""
        row = (conversation.id, owner, conversation.created_at, json.dumps(conversation.metadata))
        with self.writing(conversation.id):
            self._connection.execute(
                "INSERT INTO conversations (id, owner, created_at, metadata) VALUES (?, ?, ?, ?)", row
            )
            self.append(conversation.id, addition)

    def conversation(self, conversation_id: str, *, owner: str) -> Conversation:
        """Return the conversation."""
        with self._mutex:
            return self._find(conversation_id, owner)

    def replace_metadata(self, conversation_id: str, *, owner: str, metadata: dict[str, str]) -> Conversation:
        """Replace the metadata of the conversation, and return it."""
        with self.writing(conversation_id):
            self._find(conversation_id, owner)
            self._connection.execute(
                "UPDATE conversations SET metadata = ? WHERE id = ?", (json.dumps(metadata), conversation_id)
            )
            self._last_changes[conversation_id] = _Change()
            return self._find(conversation_id, owner)

    def delete(self, conversation_id: str, *, owner: str) -> None:
        """Make the conversation unreachable; its items stay in the file."""
        with self.writing(conversation_id):
            self._find(conversation_id, owner)
            self._connection.execute("UPDATE conversations SET deleted = 1 WHERE id = ?", (conversation_id,))
            self._last_changes[conversation_id] = _Change()

    def add(self, conversation_id: str, *, owner: str, addition: Addition) -> None:
        """Append the items, all or none.

        Raises:
            ApiError: 400 for an id that the conversation holds already, 404 for an unknown referenced item.
        """
        with self.writing(conversation_id):
            self._find(conversation_id, owner)
            self.append(conversation_id, addition)

    def page(self, conversation_id: str, *, owner: str, request: PageRequest) -> Page:
        """Return the page asked for.

        Raises:
            ApiError: 404 for a cursor that is no item of the conversation, or no longer.
        """
        direction, beyond = ("ASC", ">") if request.ascending else ("DESC", "<")
        with self._mutex:
            self._find(conversation_id, owner)
            start = None if request.after is None else self._position(conversation_id, request.after)
            rows = self._connection.execute(
                f"SELECT body FROM items WHERE conversation_id = ? AND (? IS NULL OR position {beyond} ?) "  # noqa: S608 - both words are ours
                f"ORDER BY position {direction} LIMIT ?",
                (conversation_id, start, start, request.limit + 1),
            ).fetchall()
        items = tuple(json.loads(body) for (body,) in rows[: request.limit])
        return Page(items, has_more=len(rows) > request.limit)

    def stale_page(self, conversation_id: str, *, owner: str, request: PageRequest) -> Page:
        """Return the page as it was before the last write made here; a deletion counts as a write.

        Raises:
            ApiError: 404 for a cursor that was no item of the conversation at that time.
        """
        with self._mutex:
            self._find(conversation_id, owner, or_deleted=True)
            rows = self._connection.execute(
                "SELECT position, body FROM items WHERE conversation_id = ?", (conversation_id,)
            ).fetchall()
            change = self._last_changes.get(conversation_id, _Change())
        rows = sorted([*rows, *change.removed], reverse=not request.ascending)
        items = [item for _, body in rows if (item := json.loads(body))["id"] not in change.added]
        start = 0 if request.after is None else _index_after(request.after, items)
        return Page(tuple(items[start:][: request.limit]), has_more=len(items) > start + request.limit)

    def item(self, conversation_id: str, item_id: str, *, owner: str) -> JsonObject:
        """Return one item; an unknown one raises the 404 of the API."""
        with self._mutex:
            self._find(conversation_id, owner)
            item: JsonObject = json.loads(self._body(self._position(conversation_id, item_id)))
        return item

    def delete_item(self, conversation_id: str, item_id: str, *, owner: str) -> Conversation:
        """Remove one item and return the conversation; an unknown item raises the 404 of the API."""
        with self.writing(conversation_id):
            conversation = self._find(conversation_id, owner)
            position = self._position(conversation_id, item_id)
            self._last_changes[conversation_id] = _Change(removed=((position, self._body(position)),))
            self._connection.execute("DELETE FROM items WHERE position = ?", (position,))
            return conversation

    @contextmanager
    def exclusive(self) -> Iterator[sqlite3.Connection]:
        """Hold the database inside the block: every other operation waits."""
        with self._mutex:
            yield self._connection

    @contextmanager
    def writing(self, conversation_id: str | None) -> Iterator[sqlite3.Connection]:
        """Do all inside the block or nothing; 400 when another writer holds the conversation, if any."""
        with self._mutex, ExitStack() as stack:
            if conversation_id is not None and self._locked[conversation_id]:
                raise conversation_locked()
            try:
                connection = stack.enter_context(self.transaction())
            except sqlite3.OperationalError as error:
                if "locked" in str(error):
                    raise conversation_locked() from error
                raise
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do all inside the block or nothing.

        Raises:
            sqlite3.OperationalError: On entering, while another process writes for longer than a moment.
        """
        with self.exclusive() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk has ended it already
                    connection.execute("ROLLBACK")
                raise

    def _find(self, conversation_id: str, owner: str, *, or_deleted: bool = False) -> Conversation:
        row = self._connection.execute(
            "SELECT created_at, metadata FROM conversations"
            " WHERE id = ? AND owner IN (?, ?) AND deleted <= ?",
            (conversation_id, owner, EVERY_KEY, or_deleted),
        ).fetchone()
        if row is None:
            raise conversation_not_found(conversation_id)
        created_at, metadata = row
        return Conversation(conversation_id, created_at, json.loads(metadata))

    def _position(self, conversation_id: str, item_id: str) -> int:
        row = self._connection.execute(
            "SELECT position FROM items WHERE conversation_id = ? AND id = ?", (conversation_id, item_id)
        ).fetchone()
        if row is None:
            raise item_not_found(item_id)
        position: int = row[0]
        return position

    def _body(self, position: int) -> str:
        (body,) = self._connection.execute(
            "SELECT body FROM items WHERE position = ?", (position,)
        ).fetchone()
        return str(body)

    def append(self, conversation_id: str, addition: Addition) -> None:
        """Append the items, inside `writing`, to a conversation that is there."""
        for item_id in addition.referenced:
            self._position(conversation_id, item_id)
        for item in addition.items:
            self._insert(conversation_id, item)
        self._last_changes[conversation_id] = _Change(added=frozenset(item["id"] for item in addition.items))

    def _insert(self, conversation_id: str, item: JsonObject) -> None:
        try:
            self._connection.execute(
                "INSERT INTO items (conversation_id, id, body) VALUES (?, ?, ?)",
                (conversation_id, item["id"], json.dumps(item)),
            )
        except sqlite3.IntegrityError as error:
            raise duplicate_item(item["id"]) from error


def _index_after(item_id: str, items: list[JsonObject]) -> int:
    for index, item in enumerate(items):
        if item["id"] == item_id:
            return index + 1
    raise item_not_found(item_id)
