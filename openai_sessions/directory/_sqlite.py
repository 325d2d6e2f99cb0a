"""What SQLite needs so that several processes can use one file."""

from __future__ import annotations

import anyio
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_TRIES = 100
_PAUSE = 0.1


async def begin_immediately(connection: AsyncConnection) -> None:
    """Take the lock of a SQLite file now, and wait for it if need be; on other databases do nothing.

    A transaction that has read before it writes cannot wait: SQLite refuses it when another one has
    written meanwhile.
    """
    if connection.dialect.name == "sqlite":
        raw = await connection.get_raw_connection()
        if not getattr(raw.driver_connection, "in_transaction", False):
            await connection.exec_driver_sql("BEGIN IMMEDIATE")


async def write_ahead(engine: AsyncEngine) -> None:
    """Let a SQLite file be read while it is written to; on other databases do nothing.

    The file remembers it. SQLite does not wait for other processes here.
    """
    if engine.dialect.name != "sqlite":
        return
    async with engine.connect() as connection:
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        for remaining in reversed(range(_TRIES)):
            try:
                await autocommit.exec_driver_sql("PRAGMA journal_mode=WAL")
            except OperationalError:
                if not remaining:
                    raise
                await anyio.sleep(_PAUSE)
            else:
                return
