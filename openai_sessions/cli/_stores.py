"""The Agents SDK's own sessions by URL: where a history may come from, or go to."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from openai_sessions.cli._errors import CommandError, ExitCode

FORMS = "sqlite:///FILE#ID, sqlite+aiosqlite:///FILE#ID, postgresql+asyncpg://USER@HOST/DATABASE#ID, redis://HOST#ID"


def is_store(text: str) -> bool:
    """Tell whether an argument is a URL rather than an id or a name."""
    return "://" in text


def open_store(text: str, *, create: bool) -> AbstractAsyncContextManager[Any]:
    """Return a session of the Agents SDK, to be entered.

    Args:
        text: The URL of a database, `#`, and the id of a session.
        create: Whether to make what is not there: the file, the tables.

    Raises:
        CommandError: It is no such URL, or the file is not there.
    """
    url, _, session_id = text.rpartition("#")
    opening = _OPENINGS.get(text.partition("://")[0].partition("+")[0].lower())
    if not (url and session_id) or opening is None or not _is_url(text):
        raise CommandError(
            f"A store is one of {FORMS}; {shown_store(text)} is none.", exit_code=ExitCode.USAGE
        )
    return opening(url, session_id, create=create)


def shown_store(text: str) -> str:
    """Return the URL of a store without its password and options."""
    url, mark, session_id = text.rpartition("#") if "#" in text else (text, "", "")
    return re.sub(r"(?<=://)([^/:@]*):.*@", r"\1@", url).partition("?")[0] + mark + session_id


def _is_url(text: str) -> bool:
    try:
        urlsplit(text)
    except ValueError:  # of brackets
        return False
    return True


@asynccontextmanager
async def _sqlite(url: str, session_id: str, *, create: bool) -> AsyncIterator[Any]:
    if "+" in urlsplit(url).scheme:
        async with _sqlalchemy(url, session_id, create=create) as session:
            yield session
        return
    from agents import SQLiteSession  # noqa: PLC0415 - only who copies from or to one waits for agents

    session = SQLiteSession(session_id, _existing_file(url, create=create))
    try:
        yield session
    finally:
        session.close()


@asynccontextmanager
async def _sqlalchemy(url: str, session_id: str, *, create: bool) -> AsyncIterator[Any]:
    from agents.extensions.memory import SQLAlchemySession  # noqa: PLC0415 - as above

    scheme, colon, rest = url.partition(":")
    if scheme.startswith("sqlite"):
        _existing_file(url, create=create)
    driven = url if "+" in scheme else f"postgresql+asyncpg{colon}{rest}"
    session = SQLAlchemySession.from_url(session_id, url=driven, create_tables=create)
    try:
        yield session
    finally:
        await session.engine.dispose()


@asynccontextmanager
async def _redis(url: str, session_id: str, *, create: bool) -> AsyncIterator[Any]:  # noqa: ARG001 - as the others
    from agents.extensions.memory import RedisSession  # noqa: PLC0415 - as above

    session = RedisSession.from_url(session_id, url=url)
    try:
        yield session
    finally:
        await session.close()


_OPENINGS: dict[str, Callable[..., AbstractAsyncContextManager[Any]]] = {
    "sqlite": _sqlite,
    "postgresql": _sqlalchemy,
    "postgres": _sqlalchemy,
    "redis": _redis,
    "rediss": _redis,
}


def _existing_file(url: str, *, create: bool) -> Path:
    file = Path(urlsplit(url).path.removeprefix("/"))
    if not file.name:
        raise CommandError(f"{url} names no file, as sqlite:///sessions.db does.", exit_code=ExitCode.USAGE)
    if not create and not file.is_file():
        raise CommandError(f"{file}: there is no such file.", exit_code=ExitCode.NOT_FOUND)
    require_folder(file)
    return file


def require_folder(file: Path) -> None:
    """Refuse a file in a folder that is not there.

    Raises:
        CommandError: So it is.
    """
    folder = file.absolute().parent
    if not folder.is_dir():
        raise CommandError(f"{folder}: there is no such folder.", exit_code=ExitCode.FAILED)
