"""Creating the tables of a directory, and refusing those of another version."""

from __future__ import annotations

from sqlalchemy import BigInteger, Connection, func, insert, inspect, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from openai_sessions.directory._sqlite import begin_immediately, write_ahead
from openai_sessions.directory._tables import SCHEMA_VERSION, metadata, schema
from openai_sessions.errors.directory import DirectorySchemaError

_ADVISORY_LOCK = 0x6F70656E61695F73
"""The key of PostgreSQL's lock under which tables are created: two at once would fail each other."""


async def create_tables(engine: AsyncEngine) -> None:
    """Create the tables that are missing. Several processes may do so at once.

    Raises:
        DirectorySchemaError: The database has tables of another version. Nothing was changed.
    """
    await write_ahead(engine)
    async with engine.begin() as connection:
        await begin_immediately(connection)
        if connection.dialect.name == "postgresql":
            await connection.execute(select(func.pg_advisory_xact_lock(literal(_ADVISORY_LOCK, BigInteger))))
        if await connection.run_sync(_has_tables):
            await check_schema(connection)
            return
        await connection.run_sync(metadata.create_all)
        await connection.execute(insert(schema).values(id=1, version=SCHEMA_VERSION))


async def check_schema(connection: AsyncConnection) -> None:
    """Do nothing when the tables are those of this version.

    Raises:
        DirectorySchemaError: They are missing, or of another version.
    """
    if not await connection.run_sync(_has_tables):
        raise DirectorySchemaError(None, SCHEMA_VERSION)
    found = (await connection.execute(select(schema.c.version))).scalar()
    if found != SCHEMA_VERSION:
        raise DirectorySchemaError(found, SCHEMA_VERSION)


def _has_tables(connection: Connection) -> bool:
    return inspect(connection).has_table(schema.name)
