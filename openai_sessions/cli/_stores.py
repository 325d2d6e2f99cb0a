"""The databases in which the Agents SDK's own sessions are stored, by URL."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from openai_sessions.cli._errors import CommandError, ExitCode
from openai_sessions.cli._running import require_folder

_FORMS = (
    "sqlite:///FILE#ID, sqlite+aiosqlite:///FILE#ID, postgresql+asyncpg://USER@HOST/DATABASE#ID, "
    "redis://HOST#ID; or one of these without #ID, and --all"
)

_SESSIONS_TABLE = "agent_sessions"
"""The table of the Agents SDK's sessions, in SQLite and in other databases."""

_KEY_PREFIX = "agents:session:"
"""The start of the Agents SDK's keys in Redis."""

_MAX_SHOWN = 10
"""Ids in a message."""


def is_store(text: str) -> bool:
    """Return whether an argument is a URL."""
    return "://" in text


def shown_store(url: str) -> str:
    """Return the URL of a store for messages: without password and options."""
    address, mark, session_id = url.rpartition("#") if "#" in url else (url, "", "")
    return re.sub(r"(?<=://)([^/:@]*):.*@", r"\1@", address).partition("?")[0] + mark + session_id


def open_session(text: str, *, create: bool) -> AbstractAsyncContextManager[Any]:
    """Return a context manager that opens a session of the Agents SDK.

    Args:
        text: The URL of a database, `#`, and a session id.
        create: Whether to create a missing file, missing tables or a missing session.

    Raises:
        CommandError: The URL is not supported; on entering: the file or the session does not exist.
    """
    url, _, session_id = text.rpartition("#")
    if not (url and session_id):
        raise _unsupported(text)
    return _opened(text, url, session_id, create=create)


@asynccontextmanager
async def _opened(text: str, url: str, session_id: str, *, create: bool) -> AsyncIterator[Any]:
    opener, list_ids = _kind_of(text)
    if not create and session_id not in (ids := await list_ids(url)):
        raise CommandError(
            f"{shown_store(url)} has no session {session_id!r}: it has {_shown_ids(ids, session_id)}.",
            exit_code=ExitCode.NOT_FOUND,
        )
    async with opener(url, session_id, create=create) as session:
        yield session


async def session_ids(url: str) -> list[str]:
    """Return the ids of all sessions in a database, oldest first where it knows their age.

    Args:
        url: The URL of a database, without `#` and session id.

    Raises:
        CommandError: The URL is not supported, or the file does not exist.
    """
    if "#" in url:
        raise _unsupported(url)
    _, list_ids = _kind_of(url)
    return await list_ids(url)


def _kind_of(text: str) -> tuple[Callable[..., Any], Callable[[str], Awaitable[list[str]]]]:
    kind = _KINDS.get(text.partition("://")[0].partition("+")[0].lower())
    if kind is None or not _is_url(text):
        raise _unsupported(text)
    return kind


def _is_url(text: str) -> bool:
    try:
        urlsplit(text)
    except ValueError:  # unbalanced brackets
        return False
    return True


def _unsupported(text: str) -> CommandError:
    return CommandError(
        f"{shown_store(text)} is not a supported store; the forms are {_FORMS}.", exit_code=ExitCode.USAGE
    )


def _shown_ids(ids: Sequence[str], wanted: str) -> str:
    """Return some ids for a message, those that resemble the wanted one first."""
    similar = get_close_matches(wanted, ids, n=_MAX_SHOWN)
    shown = [*similar, *(each for each in ids if each not in similar)][:_MAX_SHOWN]
    more = f" and {len(ids) - len(shown):,} more" if len(ids) > len(shown) else ""
    return ", ".join(map(repr, shown)) + more if ids else "none"


# SQLite, as SQLiteSession writes it


@asynccontextmanager
async def _sqlite(url: str, session_id: str, *, create: bool) -> AsyncIterator[Any]:
    if "+" in urlsplit(url).scheme:
        async with _sqlalchemy(url, session_id, create=create) as session:
            yield session
        return
    from agents import SQLiteSession  # noqa: PLC0415 - only a copy from or to a store loads agents

    session = SQLiteSession(session_id, _database_file(url, create=create))
    try:
        yield session
    finally:
        session.close()


async def _sqlite_ids(url: str) -> list[str]:
    file = _database_file(url, create=False)
    with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as database:
        tables = "SELECT 1 FROM sqlite_master WHERE name = ?"
        if not database.execute(tables, (_SESSIONS_TABLE,)).fetchone():
            return []
        rows = database.execute(f"SELECT session_id FROM {_SESSIONS_TABLE} ORDER BY created_at, rowid")  # noqa: S608
        return [session_id for (session_id,) in rows]


# Other databases, as SQLAlchemySession writes them


@asynccontextmanager
async def _sqlalchemy(url: str, session_id: str, *, create: bool) -> AsyncIterator[Any]:
    from agents.extensions.memory import SQLAlchemySession  # noqa: PLC0415 - as above

    if url.startswith("sqlite"):
        _database_file(url, create=create)
    session = SQLAlchemySession.from_url(session_id, url=_with_driver(url), create_tables=create)
    try:
        yield session
    finally:
        await session.engine.dispose()


async def _sqlalchemy_ids(url: str) -> list[str]:
    from sqlalchemy import Connection, column, inspect, select, table  # noqa: PLC0415 - as above
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415

    sessions = table(_SESSIONS_TABLE, column("session_id"), column("created_at"))

    def read(connection: Connection) -> list[str]:
        if not inspect(connection).has_table(_SESSIONS_TABLE):
            return []
        ordered = select(sessions.c.session_id).order_by(sessions.c.created_at, sessions.c.session_id)
        return list(connection.scalars(ordered))

    engine = create_async_engine(_with_driver(url))
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(read)
    finally:
        await engine.dispose()


def _with_driver(url: str) -> str:
    scheme, colon, rest = url.partition(":")
    return url if "+" in scheme else f"postgresql+asyncpg{colon}{rest}"


# Redis, as RedisSession writes it


@asynccontextmanager
async def _redis(url: str, session_id: str, *, create: bool) -> AsyncIterator[Any]:  # noqa: ARG001 - as the others
    from agents.extensions.memory import RedisSession  # noqa: PLC0415 - as above

    session = RedisSession.from_url(session_id, url=url)
    try:
        yield session
    finally:
        await session.close()


async def _redis_ids(url: str) -> list[str]:
    from redis import asyncio as redis  # noqa: PLC0415 - as above

    async with redis.from_url(url, decode_responses=True) as client:
        keys = [key async for key in client.scan_iter(f"{_KEY_PREFIX}*", _type="HASH")]
    return sorted(key.removeprefix(_KEY_PREFIX) for key in set(keys))


_KINDS: dict[str, tuple[Callable[..., Any], Callable[[str], Awaitable[list[str]]]]] = {
    "sqlite": (_sqlite, _sqlite_ids),
    "postgresql": (_sqlalchemy, _sqlalchemy_ids),
    "postgres": (_sqlalchemy, _sqlalchemy_ids),
    "redis": (_redis, _redis_ids),
    "rediss": (_redis, _redis_ids),
}
"""For each scheme, what opens a session, and what lists the ids."""


def _database_file(url: str, *, create: bool) -> Path:
    file = Path(urlsplit(url).path.removeprefix("/"))
    if not file.name:
        raise CommandError(
            f"{url} has no file: give one, as in sqlite:///sessions.db.", exit_code=ExitCode.USAGE
        )
    if not create and not file.is_file():
        raise CommandError(f"{file}: no such file.", exit_code=ExitCode.NOT_FOUND)
    require_folder(file)
    return file
