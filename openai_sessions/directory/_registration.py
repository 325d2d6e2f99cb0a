"""Register and delete conversations so that none is forgotten, whenever a process ends.

1. Before a conversation is requested, its creation is recorded with a mark that the conversation will carry.
2. Once its id is known, one transaction registers it under the name or, if another process registered one
   first, schedules its deletion; the same transaction removes the record of its creation.
3. Before a conversation is deleted, one transaction takes it from its name and schedules its deletion.
4. Once it is deleted, the scheduled deletion is removed.

Until step 2 is committed only this process knows the id: if it ends before, a lost creation remains.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar
from uuid import uuid4

import anyio
import openai
from sqlalchemy import ColumnElement, RowMapping, and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from openai_sessions._conversation.writing import Progress
from openai_sessions.directory._database import (
    Database,
    branches,
    creations,
    deletions,
    insert_into,
    is_branch_of_name,
    names,
    responses,
    usage,
)
from openai_sessions.directory._rows import DirectoryTransaction, OpenedBranch, title_columns
from openai_sessions.directory._values import LostCreation
from openai_sessions.errors import SessionError, UserMismatchError

T = TypeVar("T")

logger = logging.getLogger("openai_sessions")


class Registration:
    """The branch of a session, and its conversation as registered in the directory.

    Args:
        database: The database of the directory.
        opened: The branch as it was opened.

    Attributes:
        database: The database of the directory.
        opened: The branch as it was last read.
    """

    def __init__(self, database: Database, opened: OpenedBranch) -> None:
        self.database = database
        self.opened = opened

    @property
    def is_over(self) -> bool:
        """Whether the name has expired, unless another process has used it since it was last read."""
        expires_at = self.opened.expires_at
        return expires_at is not None and expires_at <= self.database.clock()

    async def look_up(self) -> str | None:
        """Return the registered conversation, or None, without changing anything.

        Raises:
            UserMismatchError: The name was reset, or created again, for another user.
        """

        async def look_up(connection: AsyncConnection) -> OpenedBranch | None:
            return await self._transaction(connection).look_up(self.opened)

        found = await self.database.read(look_up)
        if found is None:
            return None
        self.opened = found
        return None if self.is_over else found.conversation_id

    async def renew(self, current: str | None) -> str | None:
        """Record that the session is written to, and return the registered conversation.

        Args:
            current: The conversation that the session uses. If its name or branch was forgotten, the session
                keeps it unless its deletion is pending.

        Raises:
            UserMismatchError: The name was reset, or created again, for another user.
        """

        async def renew(connection: AsyncConnection) -> OpenedBranch | None:
            transaction = self._transaction(connection)
            found = await transaction.reopen(self.opened)
            if found is None and (current is None or await transaction.is_deletion_pending(current)):
                return await transaction.recreate(self.opened)
            return found

        opened = await self.database.write(renew)
        if opened is None:
            return current
        self.opened = opened
        return opened.conversation_id

    async def note_creation(self, metadata: Mapping[str, str]) -> str:
        """Record that a conversation is about to be requested; return the mark that it is to carry."""
        creation_id = uuid4().hex
        statement = insert(creations).values(
            tenant=self.database.tenant,
            creation_id=creation_id,
            name=self.opened.name,
            branch=self.opened.branch,
            user_id=self.opened.user,
            metadata=dict(metadata),
            requested_at=self.database.clock(),
            is_lost=False,
        )
        await self.database.write(lambda connection: connection.execute(statement))
        return creation_id

    async def creation_lost(self, creation_id: str) -> None:
        """Record that the response to a creation was lost."""
        statement = update(creations).where(_is_creation(self.database, creation_id)).values(is_lost=True)
        await self.database.write(lambda connection: connection.execute(statement))

    async def forget_creation(self, creation_id: str | None) -> None:
        """Remove the record of a creation: nothing was created, or its id is known."""
        await forget_creation(self.database, creation_id)

    async def claim(self, created: str, creation_id: str) -> str | None:
        """Register a new conversation unless the branch has one; return the registered conversation.

        May be repeated if it is unknown whether it was committed. If it was, and another process has taken
        the conversation from its name since, that is kept: return None, or the conversation registered now.

        Raises:
            UserMismatchError: The name was reset, or created again, for another user. The deletion of the new
                conversation is scheduled.
        """

        async def claim(connection: AsyncConnection) -> OpenedBranch | UserMismatchError:
            transaction = self._transaction(connection)
            opened: OpenedBranch | UserMismatchError
            try:
                opened = await transaction.reopen(self.opened) or await transaction.recreate(self.opened)
            except UserMismatchError as error:
                opened = error
            noted = await connection.execute(
                delete(creations).where(_is_creation(self.database, creation_id))
            )
            if isinstance(opened, OpenedBranch) and noted.rowcount and opened.conversation_id is None:
                return await transaction.register(opened, created)
            owner = await transaction.owner_of(created)
            if owner is None:
                await transaction.schedule_deletions(
                    [created], name=opened.name, user=self.opened.user, reason="lost a race"
                )
            return owner or opened

        claimed = await self.database.write(claim)
        if isinstance(claimed, UserMismatchError):
            raise claimed
        self.opened = claimed
        return claimed.conversation_id

    async def count_turn(self, conversation_id: str, *, asks_for_title: bool) -> bool:
        """Count a turn of the branch that has a conversation, if there is one.

        Args:
            conversation_id: The conversation.
            asks_for_title: Whether the caller would generate a title.

        Returns:
            Whether it is to do so: the name has no title, and no caller was told so before.
        """
        count = update(branches).where(self._has(conversation_id))
        claim = update(names).where(self._is_untitled(conversation_id), ~names.c.is_title_requested)

        async def count_turn(connection: AsyncConnection) -> bool:
            claimed = 0
            if asks_for_title:  # first, as other transactions lock the name before its branches
                claimed = (await connection.execute(claim.values(is_title_requested=True))).rowcount
            await connection.execute(count.values(turn_count=branches.c.turn_count + 1))
            return bool(claimed)

        return await self.database.write(count_turn)

    async def add_title(self, conversation_id: str, title: str) -> None:
        """Store the title of the name that has a conversation, unless it has one."""
        statement = update(names).where(self._is_untitled(conversation_id)).values(title_columns(title))
        await self.database.write(lambda connection: connection.execute(statement))

    def _has(self, conversation_id: str) -> ColumnElement[bool]:
        return and_(branches.c.tenant == self.database.tenant, branches.c.conversation_id == conversation_id)

    def _is_named(self, conversation_id: str) -> ColumnElement[bool]:
        entry_id = select(branches.c.entry_id).where(self._has(conversation_id)).scalar_subquery()
        return and_(names.c.tenant == self.database.tenant, names.c.entry_id == entry_id)

    def _is_untitled(self, conversation_id: str) -> ColumnElement[bool]:
        return and_(self._is_named(conversation_id), names.c.title.is_(None))

    async def add_branch(
        self, branch: str, conversation_id: str, creation_id: str | None, turn_count: int
    ) -> OpenedBranch | None:
        """Add a branch with its conversation to the name.

        Args:
            branch: The branch.
            conversation_id: Its conversation.
            creation_id: The record of the creation of that.
            turn_count: The number of turns in it.

        Returns:
            The branch; None if it exists or the name is gone: then the conversation is to be deleted.
        """

        async def add(connection: AsyncConnection) -> OpenedBranch | None:
            transaction = self._transaction(connection)
            await connection.execute(delete(creations).where(_is_creation(self.database, creation_id)))
            row = await transaction.locked_row(entry_id=self.opened.entry_id)
            if (
                row is None
                or self._is_other_users(row)
                or branch in await transaction.branches_of(row["entry_id"])
            ):
                await transaction.schedule_deletions(
                    [conversation_id], name=self.opened.name, user=self.opened.user, reason="no branch"
                )
                return None
            await transaction.add_branch(row["entry_id"], branch, conversation_id, turn_count=turn_count)
            return OpenedBranch(
                entry_id=row["entry_id"],
                name=row["name"],
                user=row["user_id"],
                branch=branch,
                conversation_id=conversation_id,
                created_at=row["created_at"],
                expires_at=row["expires_at"],
            )

        return await self.database.write(add)

    def _is_other_users(self, row: RowMapping) -> bool:
        """Return whether a name was reset for another user since it was opened."""
        return bool(row["created_at"] != self.opened.created_at and row["user_id"] != self.opened.user)

    async def release(self, conversation_id: str, creation_id: str | None) -> None:
        """Take a conversation from its name, if it has one, and schedule its deletion.

        A generated title goes too if it is the conversation of the current branch.
        """
        is_branch = self._has(conversation_id)
        is_current = exists().where(is_branch, branches.c.branch == names.c.branch)
        is_titled = and_(self._is_named(conversation_id), is_current, names.c.is_title_requested)
        untitle = update(names).where(is_titled)
        no_title = {**title_columns(None), "is_title_requested": False}

        async def release(connection: AsyncConnection) -> None:
            # First, as other transactions lock the name before its branches.
            await connection.execute(untitle.values(no_title))
            found = (await connection.execute(select(branches).where(is_branch).with_for_update())).mappings()
            user = self.opened.user
            for row in found.all():
                user = await self._transaction(connection).user_of(row["entry_id"])
                await connection.execute(
                    update(branches).where(is_branch).values(conversation_id=None, turn_count=0)
                )
                await connection.execute(
                    delete(usage).where(
                        usage.c.tenant == row["tenant"],
                        usage.c.entry_id == row["entry_id"],
                        usage.c.branch == row["branch"],
                    )
                )
            await self._transaction(connection).schedule_deletions(
                [conversation_id], name=self.opened.name, user=user, reason="cleared"
            )
            if creation_id is not None:
                await connection.execute(delete(creations).where(_is_creation(self.database, creation_id)))

        await self.database.write(release)

    async def note_responses(self, response_ids: Sequence[str]) -> None:
        """Record responses, if the name has a user: an erasure of the user deletes them."""
        rows = [
            {
                "tenant": self.database.tenant,
                "response_id": response_id,
                "user_id": self.opened.user,
                "noted_at": self.database.clock(),
            }
            for response_id in response_ids
        ]

        async def note(connection: AsyncConnection) -> None:
            await connection.execute(insert_into(connection, responses).values(rows).on_conflict_do_nothing())

        if rows and self.opened.user is not None:
            await self.database.write(note)

    async def deleted(self, conversation_id: str) -> None:
        """Record that a conversation was deleted at OpenAI."""
        await PendingDeletions(self.database).remove(conversation_id)

    def _transaction(self, connection: AsyncConnection) -> DirectoryTransaction:
        return DirectoryTransaction.on(self.database, connection)


async def forget_creation(database: Database, creation_id: str | None) -> bool:
    """Remove the record of a creation; return whether it existed."""
    statement = delete(creations).where(_is_creation(database, creation_id))

    async def forget(connection: AsyncConnection) -> int:
        return (await connection.execute(statement)).rowcount

    return bool(await database.write(forget))


async def lost_creations(database: Database, older_than: timedelta) -> tuple[LostCreation, ...]:
    """Return creations whose response was lost, and creations without an outcome after some time."""
    is_lost = or_(creations.c.is_lost, creations.c.requested_at <= database.clock() - older_than)
    statement = (
        select(creations)
        .where(creations.c.tenant == database.tenant, is_lost)
        .order_by(creations.c.requested_at, creations.c.creation_id)
    )

    async def lost(connection: AsyncConnection) -> tuple[LostCreation, ...]:
        rows = (await connection.execute(statement)).mappings()
        return tuple(
            LostCreation(
                creation_id=row["creation_id"],
                name=row["name"],
                branch=row["branch"],
                user=row["user_id"],
                metadata=row["metadata"],
                requested_at=row["requested_at"],
            )
            for row in rows
        )

    return await database.read(lost)


def _is_creation(database: Database, creation_id: str | None) -> ColumnElement[bool]:
    return and_(creations.c.tenant == database.tenant, creations.c.creation_id == creation_id)


_NAMES_PER_TRANSACTION = 100
"""The number of expired names that one transaction removes."""


class PendingDeletions:
    """The conversations that are to be deleted at OpenAI.

    Args:
        database: The database of the directory.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_expired(self, limit: int) -> int:
        """Remove expired names, schedule the deletion of their conversations, and return their number.

        A name that is used at the same moment is either removed first and then created again, or kept.
        """
        total = 0
        while total < limit:
            wanted = min(_NAMES_PER_TRANSACTION, limit - total)
            removed = await self._database.write(partial(self._remove_expired, limit=wanted))
            total += removed
            if removed < wanted:
                break
        return total

    async def count_expired(self) -> tuple[int, int]:
        """Return the numbers of expired names and of their conversations."""
        is_expired = and_(
            names.c.tenant == self._database.tenant, names.c.expires_at <= self._database.clock()
        )
        count_names = select(func.count()).select_from(names).where(is_expired)
        counts = (
            select(func.count(branches.c.conversation_id)).join(names, is_branch_of_name).where(is_expired)
        )

        async def count(connection: AsyncConnection) -> tuple[int, int]:
            found = [int((await connection.execute(each)).scalar_one()) for each in (count_names, counts)]
            return found[0], found[1]

        return await self._database.read(count)

    async def _remove_expired(self, connection: AsyncConnection, limit: int) -> int:
        transaction = DirectoryTransaction.on(self._database, connection)
        statement = (
            select(names.c.entry_id, names.c.name, names.c.user_id)
            .where(names.c.tenant == transaction.tenant, names.c.expires_at <= transaction.now)
            .order_by(names.c.expires_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        rows = (await connection.execute(statement)).all()
        for entry_id, name, user in rows:
            conversation_ids = await transaction.conversations_of(entry_id)
            await transaction.schedule_deletions(conversation_ids, name=name, user=user, reason="expired")
            await transaction.remove(entry_id)
        return len(rows)

    async def oldest(self, limit: int) -> list[str]:
        """Return at most `limit` conversations to delete, oldest first."""
        statement = (
            select(deletions.c.conversation_id)
            .where(deletions.c.tenant == self._database.tenant)
            .order_by(deletions.c.noted_at, deletions.c.conversation_id)
            .limit(limit)
        )

        async def oldest(connection: AsyncConnection) -> list[str]:
            return list((await connection.execute(statement)).scalars())

        return await self._database.read(oldest)

    async def count(self) -> int:
        """Return the number of conversations to delete."""
        statement = select(func.count()).select_from(deletions)
        statement = statement.where(deletions.c.tenant == self._database.tenant)

        async def count(connection: AsyncConnection) -> int:
            return int((await connection.execute(statement)).scalar_one())

        return await self._database.read(count)

    async def remove(self, conversation_id: str) -> None:
        """Record that a conversation was deleted at OpenAI."""
        statement = delete(deletions).where(self._is(conversation_id))
        await self._database.write(lambda connection: connection.execute(statement))

    async def postpone(self, conversation_id: str) -> None:
        """Move a conversation that could not be deleted behind the others."""
        statement = update(deletions).where(self._is(conversation_id))
        later = statement.values(noted_at=self._database.clock())
        await self._database.write(lambda connection: connection.execute(later))

    def _is(self, conversation_id: str) -> ColumnElement[bool]:
        return and_(
            deletions.c.tenant == self._database.tenant, deletions.c.conversation_id == conversation_id
        )


_CONCURRENT_DELETIONS = 8


async def for_each(values: Iterable[T], work: Callable[[T], Awaitable[object]]) -> None:
    """Process values, eight at a time; after an error no other is started.

    Raises:
        Exception: The first error.
    """
    waiting = deque(values)
    errors: list[Exception] = []

    async def process() -> None:
        while waiting and not errors:
            try:
                await work(waiting.popleft())
            except Exception as error:  # noqa: BLE001 -- raised below, once the others have ended
                errors.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(min(_CONCURRENT_DELETIONS, len(waiting))):
            tasks.start_soon(process)
    if errors:
        raise errors[0]


_FATAL = (
    openai.AuthenticationError,
    openai.PermissionDeniedError,
    openai.RateLimitError,
    openai.APIConnectionError,
)
"""Errors that the next deletion would raise too."""


class DeletionRun:
    """A run over pending deletions that deletes conversations at OpenAI, eight at a time.

    Args:
        pending: The pending deletions, which are removed or postponed.
        delete: Deletes one conversation; succeeds if it is gone.

    Attributes:
        deleted: The number of deleted conversations.
        failed: The number of conversations that could not be deleted.
    """

    def __init__(self, pending: PendingDeletions, delete: Callable[[str], Awaitable[None]]) -> None:
        self._pending = pending
        self._delete = delete
        self.deleted = 0
        self.failed = 0

    async def run(self, limit: int, on_progress: Progress | None) -> None:
        """Delete at most `limit` conversations; continue after errors of single ones.

        Raises:
            Exception: An error that the other deletions would raise too, or an error of the database.
        """
        conversation_ids = await self._pending.oldest(limit)

        async def process(conversation_id: str) -> None:
            if await self._is_deleted(conversation_id):
                await self._pending.remove(conversation_id)
                self.deleted += 1
            else:
                await self._pending.postpone(conversation_id)
                self.failed += 1
            if on_progress is not None:
                on_progress(self.deleted + self.failed, len(conversation_ids))

        await for_each(conversation_ids, process)

    async def _is_deleted(self, conversation_id: str) -> bool:
        """Delete a conversation; return whether that succeeded.

        Raises:
            Exception: An error that the other deletions would raise too.
        """
        try:
            await self._delete(conversation_id)
        except Exception as error:
            if isinstance(error, _FATAL) or not isinstance(error, (openai.APIError, SessionError)):
                raise
            logger.warning("%s is left for the next sweep: %s", conversation_id, type(error).__name__)
            return False
        return True
