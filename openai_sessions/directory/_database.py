"""Transactions of a directory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from openai_sessions._owned import Interruption, run_owned
from openai_sessions.directory._engines import Engines
from openai_sessions.directory._schema import check_schema, create_tables
from openai_sessions.directory._sqlite import begin_immediately

T = TypeVar("T")

Work = Callable[[AsyncConnection], Awaitable[T]]

_ATTEMPTS = 5
"""How often a transaction is begun that the database ends as another one was in its way."""

_TRY_AGAIN = frozenset({"40001", "40P01"})
"""PostgreSQL: serialization failure, deadlock detected."""


class Database:
    """The database of a directory, as one tenant sees it.

    A transaction that has begun ends although its caller is cancelled, so that it is never unknown to
    the caller's cleaning up whether it was committed.

    Attributes:
        tenant: Part of every key.
        clock: Gives the time, as an aware datetime.
    """

    def __init__(self, engines: Engines, *, tenant: str, clock: Callable[[], datetime]) -> None:
        self._engines = engines
        self.tenant = tenant
        self.clock = clock
        self._is_checked = False

    async def create_tables(self) -> None:
        """Create the tables that are missing."""
        await create_tables(await self._engines.get())

    async def read(self, work: Work[T]) -> T:
        """Run a transaction that only reads."""
        return await self._run_owned(work, is_write=False)

    async def write(self, work: Work[T]) -> T:
        """Run a transaction; again, from its beginning, when the database says that it must be."""
        return await self._run_owned(work, is_write=True)

    async def aclose(self) -> None:
        """Dispose of what was made here."""
        await self._engines.aclose()

    async def _run_owned(self, work: Work[T], *, is_write: bool) -> T:
        async def run(interruption: Interruption) -> T:
            interruption.has_begun = True
            return await self._run(work, is_write=is_write)

        return await run_owned(run)

    async def _run(self, work: Work[T], *, is_write: bool) -> T:
        for remaining in reversed(range(_ATTEMPTS)):
            try:
                return await self._transact(work, is_write=is_write)
            except DBAPIError as error:
                if not (remaining and getattr(error.orig, "sqlstate", None) in _TRY_AGAIN):
                    raise
        raise AssertionError("unreachable")

    async def _transact(self, work: Work[T], *, is_write: bool) -> T:
        engine = await self._engines.get()
        async with engine.begin() as connection:
            if not self._is_checked:
                await check_schema(connection)
            self._is_checked = True
            if is_write:
                await begin_immediately(connection)
            return await work(connection)


def insert_into(connection: AsyncConnection, table: Table) -> Any:
    """Return an INSERT that knows ON CONFLICT, which has no common class in SQLAlchemy."""
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
