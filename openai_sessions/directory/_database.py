"""The tables of a directory, and transactions on them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from typing import Any, Protocol, TypeVar

import anyio
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Dialect,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    func,
    insert,
    inspect,
    literal,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from openai_sessions._api.clients import PerLoop
from openai_sessions._conversation.shielding import Cancellation, run_shielded
from openai_sessions.errors import DirectorySchemaError

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


SCHEMA_VERSION = 1
"""What the tables below are. One more with each change of them."""

MAX_NAME = 255
"""Characters of a name, a branch and a tenant."""

USAGE_COLUMNS = (
    "requests",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
    "total_tokens",
)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes, in UTC; also on SQLite, which keeps no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return what is stored."""
        return None if value is None else value.astimezone(timezone.utc)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return what was stored."""
        if value is None or value.tzinfo is not None:
            return None if value is None else value.astimezone(timezone.utc)
        return value.replace(tzinfo=timezone.utc)


class Strings(TypeDecorator[dict[str, str]]):
    """A mapping of strings, as JSON in ASCII: PostgreSQL takes no NUL and no lone surrogate in a text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: dict[str, str] | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return what is stored."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> dict[str, str] | None:  # noqa: ARG002
        """Return what was stored."""
        return None if value is None else json.loads(value)


def _named() -> String:
    """Return a text that compares by code points on every database: SQLite does so by itself."""
    text = String(MAX_NAME)
    return text.with_variant(String(MAX_NAME, collation="C"), "postgresql")


metadata = MetaData()

schema = Table(
    "openai_sessions_schema",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
)
"""One row, whose version says what the other tables are."""

names = Table(
    "openai_sessions_names",
    metadata,
    Column("tenant", _named(), primary_key=True),
    Column("entry_id", String(32), primary_key=True),
    Column("name", _named(), nullable=False),
    Column("branch", _named(), nullable=False),
    Column("metadata", Strings, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("lifetime", Float),
    UniqueConstraint("tenant", "name"),
    Index("openai_sessions_names_expiry", "tenant", "expires_at"),
)
"""A row for each name. An entry keeps its id when it is renamed; none is ever used again."""

branches = Table(
    "openai_sessions_branches",
    metadata,
    Column("tenant", _named(), primary_key=True),
    Column("entry_id", String(32), primary_key=True),
    Column("branch", _named(), primary_key=True),
    Column("conversation_id", String(MAX_NAME)),
    Column("created_at", UtcDateTime, nullable=False),
    ForeignKeyConstraint(["tenant", "entry_id"], [names.c.tenant, names.c.entry_id]),
    UniqueConstraint("tenant", "conversation_id"),
)
"""A row for each branch of a name, with its conversation once that exists."""

usage = Table(
    "openai_sessions_usage",
    metadata,
    Column("tenant", _named(), primary_key=True),
    Column("entry_id", String(32), primary_key=True),
    Column("branch", _named(), primary_key=True),
    Column("turn", Integer, primary_key=True, autoincrement=False),
    *(Column(column, BigInteger, nullable=False) for column in USAGE_COLUMNS),
    ForeignKeyConstraint(["tenant", "entry_id"], [names.c.tenant, names.c.entry_id]),
)
"""What each turn of a branch has used."""

leftovers = Table(
    "openai_sessions_leftovers",
    metadata,
    Column("tenant", _named(), primary_key=True),
    Column("conversation_id", String(MAX_NAME), primary_key=True),
    Column("name", _named(), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("noted_at", UtcDateTime, nullable=False),
)
"""A row for each conversation that is to be deleted at OpenAI."""

creations = Table(
    "openai_sessions_creations",
    metadata,
    Column("tenant", _named(), primary_key=True),
    Column("creation_id", String(32), primary_key=True),
    Column("name", _named(), nullable=False),
    Column("branch", _named(), nullable=False),
    Column("metadata", Strings, nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("is_lost", Boolean, nullable=False),
)
"""A row for each conversation that was asked for and whose id is not known yet, or never will be."""

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


_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
}
"""What is taken where a URL names a database and no driver."""

_ASYNCHRONOUS = ("aiosqlite", "asyncpg", "psycopg", "psycopg_async")
"""Drivers that SQLAlchemy can wait for."""

_EXTRAS = {"sqlite": "directory", "postgresql": "postgresql"}
"""What brings a driver for a database."""

_BUSY_TIMEOUT = 30.0
"""Seconds that a transaction waits for another one on the same SQLite file."""


class Engines(Protocol):
    """A source of engines for the event loop that runs."""

    async def get(self) -> AsyncEngine:
        """Return the engine of the running event loop."""
        ...

    async def aclose(self) -> None:
        """Dispose of the engines that this source made."""
        ...


class GivenEngine:
    """An engine of the caller's, never disposed of here."""

    def __init__(self, engine: AsyncEngine) -> None:
        if not isinstance(engine, AsyncEngine):
            raise TypeError(f"engine is an AsyncEngine of SQLAlchemy, not {type(engine).__name__}")
        _check_database(engine.url)
        self._engine = engine

    async def get(self) -> AsyncEngine:
        """Return the engine."""
        return self._engine

    async def aclose(self) -> None:
        """Leave the engine: it is the caller's."""


def engines_of(url: str | URL) -> PerLoop[AsyncEngine]:
    """Return a source of engines of its own for a URL.

    Raises:
        ValueError: It is no URL of a database that is supported. The message does not hold it.
        ImportError: The driver is not installed; names the extra that brings it.
    """
    checked = _checked_url(url)
    _open_engine(checked)  # tells now, and not at the first use, what is wrong; it has no connection yet
    return PerLoop(lambda: _open_engine(checked), AsyncEngine.dispose)


def _checked_url(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError(
            "url is no database URL (it is not shown here, as it may hold a password): one is "
            "'sqlite+aiosqlite:///sessions.db' or 'postgresql+asyncpg://user:password@host/database', "
            "with a password quoted by urllib.parse.quote_plus."
        ) from None
    _check_database(parsed)
    if "+" not in parsed.drivername:
        return parsed.set(drivername=_DRIVERS[parsed.drivername])
    if parsed.drivername.partition("+")[2] not in _ASYNCHRONOUS:
        backend = parsed.get_backend_name()
        raise ValueError(f"{parsed.drivername!r} is no asynchronous driver: use {_DRIVERS[backend]!r}.")
    return parsed


def _check_database(url: URL) -> None:
    if url.get_backend_name() not in _DRIVERS:
        raise ValueError(
            f"A directory is kept in SQLite or PostgreSQL, not in {url.get_backend_name()!r}: "
            "use 'sqlite+aiosqlite:///…' or 'postgresql+asyncpg://…'."
        )
    if url.get_backend_name() == "sqlite" and _is_in_memory(url):
        raise ValueError(
            "A directory in memory would mix the transactions of tasks, and end with its event loop: name a "
            "file, such as 'sqlite+aiosqlite:///sessions.db'."
        )


def _is_in_memory(url: URL) -> bool:
    return url.database in {None, "", ":memory:"} or url.query.get("mode") == "memory"


def _open_engine(url: URL) -> AsyncEngine:
    backend = url.get_backend_name()
    options: dict[str, Any] = {"hide_parameters": True}
    if backend == "sqlite":
        options["connect_args"] = {"timeout": _BUSY_TIMEOUT}
    else:
        options["pool_pre_ping"] = True
    try:
        return create_async_engine(url, **options)
    except ImportError as error:
        raise ImportError(
            f"The driver of {url.drivername!r} is not installed: "
            f"pip install 'openai-sessions[{_EXTRAS[backend]}]'",
            name=error.name,
        ) from error


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
        async def run(cancellation: Cancellation) -> T:
            cancellation.has_begun = True
            return await self._run(work, is_write=is_write)

        return await run_shielded(run)

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
