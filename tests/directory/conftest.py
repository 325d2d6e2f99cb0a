"""Directories on a SQLite file and on a real PostgreSQL, with an emulator of the API."""

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from openai_sessions.directory import SessionDirectory
from openai_sessions.directory._database import metadata
from tests.conformance.postgres_server import postgres_server

from .fork_server import ForkServer
from .stage import OPTIONS, Clock

EMPTY_SCHEMA = ("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")

TABLES = [table.name for table in metadata.sorted_tables]
"""The tables that tests fill."""

ON_BOTH = {"test_databases", "test_races"}
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
async def blank_postgres_url(postgres):
    """The URL of a database without tables."""
    await execute(postgres, *EMPTY_SCHEMA)
    yield postgres
    await execute(postgres, *EMPTY_SCHEMA)


@pytest.fixture
def blank_sqlite_url(tmp_path):
    return f"sqlite+aiosqlite:///{tmp_path}/sessions.db"


@pytest.fixture
async def postgres_url(postgres):
    """The URL of a database with empty tables, which the tests share."""
    await create_tables(postgres)
    await execute(postgres, f"TRUNCATE {', '.join(TABLES)}")
    return postgres


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    """A SQLite file with empty tables."""
    path = tmp_path_factory.mktemp("template") / "sessions.db"
    with ThreadPoolExecutor(1) as thread:  # which has no event loop of a test
        thread.submit(asyncio.run, create_tables(f"sqlite+aiosqlite:///{path}")).result()
    return path


@pytest.fixture
def sqlite_url(sqlite_template, tmp_path):
    """The URL of a SQLite file with empty tables, a copy of the template."""
    shutil.copy(sqlite_template, tmp_path / "sessions.db")
    return f"sqlite+aiosqlite:///{tmp_path}/sessions.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    """A database with empty tables; each test that requests it runs on both kinds."""
    return request.getfixturevalue("postgres_url" if request.param == "postgresql" else "sqlite_url")


@pytest.fixture(params=["sqlite", "postgresql"])
def blank_url(request):
    """A database without tables; each test that requests it runs on both kinds."""
    kind = "blank_postgres_url" if request.param == "postgresql" else "blank_sqlite_url"
    return request.getfixturevalue(kind)


async def create_tables(url):
    async with SessionDirectory(url) as directory:
        return await directory.create_tables()


async def execute(url, *statements):
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


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
def fork_server():
    """Starts processes without importing everything again."""
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture
async def open_on(client):
    """Return a factory of directories on a database, with the real clock."""
    opened = []

    def make(url):
        opened.append(SessionDirectory(url, openai_client=client, session_options=OPTIONS))
        return opened[-1]

    yield make
    for directory in opened:
        await directory.aclose()
