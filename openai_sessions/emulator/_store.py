"""Keys, of which only digests are kept: a digest is the owner of the conversations made with its key."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from openai_sessions.emulator._errors import (
    ApiError,
    JsonObject,
    conversation_locked,
    conversation_not_found,
    duplicate_item,
    item_not_found,
    missing_parameter,
)
from openai_sessions.emulator._items import (
    Addition,
    check_metadata,
    check_range,
    new_id,
    prepare_items,
    well_formed_id,
)
from openai_sessions.emulator._schema import Value, conform, wrong_type

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from openai_sessions.emulator._items import Addition, PageRequest


EVERY_KEY = ""
"""The owner of conversations that every key sees: those an emulator began with."""


def owner_of(api_key: str) -> str:
    """Return the owner that the conversations of a bearer key are kept under."""
    return hashlib.sha256(api_key.encode()).hexdigest()


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


@dataclass(frozen=True, slots=True)
class StoredConversation:
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
class StoredItem:
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
    ) -> tuple[StoredConversation, ...]:
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
            StoredConversation(conversation_id, created_at, json.loads(metadata), item_count, first_position)
            for conversation_id, created_at, metadata, item_count, first_position in rows
        )

    def has_conversation(self, conversation_id: str, *, api_key: str | None = None) -> bool:
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
    ) -> tuple[StoredItem, ...]:
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


def _until(rows: Iterator[tuple[int, str]], max_characters: int | None) -> Iterator[StoredItem]:
    characters = 0
    for position, body in rows:
        yield StoredItem(position, body)
        characters += len(body)
        if max_characters is not None and characters >= max_characters:
            return


_FIELDS = ("id", "created_at", "metadata", "items")

_SECOND = Value(("integer",))

_LAST_SECOND = 0xFFFFFFFF
"""The last one that the 8 digits of an id can tell."""


class InvalidSeedError(ValueError):
    """Tell that a conversation cannot be held as it is given.

    Attributes:
        index: Which of the conversations it is, counted from 0.
        reason: What is wrong with it, naming the field.
    """

    def __init__(self, *, index: int, reason: str) -> None:
        super().__init__(f"Conversation {index} cannot be held: {reason}")
        self.index = index
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SeedResult:
    """What became of the conversations given.

    Attributes:
        conversations: How many were stored.
        items: How many items these have.
        known: How many were not, because the database had them before.
    """

    conversations: int = 0
    items: int = 0
    known: int = 0


class Seeding:
    """Store conversations for every key, all in one transaction; how is told by `Emulator.seed`."""

    def __init__(self, store: Store, *, accept_unknown_types: bool) -> None:
        self._store = store
        self._accept_unknown_types = accept_unknown_types

    def run(self, conversations: Iterable[Mapping[str, Any]]) -> SeedResult:
        """Store the conversations, or none of them."""
        with self._store.transaction() as connection:
            return self._store_all(conversations, connection)

    def _store_all(
        self, conversations: Iterable[Mapping[str, Any]], connection: sqlite3.Connection
    ) -> SeedResult:
        given: set[str] = set()
        unnamed: Counter[str] = Counter()
        stored = items = 0
        for index, fields in enumerate(conversations):
            try:
                conversation, addition = self._prepare(fields, unnamed)
                if conversation.id in given:
                    reason = f"the id {conversation.id!r} is already used by an earlier conversation."
                    raise InvalidSeedError(index=index, reason=reason)
                given.add(conversation.id)
                if _insert(conversation, addition, connection):
                    stored, items = stored + 1, items + len(addition.items)
            except ApiError as error:
                raise InvalidSeedError(index=index, reason=_reason(error)) from error
        return SeedResult(stored, items, len(given) - stored)

    def _prepare(self, fields: Mapping[str, Any], unnamed: Counter[str]) -> tuple[Conversation, Addition]:
        for name in fields:
            if name not in _FIELDS:
                raise ApiError(f"Unknown field '{name}'. The fields are {', '.join(_FIELDS)}.")
        if "items" not in fields:
            raise missing_parameter("items")
        if not isinstance(fields["items"], list):
            raise wrong_type(fields["items"], kinds=("array",), path="items")
        second = _second(fields.get("created_at"))
        addition = prepare_items(
            fields["items"],
            new_id=partial(new_id, second=second),
            accept_unknown_types=self._accept_unknown_types,
        )
        if fields.get("id") is None:
            conversation_id = _id_from(fields, unnamed)
        else:
            conversation_id = well_formed_id(fields["id"], prefix="conv_", path="id")
        return Conversation(conversation_id, second, check_metadata(fields.get("metadata"))), addition


def _reason(error: ApiError) -> str:
    """Return the message of an error, which does not always name the field."""
    if error.param is None or error.param in error.message:
        return error.message
    return f"{error.message} It stands at '{error.param}'."


def _second(created_at: Any) -> int:
    if created_at is None:
        return int(time.time())
    second = int(conform(created_at, to=_SECOND, path="created_at"))
    check_range("created_at", second, minimum=0, maximum=_LAST_SECOND)
    return second


def _id_from(fields: Mapping[str, Any], unnamed: Counter[str]) -> str:
    """Return an id made from the content, and from how many of the same content came before."""
    content = json.dumps(dict(fields), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    unnamed[digest] += 1
    return "conv_" + hashlib.sha256(f"{digest} {unnamed[digest]}".encode()).hexdigest()[:48]


def _insert(conversation: Conversation, addition: Addition, connection: sqlite3.Connection) -> bool:
    """Store a conversation; tell whether it was new to the database."""
    ids = Counter(item["id"] for item in addition.items)
    for item_id, number in ids.items():
        if number > 1:
            raise duplicate_item(item_id)
    for item_id in addition.referenced:
        if item_id not in ids:
            raise item_not_found(item_id)
    cursor = connection.execute(
        "INSERT OR IGNORE INTO conversations (id, owner, created_at, metadata) VALUES (?, ?, ?, ?)",
        (conversation.id, EVERY_KEY, conversation.created_at, json.dumps(conversation.metadata)),
    )
    if not cursor.rowcount:
        return False
    connection.executemany(
        "INSERT INTO items (conversation_id, id, body) VALUES (?, ?, ?)",
        ((conversation.id, item["id"], json.dumps(item)) for item in addition.items),
    )
    return True
