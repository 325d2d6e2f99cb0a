"""Looking into a directory, and changing what it says of a name."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, and_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from openai_sessions.directory._database import Database
from openai_sessions.directory._entries import Entries
from openai_sessions.directory._tables import branches, names
from openai_sessions.directory._values import SessionEntry, SessionPage
from openai_sessions.errors.directory import NameNotFoundError, NameTakenError

_LAST_CODE_POINT = 0x10FFFF


class Listing:
    """The names of a directory.

    Args:
        database: The directory.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> SessionEntry | None:
        """Return a name, or None when there is none."""

        async def get(connection: AsyncConnection) -> SessionEntry | None:
            row = (await connection.execute(self._select().where(names.c.name == name))).mappings().first()
            return None if row is None else _entry(row)

        return await self._database.read(get)

    async def page(self, prefix: str, *, limit: int, after: str | None) -> SessionPage:
        """Return at most `limit` names that begin with a prefix, and come after a name."""
        statement = self._select().where(_begins_with(prefix)).order_by(names.c.name).limit(limit + 1)
        if after is not None:
            statement = statement.where(names.c.name > after)

        async def page(connection: AsyncConnection) -> list[SessionEntry]:
            return [_entry(row) for row in (await connection.execute(statement)).mappings()]

        entries = await self._database.read(page)
        has_more = len(entries) > limit
        return SessionPage(tuple(entries[:limit]), entries[limit - 1].name if has_more else None)

    async def rename(self, old: str, new: str) -> None:
        """Give a name another one.

        Raises:
            NameNotFoundError: There is no such name.
            NameTakenError: The other one is there already.
        """
        try:
            await self._update(old, {"name": new})
        except IntegrityError:
            raise NameTakenError(new) from None

    async def set_metadata(self, name: str, metadata: dict[str, str]) -> None:
        """Put pairs in the place of those that are kept with a name.

        Raises:
            NameNotFoundError: There is no such name.
        """
        await self._update(name, {"metadata": metadata})

    async def remove(self, name: str, *, delete: bool) -> list[str] | None:
        """Remove a name, and note its conversations as leftovers if they are to be deleted.

        Returns:
            The conversations that are to be deleted; None when there is no such name.
        """

        async def remove(connection: AsyncConnection) -> list[str] | None:
            entries = Entries(connection, self._database.tenant, self._database.clock())
            row = await entries.locked(name=name)
            if row is None:
                return None
            conversation_ids = await entries.conversations_of(row["entry_id"]) if delete else []
            await entries.remove(row["entry_id"])
            await entries.leave(conversation_ids, name=name, reason="forgotten")
            return conversation_ids

        return await self._database.write(remove)

    async def _update(self, name: str, values: dict[str, Any]) -> None:
        statement = update(names).where(names.c.tenant == self._database.tenant, names.c.name == name)

        async def change(connection: AsyncConnection) -> int:
            return (await connection.execute(statement.values(values))).rowcount

        if not await self._database.write(change):
            raise NameNotFoundError(name)

    def _select(self) -> Select[Any]:
        """Select the names of the tenant, each with the conversation of its current branch."""
        is_current = and_(
            branches.c.tenant == names.c.tenant,
            branches.c.entry_id == names.c.entry_id,
            branches.c.branch == names.c.branch,
        )
        statement = select(names, branches.c.conversation_id).join(branches, is_current)
        return statement.where(names.c.tenant == self._database.tenant)


def _begins_with(prefix: str) -> ColumnElement[bool]:
    """Return a condition that the key of the table answers, and in which no character is special.

    What begins with a prefix comes from the prefix on, and before the prefix with its last character
    raised by one. One that cannot be raised is left out.
    """
    raisable = prefix.rstrip(chr(_LAST_CODE_POINT))
    condition = names.c.name >= prefix
    if not raisable:
        return condition
    code_point = ord(raisable[-1]) + 1
    if 0xD800 <= code_point <= 0xDFFF:
        code_point = 0xE000  # no text holds a surrogate
    return and_(condition, names.c.name < raisable[:-1] + chr(code_point))


def _entry(row: RowMapping) -> SessionEntry:
    return SessionEntry(**{field: row[field] for field in SessionEntry.__dataclass_fields__})
