"""What a directory has yet to delete at OpenAI, and what it can never delete."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from openai_sessions.directory._database import Database
from openai_sessions.directory._entries import Entries
from openai_sessions.directory._tables import creations, leftovers, names
from openai_sessions.directory._values import LostCreation

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
