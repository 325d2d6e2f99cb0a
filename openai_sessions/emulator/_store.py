"""The SQLite database: `Store` serves the operations, `Contents` shows the rows, `store_seeds` adds rows.

A conversation belongs to the key that created it. The database contains only a digest of the key, the owner.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from openai_sessions.emulator._errors import (
    ApiError,
    JsonObject,
    conversation_locked,
    duplicate_item,
    item_not_found,
    not_found,
)
from openai_sessions.emulator._items import (
    Addition,
    PageRequest,
    check_array,
    check_id,
    check_metadata,
    new_id,
    prepare_items,
)
from openai_sessions.emulator._schema import INTEGER, check_range, conform

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator


EVERY_KEY = ""
"""The owner of seeded conversations, which every key sees."""

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


def owner_of(api_key: str, *, user: str | None = None) -> str:
    """Return the digest of a bearer key, or of a key and the user that it names."""
    return hashlib.sha256((api_key if user is None else f"{api_key}\n{user}").encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation; `created_at` is in Unix seconds."""

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
    """A page of a list: items in the requested order, and whether more follow."""

    items: tuple[JsonObject, ...]
    has_more: bool

    def body(self) -> JsonObject:
        """Return the list object of the API."""
        return {
            "object": "list",
            "data": list(self.items),
            "first_id": self.items[0]["id"] if self.items else None,
            "has_more": self.has_more,
            "last_id": self.items[-1]["id"] if self.items else None,
        }


@dataclass(frozen=True, slots=True)
class _Change:
    """The items that a write added, by id, and removed, as rows of position and body."""

    added: frozenset[str] = frozenset()
    removed: tuple[tuple[int, str], ...] = ()


class Store:
    """The conversations of all keys; each operation takes the `owner`, the digest of the request's key.

    Operations may be called from any thread. A conversation that is unknown, deleted or owned by another key
    raises the API's 404.
    """

    def __init__(self, database: str | os.PathLike[str]) -> None:
        self._connection = sqlite3.connect(
            database, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._mutex = threading.RLock()
        self._locked: Counter[str] = Counter()
        self._last_changes: dict[str, _Change] = {}
        try:
            # With a write-ahead log, reads do not wait for another process's write.
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.Error:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the database; closing it again does nothing."""
        with self._mutex:
            self._connection.close()

    @contextmanager
    def locked(self, conversation_id: str) -> Iterator[None]:
        """Refuse writes to the conversation inside the block, as if another writer had locked it."""
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
        """Replace the metadata of the conversation, and return the conversation."""
        with self.writing(conversation_id):
            self._find(conversation_id, owner)
            self._connection.execute(
                "UPDATE conversations SET metadata = ? WHERE id = ?", (json.dumps(metadata), conversation_id)
            )
            self._last_changes[conversation_id] = _Change()
            return self._find(conversation_id, owner)

    def conversations(self, *, owner: str, request: PageRequest) -> Page:
        """Return a page of the conversations, by the time of their creation.

        Raises:
            ApiError: 404 for a cursor that is not one of them.
        """
        with self._mutex:
            rows = self._connection.execute(
                "SELECT id, created_at, metadata FROM conversations WHERE owner IN (?, ?) AND deleted = 0"
                " ORDER BY created_at, rowid",
                (owner, EVERY_KEY),
            ).fetchall()
        bodies = [Conversation(each, second, json.loads(metadata)).body() for each, second, metadata in rows]
        return page_of(bodies, request, kind="Conversation")

    def delete(self, conversation_id: str, *, owner: str) -> None:
        """Make the conversation unreachable; its items remain in the database."""
        with self.writing(conversation_id):
            self._find(conversation_id, owner)
            self._connection.execute("UPDATE conversations SET deleted = 1 WHERE id = ?", (conversation_id,))
            self._last_changes[conversation_id] = _Change()

    def add(self, conversation_id: str, *, owner: str, addition: Addition) -> None:
        """Append all of the items, or none.

        Raises:
            ApiError: 400 for an id that is already in the conversation, 404 for an unknown referenced item.
        """
        with self.writing(conversation_id):
            self._find(conversation_id, owner)
            self.append(conversation_id, addition)

    def append(self, conversation_id: str, addition: Addition) -> None:
        """Append the items to an existing conversation; the caller is inside `writing`."""
        for item_id in addition.referenced:
            self._position(conversation_id, item_id)
        for item in addition.items:
            self._insert(conversation_id, item)
        self._last_changes[conversation_id] = _Change(added=frozenset(item["id"] for item in addition.items))

    def page(self, conversation_id: str, *, owner: str, request: PageRequest) -> Page:
        """Return a page of items.

        Raises:
            ApiError: 404 for a cursor that is not an item of the conversation.
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
        """Return the page as it was before the last write by this emulator; a deletion is a write too.

        Raises:
            ApiError: 404 for a cursor that was not an item of the conversation then.
        """
        with self._mutex:
            self._find(conversation_id, owner, or_deleted=True)
            rows = self._connection.execute(
                "SELECT position, body FROM items WHERE conversation_id = ?", (conversation_id,)
            ).fetchall()
            change = self._last_changes.get(conversation_id, _Change())
        items = [json.loads(body) for _, body in sorted([*rows, *change.removed])]
        return page_of([item for item in items if item["id"] not in change.added], request)

    def item(self, conversation_id: str, item_id: str, *, owner: str) -> JsonObject:
        """Return an item; an unknown one raises the API's 404."""
        with self._mutex:
            self._find(conversation_id, owner)
            item: JsonObject = json.loads(self._body(self._position(conversation_id, item_id)))
        return item

    def delete_item(self, conversation_id: str, item_id: str, *, owner: str) -> Conversation:
        """Delete an item and return its conversation; an unknown item raises the API's 404."""
        with self.writing(conversation_id):
            conversation = self._find(conversation_id, owner)
            position = self._position(conversation_id, item_id)
            self._last_changes[conversation_id] = _Change(removed=((position, self._body(position)),))
            self._connection.execute("DELETE FROM items WHERE position = ?", (position,))
            return conversation

    @contextmanager
    def exclusive(self) -> Iterator[sqlite3.Connection]:
        """Use the connection inside the block; all other operations wait."""
        with self._mutex:
            yield self._connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit the block as one transaction; roll back if it raises.

        Raises:
            sqlite3.OperationalError: On entering, if another process's write exceeds `BUSY_SECONDS`.
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

    @contextmanager
    def writing(self, conversation_id: str | None) -> Iterator[sqlite3.Connection]:
        """Run the block as one transaction; with a `conversation_id`, only if it is not locked.

        Raises:
            ApiError: On entering, 400 if another writer has locked the conversation, or another process's
                write takes longer than `BUSY_SECONDS`.
        """
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

    def _find(self, conversation_id: str, owner: str, *, or_deleted: bool = False) -> Conversation:
        row = self._connection.execute(
            "SELECT created_at, metadata FROM conversations"
            " WHERE id = ? AND owner IN (?, ?) AND deleted <= ?",
            (conversation_id, owner, EVERY_KEY, or_deleted),
        ).fetchone()
        if row is None:
            raise not_found("Conversation", conversation_id)
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

    def _insert(self, conversation_id: str, item: JsonObject) -> None:
        try:
            self._connection.execute(
                "INSERT INTO items (conversation_id, id, body) VALUES (?, ?, ?)",
                (conversation_id, item["id"], json.dumps(item)),
            )
        except sqlite3.IntegrityError as error:
            raise duplicate_item(item["id"]) from error


def page_of(items: Sequence[JsonObject], request: PageRequest, *, kind: str = "Item") -> Page:
    """Return a page of items given oldest first: the first ones, or with `before` those next to it.

    Raises:
        ApiError: 404 for a cursor that is not one of the items, which are of the given `kind`.
    """
    ordered = list(items) if request.ascending else list(reversed(items))
    ids = [item["id"] for item in ordered]
    for cursor in (request.after, request.before):
        if cursor is not None and cursor not in ids:
            raise not_found(kind, cursor)
    start = 0 if request.after is None else ids.index(request.after) + 1
    end = len(ids) if request.before is None else ids.index(request.before)
    found = ordered[start:end]
    shown = found[: request.limit] if request.before is None else found[-request.limit :]
    return Page(tuple(shown), has_more=len(found) > request.limit)


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """A conversation in an emulator's database.

    Attributes:
        id: Its id.
        created_at: When it was created (Unix seconds).
        metadata: Its metadata.
        item_count: The number of its items.
        first_position: The `position` of its first item; None without items.
    """

    id: str
    created_at: int
    metadata: dict[str, str]
    item_count: int
    first_position: int | None


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item in an emulator's database.

    Attributes:
        position: A number greater than that of every item added before, to any conversation. Numbers are not
            reused.
        json: The item as it is stored, with every field that an `include` opens.
    """

    position: int
    json: str


class Contents:
    """Read access to an emulator's database: everything, or what one key sees."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def version(self) -> str:
        """Return a string that changes whenever the database may have changed, in any process."""
        with self._store.exclusive() as connection:
            (by_others,) = connection.execute("PRAGMA data_version").fetchone()
            return f"{by_others}-{connection.total_changes}"

    def conversations(
        self, *, api_key: str | None = None, limit: int | None = None
    ) -> tuple[StoredConversation, ...]:
        """Return the conversations, newest first, at most `limit` of them; with `api_key`, those it sees."""
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

    def has_conversation(
        self, conversation_id: str, *, api_key: str | None = None, or_deleted: bool = False
    ) -> bool:
        """Return whether the conversation exists; with `api_key`, whether that key sees it."""
        owner = None if api_key is None else owner_of(api_key)
        with self._store.exclusive() as connection:
            row = connection.execute(
                "SELECT 1 FROM conversations"
                " WHERE id = ? AND deleted <= ? AND (? IS NULL OR owner IN (?, ?))",
                (conversation_id, or_deleted, owner, owner, EVERY_KEY),
            ).fetchone()
        return row is not None

    def items(
        self, conversation_id: str, *, after: int = 0, max_items: int = -1, max_characters: int | None = None
    ) -> tuple[StoredItem, ...]:
        """Return items of a conversation, also of a deleted one, oldest first; none for an unknown one.

        Args:
            conversation_id: The conversation.
            after: Return only items with a greater position.
            max_items: The maximum number of items; -1 for all.
            max_characters: Stop after the item with which the JSON reaches this many characters in all.
        """
        with self._store.exclusive() as connection:
            rows = connection.execute(
                "SELECT position, body FROM items"
                " WHERE conversation_id = ? AND position > ? ORDER BY position LIMIT ?",
                (conversation_id, after, max_items),
            )
            return tuple(_until(rows, max_characters))

    def item(self, conversation_id: str, item_id: str) -> JsonObject | None:
        """Return an item, also of a deleted conversation; None if it is not stored."""
        with self._store.exclusive() as connection:
            row = connection.execute(
                "SELECT body FROM items WHERE conversation_id = ? AND id = ?", (conversation_id, item_id)
            ).fetchone()
        return None if row is None else json.loads(row[0])

    def positions(self, conversation_id: str, *, to: int) -> tuple[int, ...]:
        """Return the positions of a conversation's items up to and including `to`, in order."""
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


class InvalidSeedError(ValueError):
    """A conversation passed to `Emulator.seed` is invalid.

    Attributes:
        index: The index of the conversation, from 0.
        reason: What is wrong, with the field.
    """

    def __init__(self, *, index: int, reason: str) -> None:
        super().__init__(f"Conversation {index} is invalid: {reason}")
        self.index = index
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SeedResult:
    """The result of `Emulator.seed`.

    Attributes:
        conversations: The number of conversations stored.
        items: The number of their items.
        known: The number of conversations skipped, because the database already had them.
    """

    conversations: int = 0
    items: int = 0
    known: int = 0


def store_seeds(
    store: Store, conversations: Iterable[Mapping[str, Any]], *, accept_unknown_types: bool
) -> SeedResult:
    """Store conversations for every key in one transaction, as `Emulator.seed` documents."""
    given: set[str] = set()
    unnamed: Counter[str] = Counter()
    stored = items = 0
    with store.transaction() as connection:
        for index, fields in enumerate(conversations):
            try:
                conversation, addition = _checked_seed(
                    fields, unnamed, accept_unknown_types=accept_unknown_types
                )
                if conversation.id in given:
                    reason = f"the id {conversation.id!r} is already used by an earlier conversation."
                    raise InvalidSeedError(index=index, reason=reason)
                given.add(conversation.id)
                if _insert_seed(conversation, addition, connection):
                    stored, items = stored + 1, items + len(addition.items)
            except ApiError as error:
                raise InvalidSeedError(index=index, reason=_reason(error)) from error
    return SeedResult(stored, items, len(given) - stored)


_FIELDS = ("id", "created_at", "metadata", "items")

_LAST_SECOND = 0xFFFFFFFF
"""The last second that the 8 hex digits of an id can express."""


def _checked_seed(
    fields: Mapping[str, Any], unnamed: Counter[str], *, accept_unknown_types: bool
) -> tuple[Conversation, Addition]:
    for name in fields:
        if name not in _FIELDS:
            raise ApiError(f"Unknown field '{name}'. The fields are {', '.join(_FIELDS)}.")
    items = check_array(fields, "items")
    second = _second(fields.get("created_at"))
    addition = prepare_items(
        items, new_id=partial(new_id, second=second), accept_unknown_types=accept_unknown_types
    )
    if fields.get("id") is None:
        conversation_id = _id_from_content(fields, unnamed)
    else:
        conversation_id = check_id(fields["id"], prefix="conv_", path="id")
    return Conversation(conversation_id, second, check_metadata(fields.get("metadata"))), addition


def _second(created_at: Any) -> int:
    if created_at is None:
        return int(time.time())
    second = int(conform(created_at, to=INTEGER, path="created_at"))
    check_range("created_at", second, minimum=0, maximum=_LAST_SECOND)
    return second


def _id_from_content(fields: Mapping[str, Any], unnamed: Counter[str]) -> str:
    """Return an id derived from the content, and from the number of earlier seeds with the same content."""
    content = json.dumps(dict(fields), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    unnamed[digest] += 1
    return "conv_" + hashlib.sha256(f"{digest} {unnamed[digest]}".encode()).hexdigest()[:48]


def _insert_seed(conversation: Conversation, addition: Addition, connection: sqlite3.Connection) -> bool:
    """Store a conversation, and return whether it was new to the database."""
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


def _reason(error: ApiError) -> str:
    if error.param is None or error.param in error.message:
        return error.message
    return f"{error.message} The field is '{error.param}'."
