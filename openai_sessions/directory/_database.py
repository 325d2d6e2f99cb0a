"""The tables of a directory, and the database that runs transactions on them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from functools import partial
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
    and_,
    false,
    func,
    inspect,
    literal,
    literal_column,
    select,
    table,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchTableError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from openai_sessions._api.clients import PerLoop
from openai_sessions._conversation.shielding import Cancellation, run_shielded
from openai_sessions._conversation.usage import COUNTS, MAX_MODEL
from openai_sessions.directory._migrations import OLDEST_VERSION, VERSION_TABLE, migrate
from openai_sessions.errors import DirectorySchemaError

T = TypeVar("T")

Work = Callable[[AsyncConnection], Awaitable[T]]

SCHEMA_VERSION = 3
"""The version of the tables below. Every change of them increments it, and requires a migration."""

MAX_NAME = 255
"""The maximum number of characters of a name, a branch and a tenant."""


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in UTC, including on SQLite, which stores no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the stored value."""
        return None if value is None else value.astimezone(timezone.utc)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the value of a stored one."""
        if value is None or value.tzinfo is not None:
            return None if value is None else value.astimezone(timezone.utc)
        return value.replace(tzinfo=timezone.utc)


class Strings(TypeDecorator[dict[str, str]]):
    """A mapping of strings as ASCII JSON, because PostgreSQL rejects NUL and lone surrogates in text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: dict[str, str] | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return the stored value."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> dict[str, str] | None:  # noqa: ARG002
        """Return the value of a stored one."""
        return None if value is None else json.loads(value)


def _name() -> String:
    """Return a string type that compares by code points; SQLite does so by default."""
    text = String(MAX_NAME)
    return text.with_variant(String(MAX_NAME, collation="C"), "postgresql")


metadata = MetaData()

names = Table(
    "openai_sessions_names",
    metadata,
    Column("tenant", _name(), primary_key=True),
    Column("entry_id", String(32), primary_key=True),
    Column("name", _name(), nullable=False),
    Column("branch", _name(), nullable=False),
    Column("user_id", _name()),
    Column("title", String(MAX_NAME)),
    Column("title_key", Text),
    Column("is_title_requested", Boolean, nullable=False, server_default=false()),
    Column("metadata", Strings, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("lifetime", Float),
    UniqueConstraint("tenant", "name"),
    Index("openai_sessions_names_expiry", "tenant", "expires_at"),
    Index("openai_sessions_names_used", "tenant", "used_at", "entry_id"),
    Index("openai_sessions_names_user", "tenant", "user_id", "used_at", "entry_id"),
)
"""One row per name. An entry keeps its id when it is renamed; ids are never reused.

`title_key` is the title as searches compare it. `is_title_requested` is set before the title is generated, so
that this happens once; a title that is set by hand clears it.
"""

branches = Table(
    "openai_sessions_branches",
    metadata,
    Column("tenant", _name(), primary_key=True),
    Column("entry_id", String(32), primary_key=True),
    Column("branch", _name(), primary_key=True),
    Column("conversation_id", String(MAX_NAME)),
    Column("turn_count", Integer, nullable=False, server_default="0"),
    Column("created_at", UtcDateTime, nullable=False),
    ForeignKeyConstraint(["tenant", "entry_id"], [names.c.tenant, names.c.entry_id]),
    UniqueConstraint("tenant", "conversation_id"),
)
"""One row per branch of a name, with its conversation once that exists."""

is_branch_of_name = and_(branches.c.tenant == names.c.tenant, branches.c.entry_id == names.c.entry_id)
"""Joins the branches with their names."""

usage = Table(
    "openai_sessions_model_usage",
    metadata,
    Column("tenant", _name(), primary_key=True),
    Column("entry_id", String(32), primary_key=True),
    Column("branch", _name(), primary_key=True),
    Column("turn", Integer, primary_key=True, autoincrement=False),
    Column("model", String(MAX_MODEL), primary_key=True),
    Column("long_input", Boolean, primary_key=True),
    *(Column(column, BigInteger, nullable=False) for column in COUNTS),
    ForeignKeyConstraint(["tenant", "entry_id"], [names.c.tenant, names.c.entry_id]),
)
"""One row per turn of a branch and model, with its usage; the model "" is not known."""

deletions = Table(
    "openai_sessions_deletions",
    metadata,
    Column("tenant", _name(), primary_key=True),
    Column("conversation_id", String(MAX_NAME), primary_key=True),
    Column("name", _name(), nullable=False),
    Column("user_id", _name()),
    Column("reason", String(32), nullable=False),
    Column("noted_at", UtcDateTime, nullable=False),
    Index("openai_sessions_deletions_user", "tenant", "user_id"),
)
"""One row per conversation that is to be deleted at OpenAI."""

creations = Table(
    "openai_sessions_creations",
    metadata,
    Column("tenant", _name(), primary_key=True),
    Column("creation_id", String(32), primary_key=True),
    Column("name", _name(), nullable=False),
    Column("branch", _name(), nullable=False),
    Column("user_id", _name()),
    Column("metadata", Strings, nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("is_lost", Boolean, nullable=False),
)
"""One row per requested conversation whose id is not known yet, or never will be."""

responses = Table(
    "openai_sessions_responses",
    metadata,
    Column("tenant", _name(), primary_key=True),
    Column("response_id", String(MAX_NAME), primary_key=True),
    Column("user_id", _name(), nullable=False),
    Column("noted_at", UtcDateTime, nullable=False),
    Index("openai_sessions_responses_user", "tenant", "user_id"),
)
"""One row per response of a user that OpenAI stores, for 30 days."""

erasures = Table(
    "openai_sessions_erasures",
    metadata,
    Column("tenant", _name(), primary_key=True),
    Column("user_id", _name(), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("object_id", Text, primary_key=True),
    Column("conversation_id", String(MAX_NAME)),
    Column("status", String(16), nullable=False),
    Column("reason", Text),
)
"""One row per object that an unfinished erasure of a user has found, with what became of it."""

keys = Table(
    "openai_sessions_keys",
    metadata,
    Column("tenant", _name(), primary_key=True),
    Column("user_id", _name(), primary_key=True),
    Column("encrypted_key", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
"""One row per user with the key of the user's histories, encrypted with the application's key."""


_ATTEMPTS = 5
"""How often a transaction is run if the database aborts it because of another one."""

_RETRYABLE = frozenset({"40001", "40P01"})
"""PostgreSQL: serialization_failure, deadlock_detected."""


class Database:
    """The database of a directory, as one tenant sees it.

    A started transaction completes even if its caller is cancelled, so that the caller's cleanup always knows
    whether it was committed.

    Attributes:
        tenant: Part of every key.
        clock: Returns the current time as an aware datetime.
    """

    def __init__(self, engines: Engines, *, tenant: str, clock: Callable[[], datetime]) -> None:
        self._engines = engines
        self.tenant = tenant
        self.clock = clock
        self._is_checked = False

    async def create_tables(self, *, dry_run: bool) -> int | None:
        """Create the tables, or upgrade those of an earlier version.

        Returns:
            The version that was found; None if there were no tables.

        Raises:
            DirectorySchemaError: The tables have a newer version, or one that cannot be upgraded. Nothing was
                changed.
        """
        engine = await self._engines.get()
        if dry_run:
            async with engine.connect() as connection:
                return await _upgradable_version(connection)
        await _enable_wal(engine)
        return await _repeated(partial(_create_tables, engine))

    async def read(self, work: Work[T]) -> T:
        """Run a read-only transaction."""
        return await self._run_shielded(work, is_write=False)

    async def write(self, work: Work[T]) -> T:
        """Run a transaction; run it again if the database aborts it because of another one."""
        return await self._run_shielded(work, is_write=True)

    async def aclose(self) -> None:
        """Dispose of the engines that were created here."""
        await self._engines.aclose()

    async def _run_shielded(self, work: Work[T], *, is_write: bool) -> T:
        async def run(cancellation: Cancellation) -> T:
            cancellation.has_begun = True
            return await _repeated(partial(self._transact, work, is_write=is_write))

        return await run_shielded(run)

    async def _transact(self, work: Work[T], *, is_write: bool) -> T:
        engine = await self._engines.get()
        async with engine.begin() as connection:
            if not self._is_checked:
                await _check_schema(connection)
            self._is_checked = True
            if is_write:
                await _lock_sqlite(connection)
            return await work(connection)


async def _repeated(transact: Callable[[], Awaitable[T]]) -> T:
    """Run a transaction; run it again if the database aborts it because of another one."""
    for remaining in reversed(range(_ATTEMPTS)):
        try:
            return await transact()
        except DBAPIError as error:
            if not (remaining and getattr(error.orig, "sqlstate", None) in _RETRYABLE):
                raise
    raise AssertionError("unreachable")


def insert_into(connection: AsyncConnection, table: Table) -> Any:
    """Return an INSERT that supports ON CONFLICT, for which SQLAlchemy has no common class."""
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


class Engines(Protocol):
    """A source of engines for the running event loop."""

    async def get(self) -> AsyncEngine:
        """Return the engine of the running event loop."""
        ...

    async def aclose(self) -> None:
        """Dispose of the engines that this source created."""
        ...


class GivenEngine:
    """An engine owned by the caller, which is never disposed of here."""

    def __init__(self, engine: AsyncEngine) -> None:
        if not isinstance(engine, AsyncEngine):
            raise TypeError(f"engine must be an AsyncEngine of SQLAlchemy, not {type(engine).__name__}")
        _check_backend(engine.url)
        self._engine = engine

    async def get(self) -> AsyncEngine:
        """Return the engine."""
        return self._engine

    async def aclose(self) -> None:
        """Leave the engine open for its owner."""


def engines_of(url: str | URL) -> PerLoop[AsyncEngine]:
    """Return a source of engines for a URL, one for each event loop.

    Raises:
        ValueError: It is not the URL of a supported database. The message does not contain the URL.
        ImportError: The driver is not installed; names the extra that installs it.
    """
    checked = _checked_url(url)
    _open_engine(checked)  # without a connection: raises errors now instead of at the first use
    return PerLoop(lambda: _open_engine(checked), AsyncEngine.dispose)


_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
}
"""The driver for a URL without one."""

_ASYNC_DRIVERS = ("aiosqlite", "asyncpg", "psycopg", "psycopg_async")

_EXTRAS = {"sqlite": "directory", "postgresql": "postgresql"}
"""The extra that installs the driver of a database."""

_BUSY_TIMEOUT = 30.0
"""Seconds that a transaction waits for another one on the same SQLite file."""


def _checked_url(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError(
            "url is not a database URL (it is omitted here because it may contain a password): use "
            "'sqlite+aiosqlite:///sessions.db' or 'postgresql+asyncpg://user:password@host/database', "
            "with the password quoted by urllib.parse.quote_plus."
        ) from None
    _check_backend(parsed)
    if "+" not in parsed.drivername:
        return parsed.set(drivername=_DRIVERS[parsed.drivername])
    if parsed.drivername.partition("+")[2] not in _ASYNC_DRIVERS:
        backend = parsed.get_backend_name()
        raise ValueError(f"{parsed.drivername!r} is not an async driver: use {_DRIVERS[backend]!r}.")
    return parsed


def _check_backend(url: URL) -> None:
    if url.get_backend_name() not in _DRIVERS:
        raise ValueError(
            f"A directory requires SQLite or PostgreSQL, not {url.get_backend_name()!r}: "
            "use 'sqlite+aiosqlite:///…' or 'postgresql+asyncpg://…'."
        )
    if url.get_backend_name() == "sqlite" and _is_in_memory(url):
        raise ValueError(
            "An in-memory directory would mix the transactions of tasks, and end with its event loop: use a "
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


_ADVISORY_LOCK = 0x6F70656E61695F73
"""The key of the PostgreSQL advisory lock that is held while tables are created or upgraded: concurrent
statements would fail."""


async def _create_tables(engine: AsyncEngine) -> int | None:
    async with engine.begin() as connection:
        await _lock_sqlite(connection)
        if connection.dialect.name == "postgresql":
            await connection.execute(select(func.pg_advisory_xact_lock(literal(_ADVISORY_LOCK, BigInteger))))
        found = await _upgradable_version(connection)
        if found != SCHEMA_VERSION:
            await connection.run_sync(migrate, found, SCHEMA_VERSION)
        return found


async def _upgradable_version(connection: AsyncConnection) -> int | None:
    found = await connection.run_sync(_version)
    if found is not None and not OLDEST_VERSION <= found <= SCHEMA_VERSION:
        raise DirectorySchemaError(found, SCHEMA_VERSION, oldest=OLDEST_VERSION)
    return found


async def _check_schema(connection: AsyncConnection) -> None:
    """Check that the tables have this version.

    Raises:
        DirectorySchemaError: They are missing, or of another version.
    """
    found = await connection.run_sync(_version)
    if found != SCHEMA_VERSION:
        raise DirectorySchemaError(found, SCHEMA_VERSION, oldest=OLDEST_VERSION)


def _version(connection: Connection) -> int | None:
    """Return the version of the tables, None if there are none."""
    try:
        columns = {each["name"] for each in inspect(connection).get_columns(VERSION_TABLE)}
    except NoSuchTableError:
        return None
    column = "version_num" if "version_num" in columns else "version"
    found = connection.execute(select(literal_column(column)).select_from(table(VERSION_TABLE))).scalar()
    return None if found is None else int(found)


async def _lock_sqlite(connection: AsyncConnection) -> None:
    """Acquire the write lock of a SQLite file, waiting if necessary; do nothing on other databases.

    A transaction that reads before it writes cannot wait for the lock later: SQLite aborts it if another
    transaction has written in between.
    """
    if connection.dialect.name == "sqlite":
        raw = await connection.get_raw_connection()
        if not getattr(raw.driver_connection, "in_transaction", False):
            await connection.exec_driver_sql("BEGIN IMMEDIATE")


_WAL_ATTEMPTS = 100

_WAL_PAUSE = 0.1
"""Seconds between attempts to enable WAL mode, for which SQLite does not wait for other processes."""


async def _enable_wal(engine: AsyncEngine) -> None:
    """Enable SQLite's WAL mode, so that a file can be read while it is written; do nothing elsewhere.

    The file stores the mode.
    """
    if engine.dialect.name != "sqlite":
        return
    async with engine.connect() as connection:
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        for remaining in reversed(range(_WAL_ATTEMPTS)):
            try:
                await autocommit.exec_driver_sql("PRAGMA journal_mode=WAL")
            except OperationalError:
                if not remaining:
                    raise
                await anyio.sleep(_WAL_PAUSE)
            else:
                return
