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

from collections.abc import Mapping
from uuid import uuid4

from sqlalchemy import ColumnElement, and_, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from openai_sessions.directory._database import Database
from openai_sessions.directory._entries import Entries, Opened
from openai_sessions.directory._tables import branches, creations, leftovers, usage


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
