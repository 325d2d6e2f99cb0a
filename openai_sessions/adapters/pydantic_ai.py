"""Conversations of Pydantic AI in hosted conversations.

Requires Pydantic AI and SQLAlchemy: `pip install "openai-sessions[pydantic-ai]"`.

The directory has a name for each conversation. Its metadata contains the record: the head, the revision,
usage, deferred tool requests and the scope. The hosted conversation of the name contains the entries, one
item each: a message whose first part is text for people and other programs, and whose second part is the
entry, as JSON.

A save appends the entries first and then replaces the record, which the database does for one of several
writers that have read the same record. A reader follows the entries back from the head, so that it sees all
of a save or nothing of it. The loser of a race deletes its entries by the ids of their items.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import openai

try:
    from pydantic import TypeAdapter
    from pydantic_ai.conversation_store import (
        ConversationConflict,
        ConversationEntry,
        ConversationRecord,
        ConversationStore,
    )
    from pydantic_ai.messages import ModelMessagesTypeAdapter
except ImportError as error:
    raise ImportError(
        "OpenAIConversationStore requires pydantic-ai-slim 2.66 or newer: "
        "pip install 'openai-sessions[pydantic-ai]'",
        name=error.name,
    ) from error

from openai_sessions.errors import NameChangedError, NameNotFoundError, SessionError
from openai_sessions.session import HistoryLimits

if TYPE_CHECKING:
    from openai_sessions.directory import NamedSession, SessionDirectory, SessionEntry

__all__ = ["OpenAIConversationStore"]

logger = logging.getLogger("openai_sessions")

_RECORD = "pydantic_ai.record"
"""The key of the record in the metadata of a name."""

_MARK = "openai-sessions:pydantic-ai:v1:"
"""The start of the second part of an item. Its JSON follows."""

_BRANCH = "main"
"""The only branch of each name: with it, a directory opens names that exist, and creates none."""

_WHOLE: dict[str, Any] = {
    "history_limits": HistoryLimits(from_compaction=False),
    "reading": None,
    "session_settings": None,
}
"""Options of sessions that read everything, whatever the options of the directory are."""

_MAX_SHOWN = 10_000
"""Characters of each part of a message in the text for people."""

_records = TypeAdapter(ConversationRecord)


class OpenAIConversationStore(ConversationStore):
    """Store conversations of Pydantic AI in hosted conversations, with their names in a `SessionDirectory`.

    It keeps the whole contract of `ConversationStore`, in any number of tasks and processes that share the
    database of the directory. A save is stored once and whole, although replies are lost, or not at all. Of
    several that continue the same revision one succeeds, and the others raise `ConversationConflict`. What a
    process leaves that is killed in a save, and what a failed save could not undo, are entries that no
    history contains: nobody reads them, and deleting the conversation deletes them. A first save that fails,
    or that loses against a deletion, leaves an empty name, which is in no list and which the next one uses.

    Loading takes one request for each 100 messages, and one for the newest messages with `limit`; if the
    conversation was branched, a limit may take more. A save takes one request for each 20 new messages, and
    one more if the process has not used the conversation. A fork copies the history that it shares: entries
    keep their ids, and each conversation is deleted on its own. Listing reads the records of all
    conversations from the database: give each customer a `tenant`.

    `delete` removes the name and deletes the hosted conversation. If OpenAI cannot be reached, the error is
    raised, the conversation is gone from the store, and the next `directory.sweep()` deletes it at OpenAI.
    OpenAI keeps the items of a deleted conversation, out of reach.

    Args:
        directory: The directory. Its tables must exist; the caller closes it.
        prefix: The start of the names that belong to the store. A conversation id may have as many characters
            as a name of 255 leaves.
    """

    def __init__(self, directory: SessionDirectory, *, prefix: str = "pydantic-ai/") -> None:
        self._directory = directory
        self._prefix = prefix

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """Return the record of a conversation, or None. Makes no request to OpenAI."""
        return _record_of(await self._directory.get(self._prefix + conversation_id))

    async def read_records(
        self, *, scope: str | None = None, limit: int | None = None
    ) -> Sequence[ConversationRecord]:
        """Return the records, most recently saved first. Makes no request to OpenAI."""
        found = []
        after: str | None = None
        while True:
            page = await self._directory.conversations(
                prefix=self._prefix, order="name", limit=1000, after=after
            )
            found += [record for entry in page.entries if (record := _record_of(entry)) is not None]
            after = page.next_after
            if after is None:
                break
        wanted = [record for record in found if scope is None or record.scope == scope]
        return sorted(wanted, key=lambda record: record.updated_at, reverse=True)[:limit]

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        """Store new entries, and then the record, in place of the one with `expected_revision`.

        A cancellation before the record is replaced stores nothing that a reader sees. A later one leaves
        both stored: load the conversation again.

        Raises:
            ConversationConflict: Another record is stored, or none, or the history is gone that a fork is
                based on. Nothing of the new entries is stored.
            UnsettledWriteError, openai.OpenAIError: The entries could not be stored. The record is unchanged.
            sqlalchemy.exc.SQLAlchemyError: The database failed: the record may or may not be replaced.
        """
        conversation_id, name = record.conversation_id, self._prefix + record.conversation_id
        stored = await self._directory.get(name)
        before = _record_of(stored)
        if (None if before is None else before.revision) != expected_revision:
            raise ConversationConflict(conversation_id)
        metadata = {} if stored is None else stored.metadata
        changed = {**metadata, _RECORD: _records.dump_json(record).decode()}
        try:
            entries = [*await self._shared(record, before, new_entries), *new_entries]
            items = [_item_of(entry, record.revision) for entry in entries]
            session = await self._directory.session(name, None if before is None else _BRANCH, **_WHOLE)
        except LookupError:  # deleted by another writer: a NameNotFoundError is one too
            raise ConversationConflict(conversation_id) from None
        if items:
            await session.add_items(items)
        try:
            await self._directory.set_metadata(name, changed, expected=metadata)
        except (NameChangedError, NameNotFoundError):
            if items:
                await _delete_written(session, record.revision)
            raise ConversationConflict(conversation_id) from None

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """Remove a record, and delete its hosted conversation.

        Raises:
            ConversationConflict: No record with `expected_revision` is stored. Nothing was deleted.
            openai.OpenAIError: The hosted conversation could not be deleted: the next sweep of the directory
                does it. The record is removed.
        """
        name = self._prefix + conversation_id
        stored = await self._directory.get(name)
        record = _record_of(stored)
        if stored is None or record is None or record.revision != expected_revision:
            raise ConversationConflict(conversation_id)
        try:
            was_there = await self._directory.forget(name, delete=True, expected=stored.metadata)
        except NameChangedError:
            was_there = False
        if not was_there:
            raise ConversationConflict(conversation_id)

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """Return an entry.

        Raises:
            LookupError: No conversation has it. All are read, newest first, unless the id comes from a
                record.
        """
        return (await self.read_history(entry_id, limit=1))[0]

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        """Return the entries up to `head_id`, oldest first, or only the last `limit` of them.

        Raises:
            LookupError: An entry is not stored. All conversations are read, newest first, unless the id comes
                from a record.
        """
        if head_id is None or limit == 0:
            return []
        if isinstance(head_id, _EntryId):
            return await self._history_in(head_id.conversation_id, head_id, limit)
        for record in await self.read_records():
            try:
                return await self._history_in(record.conversation_id, head_id, limit)
            except LookupError:
                continue
        raise LookupError(f"no conversation of the store has the entry {head_id!r}")

    async def _history_in(
        self, conversation_id: str, head_id: str, limit: int | None
    ) -> list[ConversationEntry]:
        """Return the entries up to `head_id` of a conversation; read twice as far back until all are there.

        Raises:
            LookupError: The conversation does not have one of them.
        """
        session = await self._directory.session(self._prefix + conversation_id, _BRANCH, **_WHOLE)
        count = limit
        while True:
            items = await session.get_items(limit=count)
            wanted: str | None = head_id
            history: list[ConversationEntry] = []
            for item in reversed(items):
                written = _written_in(item)
                if written is not None and written["id"] == wanted and wanted is not None:
                    history.append(_entry_of(written))
                    wanted = history[-1].parent_id
                    if wanted is None or len(history) == limit:
                        return history[::-1]
            if count is None or len(items) < count:
                raise LookupError(f"conversation {conversation_id!r} does not have the entry {wanted!r}")
            count *= 2

    async def _shared(
        self,
        record: ConversationRecord,
        before: ConversationRecord | None,
        new_entries: Sequence[ConversationEntry],
    ) -> list[ConversationEntry]:
        """Return the entries to copy: those before the new ones, if the record is that of a new fork.

        Raises:
            LookupError: They are not stored.
        """
        base = new_entries[0].parent_id if new_entries else record.head_id
        if base is None or (before is not None and base == before.head_id):
            return []
        if before is not None:
            await self._history_in(record.conversation_id, base, 1)
            return []
        if record.forked_from is not None:
            return await self._history_in(record.forked_from, base, None)
        return await self.read_history(base)


class _EntryId(str):
    """The id of an entry, with the conversation of its record, so that it need not be searched for."""

    __slots__ = ("conversation_id",)

    conversation_id: str


def _located(entry_id: str, conversation_id: str) -> str:
    located = _EntryId(entry_id)
    located.conversation_id = conversation_id
    return located


def _record_of(stored: SessionEntry | None) -> ConversationRecord | None:
    """Return the record in the metadata of a name, or None."""
    if stored is None or _RECORD not in stored.metadata:
        return None
    record = _records.validate_json(stored.metadata[_RECORD])
    if record.head_id is not None:
        record.head_id = _located(record.head_id, record.conversation_id)
    record.branches = [_located(tip, record.conversation_id) for tip in record.branches]
    return record


def _item_of(entry: ConversationEntry, revision: str) -> dict[str, Any]:
    """Return the item of an entry, with the revision of the record that it is written with."""
    (message,) = ModelMessagesTypeAdapter.dump_python([entry.message], mode="json")
    written = {"revision": revision, "id": entry.id, "parent_id": entry.parent_id, "message": message}
    is_response = message["kind"] == "response"
    is_asked = any(part["part_kind"] == "user-prompt" for part in message["parts"])
    role = "assistant" if is_response else "user" if is_asked else "developer"
    text = "\n".join(filter(None, map(_shown, message["parts"]))) or f"[{message['kind']}]"
    parts = [text, _MARK + json.dumps(written, ensure_ascii=False, separators=(",", ":"))]
    kind = "output_text" if is_response else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": part} for part in parts]}


def _shown(part: Mapping[str, Any]) -> str:
    """Return the text of a part of a message, for people."""
    content = part.get("args" if part["part_kind"].endswith("tool-call") else "content")
    if isinstance(content, list) and part["part_kind"] == "user-prompt":
        content = " ".join(each if isinstance(each, str) else f"[{each['kind']}]" for each in content)
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    text = f"[{part['part_kind']}]" if content is None else text[:_MAX_SHOWN]
    return f"{part['tool_name']}: {text}" if part.get("tool_name") else text


def _written_in(item: Any) -> dict[str, Any] | None:
    """Return what `_item_of` has written, or None for an item of another program."""
    content = item.get("content")
    if not isinstance(content, list) or len(content) != 2:
        return None
    text = content[1].get("text")
    if not isinstance(text, str) or not text.startswith(_MARK):
        return None
    written: dict[str, Any] = json.loads(text.removeprefix(_MARK))
    return written


def _entry_of(written: Mapping[str, Any]) -> ConversationEntry:
    (message,) = ModelMessagesTypeAdapter.validate_python([written["message"]])
    return ConversationEntry(id=written["id"], parent_id=written["parent_id"], message=message)


async def _delete_written(session: NamedSession, revision: str) -> None:
    """Delete the items that were written with a revision, which no other save has."""
    try:
        written = [
            item_id
            for turn in await session.turns()
            for item, item_id in zip(turn.items, turn.item_ids, strict=True)
            if (_written_in(item) or {}).get("revision") == revision
        ]
        await session.delete_items(written)
    except (SessionError, openai.OpenAIError) as error:
        logger.warning("entries of a save that lost a race are left: %s", type(error).__name__)
