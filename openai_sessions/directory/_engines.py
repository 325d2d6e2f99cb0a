"""Which engine of SQLAlchemy serves which event loop."""

from __future__ import annotations

from typing import Any, Protocol

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from openai_sessions._per_loop import PerLoop

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
