"""Directories on a SQLite file and on a real PostgreSQL, with an emulator of the API."""

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from openai_sessions.directory import SessionDirectory
from tests.conformance.postgres_server import postgres_server

from .nursery import Nursery
from .stage import OPTIONS, Clock

ON_BOTH = {"test_conformance", "test_databases", "test_races", "test_registering"}
"""The modules whose tests `make test` runs on PostgreSQL too; `make test-all` runs those of all."""


def pytest_collection_modifyitems(items):
    for item in items:
        on_postgresql = hasattr(item, "callspec") and item.callspec.params.get("url") == "postgresql"
        if on_postgresql and item.path.stem not in ON_BOTH:
            item.add_marker(pytest.mark.exhaustive)


@pytest.fixture(scope="session")
def postgres():
    """The URL of a PostgreSQL server."""
    pytest.importorskip("asyncpg", reason="the package asyncpg is not installed")
    with postgres_server() as url:
        yield url.replace("postgresql://", "postgresql+asyncpg://", 1)


@pytest.fixture
async def postgres_url(postgres):
    """The URL of a database without tables."""
    engine = create_async_engine(postgres)
    async with engine.begin() as connection:
        await connection.execute(text("DROP SCHEMA public CASCADE"))
        await connection.execute(text("CREATE SCHEMA public"))
    await engine.dispose()
    return postgres


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite+aiosqlite:///{tmp_path}/sessions.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    """A database without tables; each test that requests it runs on both kinds."""
    return request.getfixturevalue("postgres_url" if request.param == "postgresql" else "sqlite_url")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def client(emulator):
    async with emulator.client() as client:
        yield client


@pytest.fixture
async def open_directory(url, client, clock):
    """Return a factory of directories on the database, like those of several processes; the tables exist."""
    opened = []

    def make(**options):
        defaults = {"openai_client": client, "session_options": OPTIONS, "clock": clock}
        opened.append(SessionDirectory(url, **{**defaults, **options}))
        return opened[-1]

    await make().create_tables()
    yield make
    for directory in opened:
        await directory.aclose()


@pytest.fixture
def directory(open_directory):
    return open_directory()


@pytest.fixture
def other(open_directory):
    """The same directory, like that of another process."""
    return open_directory()


@pytest.fixture(scope="session")
def nursery():
    """Processes that start at once."""
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
async def open_on(client):
    """Return a factory of directories with tables on a database, with the real clock."""
    opened = []

    async def make(url):
        opened.append(SessionDirectory(url, openai_client=client, session_options=OPTIONS))
        await opened[-1].create_tables()
        return opened[-1]

    yield make
    for directory in opened:
        await directory.aclose()
