"""Delete everything of a user, and be able to show it.

1. One transaction after the other removes names of the user, and schedules the deletion of their
   conversations, as the removal of a name does; then the user's key and the ids of responses follow.
2. Each object is noted before its DELETE is sent, with its outcome after that.
3. Once all are deleted, these notes are the report, and are removed.

A process may be killed at any point: the next erasure of the user continues from the scheduled deletions and
the notes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

import openai
from sqlalchemy import ColumnElement, and_, case, delete, exists, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from openai_sessions._api.client import ConversationsClient
from openai_sessions._conversation.lazy import LazyConversation
from openai_sessions._conversation.locked import LockedConversation
from openai_sessions._conversation.responding import ids_of
from openai_sessions._conversation.writing import Journal, delete_all_items, delete_conversation
from openai_sessions._items.types import Item
from openai_sessions.directory._database import (
    Database,
    branches,
    deletions,
    erasures,
    insert_into,
    is_branch_of_name,
    keys,
    names,
    responses,
)
from openai_sessions.directory._keys import delete_keys
from openai_sessions.directory._registration import for_each
from openai_sessions.directory._rows import DirectoryTransaction
from openai_sessions.directory._values import ErasedObjects, ErasureReport, LostCreation
from openai_sessions.encryption._keys import KeyStore
from openai_sessions.errors import ConversationNotFoundError, SessionError

Kind = Literal["conversation", "item", "response", "file", "key"]

Status = Literal["noted", "deleted", "already_gone", "failed"]

_UNFINISHED = ("noted", "failed")
"""The statuses of objects that may still be stored."""

_NAMES_PER_TRANSACTION = 100

_MAX_ROWS = 1000
"""Rows of one INSERT: SQLite takes 32,766 parameters."""

_FATAL = (openai.AuthenticationError, openai.RateLimitError, openai.APIConnectionError)
"""Errors that the next deletion would raise too."""

_FILE_PARTS = ("input_file", "input_image", "computer_screenshot")
"""The parts of items that name an uploaded file. Citations name files too, which may be shared, such as those
of a vector store: they are not among these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureScope:
    """What an erasure deletes.

    Attributes:
        conversations: Names, their conversations and the user's key.
        items: The items of conversations.
        responses: Stored responses.
        files: Files that items name.
    """

    conversations: bool
    items: bool
    responses: bool
    files: bool


class ErasureRows:
    """The rows of the database that an erasure of a user reads and writes.

    Args:
        database: The database of the directory.
        user: The user.
    """

    def __init__(self, database: Database, user: str) -> None:
        self._database = database
        self.user = user

    async def take_names(self) -> None:
        """Remove all names of the user, and schedule the deletion of their conversations."""
        while await self._database.write(self._take_names):
            pass

    async def _take_names(self, connection: AsyncConnection) -> int:
        transaction = DirectoryTransaction.on(self._database, connection)
        statement = (
            select(names.c.entry_id, names.c.name)
            .where(self._is_of(names))
            .order_by(names.c.entry_id)
            .limit(_NAMES_PER_TRANSACTION)
            .with_for_update()
        )
        rows = (await connection.execute(statement)).all()
        for entry_id, name in rows:
            conversation_ids = await transaction.conversations_of(entry_id)
            await transaction.schedule_deletions(conversation_ids, name=name, user=self.user, reason="erased")
            await transaction.remove(entry_id)
        return len(rows)

    async def forget_registered(self) -> None:
        """Remove the notes of conversations that a name has: they were to stay, or are another user's now."""
        noted_in = func.coalesce(erasures.c.conversation_id, erasures.c.object_id)
        is_registered = exists().where(
            branches.c.tenant == erasures.c.tenant, branches.c.conversation_id == noted_in
        )
        is_obsolete = and_(self._is_of(erasures), erasures.c.status.in_(_UNFINISHED), is_registered)

        async def forget(connection: AsyncConnection) -> None:
            await connection.execute(delete(erasures).where(is_obsolete))

        await self._database.write(forget)

    async def take_key(self) -> None:
        """Delete the key of the user, and note that."""

        async def take(connection: AsyncConnection) -> None:
            if await delete_keys(connection, self._database.tenant, self.user):
                await self._upsert(connection, [self._row("key", self.user, "deleted")])

        await self._database.write(take)

    async def take_responses(self) -> None:
        """Move the ids of the user's responses to the notes."""

        async def take(connection: AsyncConnection) -> None:
            is_user = self._is_of(responses)
            moved = select(
                responses.c.tenant,
                responses.c.user_id,
                literal("response"),
                responses.c.response_id,
                literal("noted"),
            ).where(is_user)
            columns = ["tenant", "user_id", "kind", "object_id", "status"]
            statement = insert_into(connection, erasures).from_select(columns, moved)
            await connection.execute(statement.on_conflict_do_nothing())
            await connection.execute(delete(responses).where(is_user))

        await self._database.write(take)

    async def conversations(self, *, registered: bool) -> list[str]:
        """Return the conversations of the user that are to be deleted, and those left over.

        Args:
            registered: Also those of the names. Once these are taken, a name that has a conversation again
                was created since, and keeps it.
        """
        of_names = (
            select(branches.c.conversation_id)
            .join(names, is_branch_of_name)
            .where(self._is_of(names), branches.c.conversation_id.is_not(None))
        )
        pending = select(deletions.c.conversation_id).where(self._is_of(deletions))
        found = [*(await self._scalars(of_names) if registered else ()), *await self._scalars(pending)]
        return list(dict.fromkeys([*found, *await self.unfinished("conversation")]))

    async def responses(self) -> list[str]:
        """Return the ids of the responses of the user that are not noted yet."""
        return await self._scalars(select(responses.c.response_id).where(self._is_of(responses)))

    async def has_key(self) -> bool:
        """Return whether the user has a key."""
        return bool(await self._scalars(select(keys.c.user_id).where(self._is_of(keys))))

    async def unfinished(self, kind: Kind) -> list[str]:
        """Return the noted objects of a kind that are not known to be deleted."""
        is_unfinished = and_(erasures.c.kind == kind, erasures.c.status.in_(_UNFINISHED))
        statement = select(erasures.c.object_id).where(self._is_of(erasures), is_unfinished)
        return await self._scalars(statement.order_by(erasures.c.object_id))

    async def note(self, kind: Kind, ids: Sequence[str], conversation_id: str | None = None) -> None:
        """Note objects that are about to be deleted, unless they are noted."""
        rows = [self._row(kind, each, "noted", conversation_id=conversation_id) for each in ids]

        async def note(connection: AsyncConnection) -> None:
            for start in range(0, len(rows), _MAX_ROWS):
                statement = insert_into(connection, erasures).values(rows[start : start + _MAX_ROWS])
                await connection.execute(statement.on_conflict_do_nothing())

        if rows:
            await self._database.write(note)

    async def mark(
        self,
        kind: Kind,
        ids: Sequence[str],
        status: Status,
        *,
        reason: str | None = None,
        conversation_id: str | None = None,
    ) -> None:
        """Note what became of objects. One that was deleted before is not called already gone."""
        rows = [self._row(kind, each, status, reason, conversation_id) for each in ids]

        async def mark(connection: AsyncConnection) -> None:
            await self._upsert(connection, rows)

        if rows:
            await self._database.write(mark)

    async def finish(self, conversation_id: str, status: Status | None, reason: str | None = None) -> None:
        """Note what became of a conversation, and of its noted items.

        Args:
            conversation_id: The conversation.
            status: None if it stays, and its items were deleted.
            reason: Why it failed.
        """
        is_left = and_(erasures.c.conversation_id == conversation_id, erasures.c.status != "deleted")
        items = update(erasures).where(self._is_of(erasures), erasures.c.kind == "item", is_left)
        of_items = {"status": "failed" if status == "failed" else "already_gone", "reason": reason}
        is_itself = and_(erasures.c.kind == "conversation", erasures.c.object_id == conversation_id)
        is_scheduled = and_(self._is_of(deletions), deletions.c.conversation_id == conversation_id)

        async def finish(connection: AsyncConnection) -> None:
            await connection.execute(items.values(of_items))
            if status is None:
                await connection.execute(delete(erasures).where(self._is_of(erasures), is_itself))
            else:
                await self._upsert(connection, [self._row("conversation", conversation_id, status, reason)])
            if status in {"deleted", "already_gone"}:
                await connection.execute(delete(deletions).where(is_scheduled))

        await self._database.write(finish)

    async def take_notes(self) -> list[tuple[str, str, str, str | None]]:
        """Return the kind, id, status and reason of each noted object; remove the notes if none is left."""
        columns = (erasures.c.kind, erasures.c.object_id, erasures.c.status, erasures.c.reason)
        statement = select(*columns).where(self._is_of(erasures)).order_by(erasures.c.object_id)

        async def take(connection: AsyncConnection) -> list[tuple[str, str, str, str | None]]:
            rows = [(row[0], row[1], row[2], row[3]) for row in await connection.execute(statement)]
            if not any(status in _UNFINISHED for _, _, status, _ in rows):
                await connection.execute(delete(erasures).where(self._is_of(erasures)))
            return rows

        return await self._database.write(take)

    async def _upsert(self, connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
        for start in range(0, len(rows), _MAX_ROWS):
            statement = insert_into(connection, erasures).values(list(rows[start : start + _MAX_ROWS]))
            was_deleted = and_(erasures.c.status == "deleted", statement.excluded.status == "already_gone")
            status = case((was_deleted, erasures.c.status), else_=statement.excluded.status)
            changed = {"status": status, "reason": statement.excluded.reason}
            await connection.execute(
                statement.on_conflict_do_update(
                    index_elements=list(erasures.primary_key.columns), set_=changed
                )
            )

    def _row(
        self,
        kind: Kind,
        object_id: str,
        status: Status,
        reason: str | None = None,
        conversation_id: str | None = None,
    ) -> dict[str, Any]:
        key = {"tenant": self._database.tenant, "user_id": self.user, "kind": kind, "object_id": object_id}
        return {**key, "conversation_id": conversation_id, "status": status, "reason": reason}

    def _is_of(self, table: Any) -> ColumnElement[bool]:
        return and_(table.c.tenant == self._database.tenant, table.c.user_id == self.user)

    async def _scalars(self, statement: Any) -> list[str]:
        async def read(connection: AsyncConnection) -> list[str]:
            return list((await connection.execute(statement)).scalars())

        return await self._database.read(read)


Note = tuple[str, str, str, str | None]
"""The kind, id, status and reason of an object."""


class Erasure:
    """The requests of one erasure.

    Args:
        rows: The rows of the user.
        scope: What to delete.
        client: Sends the requests.
        open_conversation: Opens a conversation by its id.
        key_store: Has keys of the user outside of the directory, or None.
    """

    def __init__(
        self,
        rows: ErasureRows,
        scope: ErasureScope,
        *,
        client: ConversationsClient,
        open_conversation: Callable[[str], LazyConversation],
        key_store: KeyStore | None,
    ) -> None:
        self._rows = rows
        self._scope = scope
        self._client = client
        self._open = open_conversation
        self._key_store = key_store
        self._obstacle: str | None = None

    async def run(self) -> list[Note]:
        """Delete, and return what became of each object."""
        scope, rows = self._scope, self._rows
        if scope.conversations:
            await rows.take_names()
            await rows.take_key()
            await self._destroy_keys()
        await rows.forget_registered()
        if scope.responses:
            await rows.take_responses()
        if scope.conversations or scope.items or scope.files:
            conversation_ids = await rows.conversations(registered=not scope.conversations)
            await rows.note("conversation", conversation_ids)
            await for_each(conversation_ids, self._erase_conversation)
        if scope.responses:
            await self._erase_each("response", self._client.delete_response)
        if scope.files:
            await self._erase_each("file", self._client.delete_file)
        not_tried = ("failed", f"not tried: {self._obstacle}")
        return [(*note[:2], *not_tried) if note[2] == "noted" else note for note in await rows.take_notes()]

    async def plan(self) -> list[Note]:
        """Return what `run` would delete, changing nothing."""
        scope, rows = self._scope, self._rows
        notes: list[Note] = []
        if scope.conversations and await rows.has_key():
            notes.append(("key", rows.user, "deleted", None))
        if scope.conversations or scope.items or scope.files:
            await for_each(await rows.conversations(registered=True), lambda each: self._examine(each, notes))
        if scope.responses:
            found = [*await rows.responses(), *await rows.unfinished("response")]
            notes.extend(("response", each, "deleted", None) for each in found)
        if scope.files:
            notes.extend(("file", each, "deleted", None) for each in await rows.unfinished("file"))
        return sorted(set(notes))

    async def _examine(self, conversation_id: str, notes: list[Note]) -> None:
        """Note a conversation, its items and the files that they name, from its listing."""
        scope = self._scope
        try:
            items = await self._open(conversation_id).run(LockedConversation.newest, None) or []
        except ConversationNotFoundError:
            notes.append(("conversation", conversation_id, "already_gone", None))
            return
        if scope.conversations:
            notes.append(("conversation", conversation_id, "deleted", None))
        if scope.items:
            paths = _paths(conversation_id, ids_of(items))
            notes.extend(("item", path, "deleted", None) for path in paths)
        if scope.files:
            notes.extend(("file", each, "deleted", None) for each in files_of(items))

    async def _destroy_keys(self) -> None:
        """Destroy the keys in the given store; its failure is reported, whatever it is."""
        user = self._rows.user
        if self._key_store is None:
            return
        try:
            if await self._key_store.destroy_keys(user):
                await self._rows.mark("key", [user], "deleted")
        except Exception as error:  # noqa: BLE001 -- a store may raise anything; the rest is erased
            await self._rows.mark("key", [user], "failed", reason=_reason(error))

    async def _erase_conversation(self, conversation_id: str) -> None:
        outcome = await self._tried(lambda: self._open(conversation_id).run(self._erase_locked))
        if outcome is not None:
            status, reason = outcome
            stays = status == "deleted" and not self._scope.conversations
            await self._rows.finish(conversation_id, None if stays else status, reason)

    async def _erase_locked(self, locked: LockedConversation) -> bool:
        """Delete the items of a conversation, and then the conversation; return whether it was there."""
        conversation_id = locked.conversation_id

        async def before(items: Sequence[Item]) -> None:
            await self._rows.note("item", _paths(conversation_id, ids_of(items)), conversation_id)
            if self._scope.files:
                await self._rows.note("file", files_of(items))

        async def after(item_ids: Sequence[str]) -> None:
            paths = _paths(conversation_id, item_ids)
            await self._rows.mark("item", paths, "deleted", conversation_id=conversation_id)

        if self._scope.items:
            await delete_all_items(locked, Journal(before, after))
        elif self._scope.files:
            await self._rows.note("file", files_of(await locked.newest(None)))
        return await delete_conversation(locked) if self._scope.conversations else True

    async def _erase_each(self, kind: Kind, delete: Callable[[str], Awaitable[bool]]) -> None:
        async def erase(object_id: str) -> None:
            outcome = await self._tried(lambda: delete(object_id))
            if outcome is not None:
                await self._rows.mark(kind, [object_id], outcome[0], reason=outcome[1])

        await for_each(await self._rows.unfinished(kind), erase)

    async def _tried(self, delete: Callable[[], Awaitable[bool | None]]) -> tuple[Status, str | None] | None:
        """Return the status and reason of a deletion; None if it was not tried, as another failed for all."""
        if self._obstacle is not None:
            return None
        try:
            return ("deleted" if await delete() else "already_gone"), None
        except ConversationNotFoundError:
            return "already_gone", None
        except (openai.OpenAIError, SessionError) as error:
            reason = _reason(error)
            if isinstance(error, _FATAL):
                self._obstacle = self._obstacle or reason
            return "failed", reason


def _reason(error: Exception) -> str:
    """Name an error without its message, which may contain what is to be erased."""
    facts = [str(fact) for name in ("status_code", "code") if (fact := getattr(error, name, None))]
    return type(error).__name__ + (f" ({', '.join(facts)})" if facts else "")


def _paths(conversation_id: str, item_ids: Iterable[str]) -> list[str]:
    return [f"{conversation_id}/items/{item_id}" for item_id in item_ids]


def files_of(items: Iterable[Item]) -> list[str]:
    """Return the ids of uploaded files that items name, each once."""
    return list(dict.fromkeys(file_id for item in items for file_id in _files_in(item)))


def _files_in(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _files_in(each)
    elif isinstance(value, dict):
        if value.get("type") in _FILE_PARTS and isinstance(value.get("file_id"), str):
            yield value["file_id"]
        for each in value.values():
            yield from _files_in(each)


def erasure_report(
    user: str,
    notes: Iterable[Note],
    *,
    dry_run: bool,
    at: datetime,
    lost_creations: Sequence[LostCreation],
) -> ErasureReport:
    """Return the report of an erasure."""
    deleted: dict[str, list[str]] = defaultdict(list)
    gone: dict[str, list[str]] = defaultdict(list)
    failed: dict[str, dict[str, str]] = defaultdict(dict)
    for kind, object_id, status, reason in notes:
        if status == "failed":
            failed[kind][object_id] = reason or ""
        else:
            (deleted if status == "deleted" else gone)[kind].append(object_id)
    kinds = {
        f"{kind}s": ErasedObjects(
            deleted=tuple(deleted[kind]), already_gone=tuple(gone[kind]), failed=failed[kind]
        )
        for kind in get_args(Kind)
    }
    return ErasureReport(user=user, at=at, dry_run=dry_run, lost_creations=tuple(lost_creations), **kinds)
