"""The operations on files: from an authenticated request to the body of the response, or to the content.

The fields, limits and choices are those of the openai package (3.57). A file is kept until it is deleted.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from openai_sessions.emulator._errors import JsonObject, file_not_found, invalid_choice, missing_parameter
from openai_sessions.emulator._items import PageRequest, check_body, check_integer, check_page, last_value
from openai_sessions.emulator._schema import check_range
from openai_sessions.emulator._store import Page, page_of

if TYPE_CHECKING:
    from openai_sessions.emulator._conversations import ApiRequest
    from openai_sessions.emulator._items import Query
    from openai_sessions.emulator._store import Store


MAX_PAGE_LENGTH = 10_000

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")

_ANCHOR, _SECONDS = "expires_after[anchor]", "expires_after[seconds]"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    filename TEXT NOT NULL,
    purpose TEXT NOT NULL,
    content BLOB NOT NULL
);
"""


class FileOperations:
    """The operations on files; a refused request raises `ApiError`."""

    def __init__(self, store: FileStore) -> None:
        self._store = store

    def create(self, request: ApiRequest) -> JsonObject:
        """POST /files, a form."""
        form = check_body(request.body, known=("file", "purpose", _ANCHOR, _SECONDS))
        for name, given in (("file", request.files), ("purpose", form)):
            if name not in given:
                raise missing_parameter(name)
        if form["purpose"] not in PURPOSES:
            raise invalid_choice("purpose", value=str(form["purpose"]), choices=PURPOSES)
        seconds = _seconds(form)
        now = int(time.time())
        return self._store.add(
            owner=request.owner,
            created_at=now,
            expires_at=None if seconds is None else now + seconds,
            filename=form["file"],
            purpose=form["purpose"],
            content=request.files["file"],
        )

    def list_all(self, request: ApiRequest) -> JsonObject:
        """GET /files."""
        page = check_page(request.query, default=MAX_PAGE_LENGTH, maximum=MAX_PAGE_LENGTH)
        return self._store.page(page, request.query, owner=request.owner).body()

    def retrieve(self, request: ApiRequest) -> JsonObject:
        """GET /files/{id}."""
        return self._store.file(request.path["file_id"], owner=request.owner)

    def content(self, request: ApiRequest) -> bytes:
        """GET /files/{id}/content."""
        return self._store.content(request.path["file_id"], owner=request.owner)

    def delete(self, request: ApiRequest) -> JsonObject:
        """DELETE /files/{id}."""
        file_id = request.path["file_id"]
        self._store.delete(file_id, owner=request.owner)
        return {"id": file_id, "object": "file", "deleted": True}


def _seconds(form: JsonObject) -> int | None:
    """Return the seconds after which the file expires, if the form has them."""
    if _ANCHOR not in form and _SECONDS not in form:
        return None
    for name in (_ANCHOR, _SECONDS):
        if name not in form:
            raise missing_parameter(name)
    if form[_ANCHOR] != "created_at":
        raise invalid_choice(_ANCHOR, value=str(form[_ANCHOR]), choices=("created_at",))
    seconds = check_integer({_SECONDS: [form[_SECONDS]]}, _SECONDS)
    if seconds is not None:
        check_range(_SECONDS, seconds, minimum=3600, maximum=2_592_000)
    return seconds


class FileStore:
    """The files, in the database of a `Store`; each key sees its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        with store.exclusive() as connection:
            connection.executescript(_SCHEMA)

    def add(self, **fields: Any) -> JsonObject:
        """Store a file, given by its columns without the id, and return its object."""
        file_id = f"file-{secrets.token_hex(12)}"
        columns = ("id", *fields)
        with self._store.writing(None) as connection:
            connection.execute(
                f"INSERT INTO files ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",  # noqa: S608 - the names are ours
                (file_id, *fields.values()),
            )
        return self.file(file_id, owner=fields["owner"])

    def page(self, page: PageRequest, query: Query, *, owner: str) -> Page:
        """Return a page of the owner's files.

        Raises:
            ApiError: 404 for a cursor that is not one of them.
        """
        return page_of(self.files(owner=owner, purpose=last_value(query, "purpose")), page, kind="File")

    def files(self, *, owner: str | None = None, purpose: str | None = None) -> list[JsonObject]:
        """Return the objects of the files, oldest first: of all owners and purposes, or of the given ones."""
        with self._store.exclusive() as connection:
            rows = connection.execute(
                f"SELECT {_FIELDS} FROM files"  # noqa: S608 - the names are ours
                " WHERE (? IS NULL OR owner = ?) AND (? IS NULL OR purpose = ?) ORDER BY position",
                (owner, owner, purpose, purpose),
            ).fetchall()
        return [_file_object(row) for row in rows]

    def file(self, file_id: str, *, owner: str) -> JsonObject:
        """Return the object of a file; an unknown one raises the API's 404."""
        return _file_object(self._row(_FIELDS, file_id, owner))

    def content(self, file_id: str, *, owner: str) -> bytes:
        """Return what is in a file; an unknown one raises the API's 404."""
        return bytes(self._row("content", file_id, owner)[0])

    def delete(self, file_id: str, *, owner: str) -> None:
        """Delete a file; an unknown one raises the API's 404."""
        with self._store.writing(None) as connection:
            deleted = connection.execute("DELETE FROM files WHERE id = ? AND owner = ?", (file_id, owner))
            if not deleted.rowcount:
                raise file_not_found(file_id)

    def _row(self, columns: str, file_id: str, owner: str) -> tuple[Any, ...]:
        with self._store.exclusive() as connection:
            row: tuple[Any, ...] | None = connection.execute(
                f"SELECT {columns} FROM files WHERE id = ? AND owner = ?",  # noqa: S608 - the names are ours
                (file_id, owner),
            ).fetchone()
        if row is None:
            raise file_not_found(file_id)
        return row


_FIELDS = "id, length(content), created_at, expires_at, filename, purpose"


def _file_object(row: tuple[Any, ...]) -> JsonObject:
    file_id, size, created_at, expires_at, filename, purpose = row
    return {
        "id": file_id,
        "object": "file",
        "bytes": size,
        "created_at": created_at,
        "expires_at": expires_at,
        "filename": filename,
        "purpose": purpose,
        "status": "processed",
        "status_details": None,
    }
