"""The session classes of the Agents SDK that start here, each with the storage that it needs."""

from __future__ import annotations

import asyncio
import gc
import itertools
import tempfile
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import agents
import pytest

import openai_sessions
from openai_sessions.emulator import Emulator
from openai_sessions.testing import check_session
from tests.conformance.postgres_server import postgres_server
from tests.processes.redis_server import redis_server
from tests.servers import client_of

NOT_STARTED = {
    "DaprSession": "needs a Dapr sidecar with a state store",
    "MongoDBSession": "needs a MongoDB server, which Debian does not package",
}
"""The session classes of the SDK that do not start here, with the reason."""

FAILS_AT_TIMES = {
    "OpenAIConversationsSession": (
        "concurrent_adds_of_reopened_sessions_stay_together",
        "concurrent_pops_of_reopened_sessions_share_no_item",
    )
}
"""The checks that a class passes when its requests happen not to meet."""


@contextmanager
def file_for_sqlite():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "sessions.db"


@contextmanager
def emulator_url():
    with Emulator() as emulator, emulator.serve() as base_url:
        yield base_url


def by_id(open_session):
    """Return a maker of sessions with ids of their own, and a function that reopens one by its id."""
    ids = itertools.count(1)
    return (
        lambda: open_session(f"session {next(ids)}"),
        lambda session: open_session(session.session_id),
    )


@asynccontextmanager
async def sqlite(path):
    yield by_id(lambda session_id: agents.SQLiteSession(session_id, path))


@asynccontextmanager
async def async_sqlite(path):
    memory = extension("aiosqlite")
    yield by_id(lambda session_id: memory.AsyncSQLiteSession(session_id, path))


@asynccontextmanager
async def advanced_sqlite(path):
    memory = extension()
    yield by_id(
        lambda session_id: memory.AdvancedSQLiteSession(
            session_id=session_id, db_path=path, create_tables=True
        )
    )


@asynccontextmanager
async def encrypted(path):
    memory = extension("cryptography")

    def open_session(session_id):
        return memory.EncryptedSession(
            session_id=session_id,
            underlying_session=agents.SQLiteSession(session_id, path),
            encryption_key="a key of the tests, of no other use",
        )

    yield by_id(open_session)


@asynccontextmanager
async def compacting(path):
    yield by_id(
        lambda session_id: agents.memory.OpenAIResponsesCompactionSession(
            session_id=session_id, underlying_session=agents.SQLiteSession(session_id, path)
        )
    )


@asynccontextmanager
async def sqlalchemy(url):
    memory = extension("sqlalchemy")
    engine = pytest.importorskip("sqlalchemy.ext.asyncio").create_async_engine(url)
    try:
        yield by_id(
            lambda session_id: memory.SQLAlchemySession(session_id, engine=engine, create_tables=True)
        )
    finally:
        await engine.dispose()


@asynccontextmanager
async def sqlalchemy_on_sqlite(path):
    pytest.importorskip("aiosqlite", reason="the package aiosqlite is not installed")
    async with sqlalchemy(f"sqlite+aiosqlite:///{path}") as made:
        yield made


@asynccontextmanager
async def sqlalchemy_on_postgresql(url):
    pytest.importorskip("asyncpg", reason="the package asyncpg is not installed")
    async with sqlalchemy(url.replace("postgresql://", "postgresql+asyncpg://")) as made:
        yield made


@asynccontextmanager
async def redis(url):
    memory = extension("redis")
    yield by_id(lambda session_id: memory.RedisSession.from_url(session_id, url=url))


def hosted(session_class):
    """Return what makes sessions of a class on the emulator."""

    @asynccontextmanager
    async def makers(base_url):
        async with client_of(base_url) as client:
            yield (
                lambda: session_class(openai_client=client),
                lambda session: session_class(openai_client=client, conversation_id=session.session_id),
            )

    return makers


def extension(package="agents"):
    """Return the SDK's module of other sessions; skip the test where a package that it needs is missing."""
    pytest.importorskip(package, reason=f"the package {package} is not installed")
    return pytest.importorskip("agents.extensions.memory")


SESSIONS = {
    "SQLiteSession": (file_for_sqlite, sqlite),
    "AsyncSQLiteSession": (file_for_sqlite, async_sqlite),
    "AdvancedSQLiteSession": (file_for_sqlite, advanced_sqlite),
    "EncryptedSession": (file_for_sqlite, encrypted),
    "OpenAIResponsesCompactionSession": (file_for_sqlite, compacting),
    "SQLAlchemySession on SQLite": (file_for_sqlite, sqlalchemy_on_sqlite),
    "SQLAlchemySession on PostgreSQL": (postgres_server, sqlalchemy_on_postgresql),
    "RedisSession": (redis_server, redis),
    "OpenAIConversationsSession": (emulator_url, hosted(agents.OpenAIConversationsSession)),
    "this library": (emulator_url, hosted(openai_sessions.OpenAIConversationsSession)),
}
"""Each with its storage, and what makes and reopens sessions on it."""


def report_on(name):
    """Run every check on a session class, and return the report; skip where its storage is not installed."""

    async def check(storage_at):
        async with makers(storage_at) as (make, reopen):
            return await check_session(make, reopen=reopen)

    storage, makers = SESSIONS[name]
    with storage() as storage_at:
        report = asyncio.run(check(storage_at))
    gc.collect()  # what the SDK's classes have left open is found now, and not in a test of others
    return report
