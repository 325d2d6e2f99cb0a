"""Conversations that an emulator begins with."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from openai_sessions.emulator._errors import (
    ApiError,
    duplicate_item,
    item_not_found,
    missing_parameter,
)
from openai_sessions.emulator._ids import new_id
from openai_sessions.emulator._items import Addition, prepare_items, well_formed_id
from openai_sessions.emulator._keys import EVERY_KEY
from openai_sessions.emulator._shapes import Value, conform, wrong_type
from openai_sessions.emulator._store import Conversation
from openai_sessions.emulator._validation import check_metadata, check_range

if TYPE_CHECKING:
    from openai_sessions.emulator._store import Store

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
class Seeded:
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

    def run(self, conversations: Iterable[Mapping[str, Any]]) -> Seeded:
        """Store the conversations, or none of them."""
        with self._store.transaction() as connection:
            return self._store_all(conversations, connection)

    def _store_all(
        self, conversations: Iterable[Mapping[str, Any]], connection: sqlite3.Connection
    ) -> Seeded:
        given: set[str] = set()
        unnamed: Counter[str] = Counter()
        stored = items = 0
        for index, fields in enumerate(conversations):
            try:
                conversation, addition = self._prepare(fields, unnamed)
                if conversation.id in given:
                    reason = f"the id {conversation.id!r} is that of a conversation before it."
                    raise InvalidSeedError(index=index, reason=reason)
                given.add(conversation.id)
                if _insert(conversation, addition, connection):
                    stored, items = stored + 1, items + len(addition.items)
            except ApiError as error:
                raise InvalidSeedError(index=index, reason=_reason(error)) from error
        return Seeded(stored, items, len(given) - stored)

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
