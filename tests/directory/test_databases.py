"""Supported databases, and the errors for others."""

import asyncio
import logging
import os
from functools import partial

import pytest
from sqlalchemy import column, table, text
from sqlalchemy.ext.asyncio import create_async_engine

from openai_sessions.directory import SessionDirectory
from openai_sessions.errors import DirectorySchemaError
from tests import programs

from .conftest import execute
from .stage import rows, user

VERSION = table("openai_sessions_schema", column("version_num"))


async def test_missing_tables_raise_an_error_with_the_remedy(blank_url, client):
    async with SessionDirectory(blank_url, openai_client=client) as directory:
        with pytest.raises(DirectorySchemaError, match=r"await directory\.create_tables\(\)") as caught:
            await directory.session("user_1")
        assert (None, 3) == (caught.value.found, caught.value.supported)
        await directory.create_tables()
        await directory.session("user_1")


async def test_tables_are_created_concurrently(blank_url):
    directories = [SessionDirectory(blank_url) for _ in range(5)]
    await asyncio.gather(*(directory.create_tables() for directory in directories))
    await directories[0].session("user_1")
    await directories[1].create_tables()
    assert await directories[2].get("user_1")
    assert [{"version_num": "3"}] == await rows(blank_url, VERSION)
    for directory in directories:
        await directory.aclose()


async def test_newer_tables_are_refused(blank_url):
    async with SessionDirectory(blank_url) as directory:
        await directory.create_tables()
    await execute(blank_url, "UPDATE openai_sessions_schema SET version_num = '4'")
    async with SessionDirectory(blank_url) as directory:
        dry_run = partial(directory.create_tables, dry_run=True)
        for call in (directory.create_tables, dry_run, directory.conversations):
            with pytest.raises(
                DirectorySchemaError, match=r"version 4, and this release .* version 3: .* or a newer one"
            ) as caught:
                await call()
            assert (4, 3) == (caught.value.found, caught.value.supported)


async def test_given_engine_is_used_and_not_disposed(blank_url, client):
    engine = create_async_engine(blank_url)
    async with SessionDirectory(engine=engine, openai_client=client) as directory:
        await directory.create_tables()
        sessions = [await directory.session("user_1") for _ in range(4)]
        await asyncio.gather(*(session.add_items([user("Hello")]) for session in sessions))
        assert 4 == len(await sessions[0].get_items())
    assert engine.pool.checkedout() == 0
    async with engine.connect() as connection:
        assert 1 == (await connection.execute(text("SELECT count(*) FROM openai_sessions_names"))).scalar()
    await engine.dispose()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg"])
async def test_driver_is_optional(postgres_url, scheme):
    if scheme.endswith("psycopg"):
        pytest.importorskip("psycopg", reason="the package psycopg is not installed")
    async with SessionDirectory(f"{scheme}:{postgres_url.partition(':')[2]}") as directory:
        await directory.create_tables()
        await directory.session("user_1")
        assert await directory.get("user_1")


async def test_driver_of_sqlite_is_optional(tmp_path):
    async with SessionDirectory(f"sqlite:///{tmp_path}/sessions.db") as directory:
        await directory.create_tables()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("no url", "is not a database URL"),
        ("postgresql://user:pa:ss@word@host:port/x", "is not a database URL"),
        ("mysql://user:secret@host/x", "requires SQLite or PostgreSQL, not 'mysql'"),
        ("postgresql+psycopg2://user:secret@host/x", r"use 'postgresql\+asyncpg'"),
        ("sqlite+pysqlite:///x.db", r"use 'sqlite\+aiosqlite'"),
        ("sqlite://", "use a file"),
        ("sqlite+aiosqlite:///:memory:", "use a file"),
        ("sqlite+aiosqlite:///file:x?mode=memory&uri=true", "use a file"),
        ("postgresql+nothing://user:secret@host/x", r"use 'postgresql\+asyncpg'"),
    ],
)
def test_unsupported_url_is_refused_without_showing_its_password(url, message):
    with pytest.raises(ValueError, match=message) as caught:
        SessionDirectory(url)
    shown = f"{caught.value!r} {caught.value.__cause__!r}"
    assert "secret" not in shown
    assert "word" not in shown.replace("password", "")


def test_engine_of_another_type_is_refused():
    with pytest.raises(TypeError, match="engine must be an AsyncEngine of SQLAlchemy, not str"):
        SessionDirectory(engine="sqlite://")


async def test_password_is_never_shown(postgres, caplog):
    """Neither in the error of an unreachable server nor in the debug log."""
    with caplog.at_level(logging.DEBUG):
        async with SessionDirectory("postgresql://user:top-secret@127.0.0.1:9/x") as directory:
            with pytest.raises(OSError, match="Connect") as caught:
                await directory.get("user_1")
            assert "top-secret" not in f"{caught.value!r} {directory!r} {directory.__dict__!r} {caplog.text}"


async def test_database_errors_do_not_show_values(blank_url):
    """Names may identify customers."""
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415 - this test alone

    async with SessionDirectory(blank_url) as directory:
        await directory.create_tables()
        engine = create_async_engine(blank_url)
        async with engine.begin() as connection:
            await connection.execute(text("DROP TABLE openai_sessions_branches"))
        await engine.dispose()
        with pytest.raises(DBAPIError) as caught:
            await directory.get("a customer")
        assert "a customer" not in str(caught.value)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("missing", "program", "extra"),
    [
        ("sqlalchemy", "import openai_sessions.directory", "directory"),
        ("aiosqlite", "from openai_sessions.directory import SessionDirectory as D; D()", "directory"),
        (
            "asyncpg",
            "from openai_sessions.directory import SessionDirectory as D; D('postgresql://u:secret@h/x')",
            "postgresql",
        ),
    ],
)
def test_missing_package_raises_an_error_with_its_extra(missing, program, extra):
    code = f"import sys; sys.modules[{missing!r}] = None; {program}"
    finished = programs.run("-c", code, env=os.environ, imported=programs.OF_OPENAI)
    assert f"pip install 'openai-sessions[{extra}]'" in finished.stderr.splitlines()[-1]
    assert "secret" not in finished.stderr.partition("ImportError:")[2]


def test_directory_serves_successive_event_loops(blank_url, emulator):
    """Connections belong to the loop that opened them, and are closed with it."""
    with emulator.serve() as base_url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", base_url)
        patch.setenv("OPENAI_API_KEY", "sk-emulator")
        directory = SessionDirectory(blank_url)

        async def write(number):
            if number == 0:
                await directory.create_tables()
            session = await directory.session("user_1")
            await session.add_items([user(f"{number}")])
            return len(await session.get_items())

        assert [1, 2, 3] == [asyncio.run(write(number)) for number in range(3)]
        asyncio.run(directory.aclose())


async def test_closed_directory_can_be_used_again(directory):
    await directory.session("user_1")
    await directory.aclose()
    assert await directory.get("user_1")


async def test_cancelled_write_leaves_no_open_transaction(directory, other):
    """The transaction completes, and others need not wait for it."""
    for _ in range(5):
        opening = asyncio.ensure_future(directory.session("user_1"))
        await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
    await asyncio.wait_for(other.session("user_1"), 10)
    assert 1 == len((await other.conversations()).entries)
