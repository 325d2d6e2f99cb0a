"""Servers that hold one conversation of messages, and what another process does to it.

Each keeps the truth in `labels`, the texts of its messages, oldest first.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from openai_sessions.emulator import Emulator
from tests.wire import HTTP_FAMILY, not_found

from .changes import Change

_numbers = itertools.count()


class Shelf:
    """A conversation in a list of Python's.

    Args:
        silent: Answer the first page for a cursor that is gone, and say that more follow each full page,
            as some servers do; else 404, and the truth.
    """

    conversation_id = "conv_1"

    def __init__(self, *, silent: bool = False) -> None:
        self.silent = silent
        self.labels: list[str] = []
        self._names = itertools.count()

    async def fill(self, count: int) -> None:
        """Append messages."""
        added = [f"m{next(self._names)}" for _ in range(count)]
        await self._append(added)
        self.labels += added

    async def change(self, change: Change) -> None:
        """Do what another process does."""
        if change.kind == "append":
            await self.fill(change.count)
        gone = change.deletes(self.labels)
        await self._delete(gone)
        kept = frozenset(gone)
        self.labels = [label for label in self.labels if label not in kept]

    async def serve(self, request: Any) -> Any:
        """Answer one request of the client under test."""
        if not request.url.path.endswith("/items"):
            return HTTP_FAMILY.Response(200, json={"id": self.conversation_id})
        query = request.url.params
        after, limit = query.get("after"), int(query["limit"])
        labels = self.labels if query["order"] == "asc" else self.labels[::-1]
        if after is not None and after not in labels and not self.silent:
            status, body, *_ = not_found()
            return HTTP_FAMILY.Response(status, json=body)
        start = labels.index(after) + 1 if after in labels else 0
        shown = labels[start : start + limit]
        has_more = len(shown) == limit if self.silent else start + limit < len(labels)
        content = ",".join(json.dumps(stored(label, label)) for label in shown)
        body = f'{{"object":"list","data":[{content}],"has_more":{json.dumps(has_more)}}}'
        return HTTP_FAMILY.Response(200, content=body.encode())

    async def _append(self, labels: Sequence[str]) -> None:
        """Nothing but the list of labels is kept."""

    async def _delete(self, labels: Sequence[str]) -> None:
        """Nothing but the list of labels is kept."""


class EmulatorShelf(Shelf):
    """A conversation in the emulator, reached in process. Other processes write to its database."""

    def __init__(self, emulator: Emulator) -> None:
        super().__init__()
        self._emulator = emulator
        self._transport = HTTP_FAMILY.ASGITransport(app=emulator)

    async def create(self) -> None:
        """Create the conversation."""
        async with self._emulator.client() as client:
            self.conversation_id = (await client.conversations.create()).id

    async def serve(self, request: Any) -> Any:
        return await self._transport.handle_async_request(request)

    async def _append(self, labels: Sequence[str]) -> None:
        rows = [(self.conversation_id, _id(label), json.dumps(stored(_id(label), label))) for label in labels]
        self._execute("INSERT INTO items (conversation_id, id, body) VALUES (?, ?, ?)", rows)

    async def _delete(self, labels: Sequence[str]) -> None:
        rows = [(self.conversation_id, _id(label)) for label in labels]
        self._execute("DELETE FROM items WHERE conversation_id = ? AND id = ?", rows)

    def _execute(self, statement: str, rows: list[tuple]) -> None:
        store = self._emulator._store
        with store._mutex:
            connection: sqlite3.Connection = store._connection
            connection.executemany(statement, rows)


class RemoteShelf(Shelf):
    """A conversation on a server that is reached through a socket.

    Args:
        base_url: The URL of the server.
        http: A client for what other processes do, and for the requests of the client under test.
        silent: What the server does with a cursor that is gone.
    """

    def __init__(self, base_url: str, http: Any, *, silent: bool) -> None:
        super().__init__(silent=silent)
        self._base_url = base_url
        self._http = http
        self._ids: dict[str, str] = {}

    async def create(self) -> None:
        """Create the conversation."""
        self.conversation_id = (await self._request("POST", "/conversations", json={}))["id"]

    async def serve(self, request: Any) -> Any:
        url = self._base_url.removesuffix("/v1") + request.url.raw_path.decode()
        answer = await self._http.request(request.method, url)
        return HTTP_FAMILY.Response(answer.status_code, content=answer.content)

    async def _append(self, labels: Sequence[str]) -> None:
        path = f"/conversations/{self.conversation_id}/items"
        for start in range(0, len(labels), 20):
            some = labels[start : start + 20]
            items = [{"type": "message", "role": "user", "content": label} for label in some]
            added = (await self._request("POST", path, json={"items": items}))["data"]
            self._ids.update(zip(some, (item["id"] for item in added), strict=True))

    async def _delete(self, labels: Sequence[str]) -> None:
        for label in labels:
            await self._request("DELETE", f"/conversations/{self.conversation_id}/items/{self._ids[label]}")

    async def _request(self, method: str, path: str, **options: Any) -> Any:
        answer = await self._http.request(method, self._base_url + path, **options)
        answer.raise_for_status()
        return answer.json()


def stored(item_id: str, label: str) -> dict:
    """Return a user message as it is listed."""
    content = [{"type": "input_text", "text": label}]
    return {"id": item_id, "type": "message", "role": "user", "status": "completed", "content": content}


def _id(label: str) -> str:
    return f"msg_{label}"
