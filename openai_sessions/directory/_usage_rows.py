"""The usage of each turn of a branch, in the database."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import ColumnElement, and_, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from openai_sessions._usage import Usage
from openai_sessions.directory._database import Database, insert_into
from openai_sessions.directory._entries import Entries, Opened
from openai_sessions.directory._tables import USAGE_COLUMNS, usage

_KEY = ("tenant", "entry_id", "branch", "turn")

BEFORE_ALL_TURNS = 0
"""The turn of usage of which it is not known which turn it is of."""


class UsageRows:
    """The usage of the branches of a directory.

    Args:
        database: The directory.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, opened: Opened, turn: int, used: Usage) -> bool:
        """Add to what a turn has used; return whether the branch still has the conversation that was seen."""

        async def add(connection: AsyncConnection) -> bool:
            if not await self._is_current(connection, opened):
                return False
            row = self._row(opened, turn, used)
            statement = insert_into(connection, usage).values(row)
            sums = {name: usage.c[name] + statement.excluded[name] for name in USAGE_COLUMNS}
            await connection.execute(statement.on_conflict_do_update(index_elements=_KEY, set_=sums))
            return True

        return await self._database.write(add)

    async def replace(self, opened: Opened, used: Usage) -> bool:
        """Put a total in the place of what all turns have used; return as `add` does."""

        async def replace(connection: AsyncConnection) -> bool:
            if not await self._is_current(connection, opened):
                return False
            await connection.execute(delete(usage).where(self._is_of(opened)))
            await connection.execute(insert(usage).values(self._row(opened, BEFORE_ALL_TURNS, used)))
            return True

        return await self._database.write(replace)

    async def total(self, opened: Opened) -> Usage | None:
        """Return what all turns have used; None when nothing was counted."""
        sums = [func.sum(usage.c[name]) for name in USAGE_COLUMNS]

        async def total(connection: AsyncConnection) -> Usage | None:
            row = (await connection.execute(select(*sums).where(self._is_of(opened)))).one()
            return None if row[0] is None else Usage(*map(int, row))

        return await self._database.read(total)

    async def by_turn(self, opened: Opened) -> dict[int, Usage]:
        """Return what each turn has used, by its number."""
        columns = [usage.c.turn, *(usage.c[name] for name in USAGE_COLUMNS)]
        statement = select(*columns).where(self._is_of(opened)).order_by(usage.c.turn)

        async def by_turn(connection: AsyncConnection) -> dict[int, Usage]:
            return {row[0]: Usage(*row[1:]) for row in await connection.execute(statement)}

        return await self._database.read(by_turn)

    async def _is_current(self, connection: AsyncConnection, opened: Opened) -> bool:
        entries = Entries(connection, self._database.tenant, self._database.clock())
        if await entries.locked(entry_id=opened.entry_id) is None:
            return False
        found = await entries.look_up(opened)
        return found is not None and found.conversation_id == opened.conversation_id

    def _row(self, opened: Opened, turn: int, used: Usage) -> dict[str, object]:
        key = (self._database.tenant, opened.entry_id, opened.branch, turn)
        return {**dict(zip(_KEY, key, strict=True)), **asdict(used)}

    def _is_of(self, opened: Opened) -> ColumnElement[bool]:
        return and_(
            usage.c.tenant == self._database.tenant,
            usage.c.entry_id == opened.entry_id,
            usage.c.branch == opened.branch,
        )
