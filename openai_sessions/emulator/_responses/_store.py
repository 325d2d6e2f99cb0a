"""Responses in the database of the conversations, each written together with what it adds to one."""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai_sessions.emulator._errors import JsonObject, item_not_found
from openai_sessions.emulator._items import Addition
from openai_sessions.emulator._responses._errors import response_not_found
from openai_sessions.emulator._store import Page, Store
from openai_sessions.emulator._validation import PageRequest

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

_SCHEMA = """
CREATE TABLE IF NOT EXISTS responses (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    body TEXT NOT NULL,
    seen TEXT NOT NULL,
    input_items TEXT NOT NULL
);
"""
_ALL = PageRequest(limit=2**31, ascending=True)


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """A response, the items that it was made from, and those of them that its own request brought."""

    body: JsonObject
    seen: tuple[JsonObject, ...]
    input_items: tuple[JsonObject, ...]

    @property
    def history(self) -> tuple[JsonObject, ...]:
        """What a response that follows it begins with."""
        return (*self.seen, *self.body["output"])


class ResponseStore:
    """Keep responses; each key sees its own, and an unknown one raises the 404 of the API."""

    def __init__(self, store: Store) -> None:
        self._store = store
        with store.exclusive() as connection:
            connection.executescript(_SCHEMA)

    @contextmanager
    def held(self, conversation_id: str, *, owner: str) -> Iterator[tuple[JsonObject, ...]]:
        """Hold the conversation inside the block, and give its items: nobody else writes to it.

        Raises:
            ApiError: On entering, 404 for an unknown conversation, 400 for one that another writer holds.
        """
        with ExitStack() as stack:
            with self._store.writing(conversation_id):
                page = self._store.page(conversation_id, owner=owner, request=_ALL)
                stack.enter_context(self._store.locked(conversation_id))
            yield page.items

    def save(
        self, response: KeptResponse, *, owner: str, conversation_id: str | None, addition: Addition
    ) -> None:
        """Store the response if it is to be stored, and append to the conversation, both or neither."""
        with self._store.writing(None) as connection:
            if conversation_id is not None:
                self._store.conversation(conversation_id, owner=owner)
                self._store.append(conversation_id, addition)
            if response.body["store"]:
                self._insert(connection, response, owner=owner)

    def find(self, response_id: str, *, owner: str) -> KeptResponse | None:
        """Return the response, None for one that is unknown."""
        with self._store.exclusive() as connection:
            row = connection.execute(
                "SELECT body, seen, input_items FROM responses WHERE id = ? AND owner = ?",
                (response_id, owner),
            ).fetchone()
        if row is None:
            return None
        body, seen, input_items = map(json.loads, row)
        return KeptResponse(body, tuple(seen), tuple(input_items))

    def response(self, response_id: str, *, owner: str) -> KeptResponse:
        """Return the response; an unknown one raises the 404 of the API."""
        found = self.find(response_id, owner=owner)
        if found is None:
            raise response_not_found(response_id)
        return found

    def delete(self, response_id: str, *, owner: str) -> None:
        """Forget the response; what it added to a conversation stays there."""
        with self._store.writing(None) as connection:
            deleted = connection.execute(
                "DELETE FROM responses WHERE id = ? AND owner = ?", (response_id, owner)
            )
            if not deleted.rowcount:
                raise response_not_found(response_id)

    @staticmethod
    def _insert(connection: sqlite3.Connection, response: KeptResponse, *, owner: str) -> None:
        row = (json.dumps(response.body), json.dumps(response.seen), json.dumps(response.input_items))
        connection.execute(
            "INSERT INTO responses (id, owner, body, seen, input_items) VALUES (?, ?, ?, ?, ?)",
            (response.body["id"], owner, *row),
        )


def page_of(items: Sequence[JsonObject], request: PageRequest) -> Page:
    """Return the page of a list that is asked for.

    Raises:
        ApiError: 404 for a cursor that is none of the items.
    """
    ordered = list(items) if request.ascending else list(reversed(items))
    start = 0
    if request.after is not None:
        ids = [item["id"] for item in ordered]
        if request.after not in ids:
            raise item_not_found(request.after)
        start = ids.index(request.after) + 1
    shown = ordered[start:]
    return Page(tuple(shown[: request.limit]), has_more=len(shown) > request.limit)
