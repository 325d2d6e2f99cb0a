"""What the session of a name asks of its directory.

Wherever a process may end, no conversation is forgotten:

1. before a conversation is asked for, its creation is noted, with a mark that the conversation will carry;
2. once its id is known, one transaction either registers it under the name or, when another process was
   first, notes it as a leftover; and removes the note of its creation;
3. before a conversation is deleted, one transaction takes it from its name and notes it as a leftover;
4. once it is deleted, its leftover is removed.

Before the end of 2 the id is known to nobody else: a process that ends there leaves a lost creation.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

import anyio
import openai
from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from openai_sessions._conversation.writing import Progress
from openai_sessions.directory._database import Database, branches, creations, leftovers, names, usage
from openai_sessions.directory._rows import Entries, Opened
from openai_sessions.directory._values import LostCreation
from openai_sessions.errors import SessionError


class Registration:
    """A branch of a name in a directory, as one session of it knows it.

    Args:
        database: The directory.
        opened: The branch as it was opened.

    Attributes:
        database: The directory.
        opened: The branch as it was last seen.
    """

    def __init__(self, database: Database, opened: Opened) -> None:
        self.database = database
        self.opened = opened

    @property
    def is_over(self) -> bool:
        """Whether the name has expired, unless another process has used it meanwhile."""
        expires_at = self.opened.expires_at
        return expires_at is not None and expires_at <= self.database.clock()

    async def look_up(self) -> str | None:
        """Return the conversation that is registered now, or None; change nothing."""

        async def look_up(connection: AsyncConnection) -> Opened | None:
            return await self._entries(connection).look_up(self.opened)

        found = await self.database.read(look_up)
        if found is None:
            return None
        self.opened = found
        return None if self.is_over else found.conversation_id

    async def renew(self, held: str | None) -> str | None:
        """Note that the session is written to, and return the conversation that is registered now.

        Args:
            held: The conversation that the session has. A name or a branch that was forgotten leaves it to
                the session, unless it is to be deleted.
        """

        async def renew(connection: AsyncConnection) -> Opened | None:
            entries = self._entries(connection)
            found = await entries.reopened(self.opened)
            if found is None and (held is None or await entries.is_left(held)):
                return await entries.begun_again(self.opened)
            return found

        opened = await self.database.write(renew)
        if opened is None:
            return held
        self.opened = opened
        return opened.conversation_id

    async def note_creation(self, metadata: Mapping[str, str]) -> str:
        """Note that a conversation is about to be asked for; return the mark that it is to carry."""
        creation_id = uuid4().hex
        statement = insert(creations).values(
            tenant=self.database.tenant,
            creation_id=creation_id,
            name=self.opened.name,
            branch=self.opened.branch,
            metadata=dict(metadata),
            requested_at=self.database.clock(),
            is_lost=False,
        )
        await self.database.write(lambda connection: connection.execute(statement))
        return creation_id

    async def creation_lost(self, creation_id: str) -> None:
        """Note that the reply to a creation was lost."""
        statement = update(creations).where(self._is_creation(creation_id)).values(is_lost=True)
        await self.database.write(lambda connection: connection.execute(statement))

    async def forget_creation(self, creation_id: str | None) -> None:
        """Forget a creation: nothing was created, or what was is known."""
        statement = delete(creations).where(self._is_creation(creation_id))
        await self.database.write(lambda connection: connection.execute(statement))

    async def claim(self, created: str, creation_id: str) -> str | None:
        """Register a conversation that was created, unless the branch has one; return the one it has.

        May be called again when it is not known whether it was done. When it was, and another process
        has taken the conversation from its name since, that stands: None; or where it is registered now.
        """

        async def claim(connection: AsyncConnection) -> Opened:
            entries = self._entries(connection)
            opened = await entries.reopened(self.opened) or await entries.begun_again(self.opened)
            noted = await connection.execute(delete(creations).where(self._is_creation(creation_id)))
            if noted.rowcount and opened.conversation_id is None:
                return await entries.register(opened, created)
            owner = await entries.owner_of(created)
            if owner is None:
                await entries.leave([created], name=opened.name, reason="lost a race")
            return owner or opened

        self.opened = await self.database.write(claim)
        return self.opened.conversation_id

    async def add_branch(self, branch: str, conversation_id: str, creation_id: str | None) -> Opened | None:
        """Add a branch with its conversation to the name.

        Returns:
            The branch; None when there is one, or the name is gone: then the conversation is to be deleted.
        """

        async def add(connection: AsyncConnection) -> Opened | None:
            entries = self._entries(connection)
            await connection.execute(delete(creations).where(self._is_creation(creation_id)))
            row = await entries.locked(entry_id=self.opened.entry_id)
            if row is None or branch in await entries.branches_of(row["entry_id"]):
                await entries.leave([conversation_id], name=self.opened.name, reason="no branch")
                return None
            await entries.add_branch(row["entry_id"], branch, conversation_id)
            return Opened(
                row["entry_id"], row["name"], branch, conversation_id, row["created_at"], row["expires_at"]
            )

        return await self.database.write(add)

    async def release(self, conversation_id: str, creation_id: str | None) -> None:
        """Take a conversation that is to be deleted from its name, and from nobody when it has none."""
        is_branch = and_(
            branches.c.tenant == self.database.tenant, branches.c.conversation_id == conversation_id
        )

        async def release(connection: AsyncConnection) -> None:
            entries = self._entries(connection)
            found = (await connection.execute(select(branches).where(is_branch).with_for_update())).mappings()
            for row in found.all():
                await connection.execute(update(branches).where(is_branch).values(conversation_id=None))
                await connection.execute(
                    delete(usage).where(
                        usage.c.tenant == row["tenant"],
                        usage.c.entry_id == row["entry_id"],
                        usage.c.branch == row["branch"],
                    )
                )
            await entries.leave([conversation_id], name=self.opened.name, reason="cleared")
            if creation_id is not None:
                await connection.execute(delete(creations).where(self._is_creation(creation_id)))

        await self.database.write(release)

    async def deleted(self, conversation_id: str) -> None:
        """Note that a conversation is deleted at OpenAI."""
        statement = delete(leftovers).where(
            leftovers.c.tenant == self.database.tenant, leftovers.c.conversation_id == conversation_id
        )
        await self.database.write(lambda connection: connection.execute(statement))

    def _entries(self, connection: AsyncConnection) -> Entries:
        return Entries(connection, self.database.tenant, self.database.clock())

    def _is_creation(self, creation_id: str | None) -> ColumnElement[bool]:
        return and_(creations.c.tenant == self.database.tenant, creations.c.creation_id == creation_id)


_NAMES_AT_A_TIME = 100
"""How many expired names one transaction removes."""


class Leftovers:
    """What has expired, what was left, and what was lost.

    Args:
        database: The directory.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take_expired(self, limit: int) -> int:
        """Remove names that have expired, and note their conversations as leftovers; return how many.

        A name that is used at the same moment is either removed before, and begins anew, or stays.
        """
        total = 0
        while total < limit:
            wanted = min(_NAMES_AT_A_TIME, limit - total)
            taken = await self._database.write(partial(self._take, limit=wanted))
            total += taken
            if taken < wanted:
                break
        return total

    async def _take(self, connection: AsyncConnection, limit: int) -> int:
        entries = Entries(connection, self._database.tenant, self._database.clock())
        statement = (
            select(names.c.entry_id, names.c.name)
            .where(names.c.tenant == entries.tenant, names.c.expires_at <= entries.now)
            .order_by(names.c.expires_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        rows = (await connection.execute(statement)).all()
        for entry_id, name in rows:
            await entries.leave(await entries.conversations_of(entry_id), name=name, reason="expired")
            await entries.remove(entry_id)
        return len(rows)

    async def oldest(self, limit: int) -> list[str]:
        """Return conversations that are to be deleted, those that were noted first, at most `limit`."""
        statement = (
            select(leftovers.c.conversation_id)
            .where(leftovers.c.tenant == self._database.tenant)
            .order_by(leftovers.c.noted_at, leftovers.c.conversation_id)
            .limit(limit)
        )

        async def oldest(connection: AsyncConnection) -> list[str]:
            return list((await connection.execute(statement)).scalars())

        return await self._database.read(oldest)

    async def count(self) -> int:
        """Return how many conversations are to be deleted."""
        statement = select(func.count()).select_from(leftovers)
        statement = statement.where(leftovers.c.tenant == self._database.tenant)

        async def count(connection: AsyncConnection) -> int:
            return int((await connection.execute(statement)).scalar_one())

        return await self._database.read(count)

    async def forget(self, conversation_id: str) -> None:
        """Note that a conversation is deleted at OpenAI."""
        statement = delete(leftovers).where(self._leftover(conversation_id))
        await self._database.write(lambda connection: connection.execute(statement))

    async def postpone(self, conversation_id: str) -> None:
        """Have a conversation that could not be deleted wait behind the others."""
        statement = update(leftovers).where(self._leftover(conversation_id))
        later = statement.values(noted_at=self._database.clock())
        await self._database.write(lambda connection: connection.execute(later))

    async def lost_creations(self, older_than: timedelta) -> tuple[LostCreation, ...]:
        """Return creations whose reply was lost, and those older than a time, of which nobody has heard."""
        statement = (
            select(creations)
            .where(self._creation(), _is_lost_before(self._database.clock() - older_than))
            .order_by(creations.c.requested_at, creations.c.creation_id)
        )
        fields = LostCreation.__dataclass_fields__

        async def lost(connection: AsyncConnection) -> tuple[LostCreation, ...]:
            rows = (await connection.execute(statement)).mappings()
            return tuple(LostCreation(**{field: row[field] for field in fields}) for row in rows)

        return await self._database.read(lost)

    async def forget_creation(self, creation_id: str) -> bool:
        """Forget a creation; return whether it was noted."""
        statement = delete(creations).where(self._creation(), creations.c.creation_id == creation_id)

        async def forget(connection: AsyncConnection) -> int:
            return (await connection.execute(statement)).rowcount

        return bool(await self._database.write(forget))

    def _leftover(self, conversation_id: str) -> ColumnElement[bool]:
        return and_(
            leftovers.c.tenant == self._database.tenant, leftovers.c.conversation_id == conversation_id
        )

    def _creation(self) -> ColumnElement[bool]:
        return creations.c.tenant == self._database.tenant


def _is_lost_before(time: datetime) -> ColumnElement[bool]:
    return or_(creations.c.is_lost, creations.c.requested_at <= time)


logger = logging.getLogger("openai_sessions")

_AT_A_TIME = 8
"""How many conversations are deleted at once."""

_USELESS = (
    openai.AuthenticationError,
    openai.PermissionDeniedError,
    openai.RateLimitError,
    openai.APIConnectionError,
)
"""Errors that the next deletion would meet too."""


class Deletions:
    """The deletion of conversations at OpenAI, eight at a time.

    Args:
        delete_one: Deletes one conversation, or finds it gone.
        forget: Notes that a conversation is deleted.
        postpone: Notes that a conversation could not be deleted.

    Attributes:
        deleted: How many are deleted.
        failed: How many could not be deleted.
    """

    def __init__(
        self,
        delete_one: Callable[[str], Awaitable[None]],
        forget: Callable[[str], Awaitable[None]],
        postpone: Callable[[str], Awaitable[None]],
    ) -> None:
        self._delete_one = delete_one
        self._forget = forget
        self._postpone = postpone
        self._fatal: Exception | None = None
        self.deleted = 0
        self.failed = 0

    async def run(self, conversation_ids: list[str], progress: Progress | None) -> None:
        """Delete conversations, each for itself.

        Raises:
            Exception: One that the other deletions would meet too, or of the database.
        """
        waiting = deque(conversation_ids)

        async def work() -> None:
            while waiting and self._fatal is None:
                await self._delete(waiting.popleft())
                if progress is not None and self._fatal is None:
                    progress(self.deleted + self.failed, len(conversation_ids))

        async with anyio.create_task_group() as tasks:
            for _ in range(min(_AT_A_TIME, len(conversation_ids))):
                tasks.start_soon(work)
        if self._fatal is not None:
            raise self._fatal

    async def _delete(self, conversation_id: str) -> None:
        try:
            if await self._is_deleted(conversation_id):
                await self._forget(conversation_id)
                self.deleted += 1
            else:
                await self._postpone(conversation_id)
                self.failed += 1
        except Exception as error:  # noqa: BLE001 -- raised above, once the others have ended
            self._fatal = self._fatal or error

    async def _is_deleted(self, conversation_id: str) -> bool:
        """Delete a conversation; return whether that succeeded.

        Raises:
            Exception: One that the other deletions would meet too.
        """
        try:
            await self._delete_one(conversation_id)
        except Exception as error:
            if isinstance(error, _USELESS) or not _is_of_request(error):
                raise
            logger.warning("%s is left for the next sweep: %s", conversation_id, type(error).__name__)
            return False
        return True


def _is_of_request(error: Exception) -> bool:
    """Tell whether an error came from one request, and not from a missing key or a defect."""
    return isinstance(error, (openai.APIError, SessionError))
