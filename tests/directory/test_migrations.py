"""Upgrades of a database that the previous version made, in `previous/`, and of an empty one."""

import asyncio
import itertools
import logging
import os
import shutil
import signal
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Integer, MetaData, Table, event, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from openai_sessions.directory import SessionDirectory, _migrations
from openai_sessions.directory._database import SCHEMA_VERSION, metadata
from openai_sessions.directory._migrations import VERSION_TABLE
from openai_sessions.errors import DirectorySchemaError
from tests import programs

from .conftest import EMPTY_SCHEMA, create_tables, execute
from .stage import user

PREVIOUS = Path(__file__).parent / "previous"


@pytest.fixture
def previous_sqlite_url(tmp_path):
    shutil.copy(PREVIOUS / "version_2.db", tmp_path / "previous.db")
    return f"sqlite+aiosqlite:///{tmp_path}/previous.db"


@pytest.fixture
async def previous_postgres_url(blank_postgres_url):
    import asyncpg  # noqa: PLC0415 - the server was skipped without it

    connection = await asyncpg.connect(blank_postgres_url.replace("+asyncpg", ""))
    await connection.execute((PREVIOUS / "version_2.sql").read_text())
    await connection.close()
    return blank_postgres_url


@pytest.fixture(params=["sqlite", "postgresql"])
def previous_url(request):
    """A database of the previous version; each test that requests it runs on both kinds."""
    kind = "previous_postgres_url" if request.param == "postgresql" else "previous_sqlite_url"
    return request.getfixturevalue(kind)


async def look(url, function):
    """Return what a function of a synchronous connection returns."""
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        found = await connection.run_sync(function)
    await engine.dispose()
    return found


def contents(connection):
    """Return the rows of all tables, as sorted lists of dicts."""
    tables = inspect(connection).get_table_names()
    found = {name: connection.execute(text(f"SELECT * FROM {name}")).mappings() for name in tables}  # noqa: S608
    return {name: sorted(map(dict, rows), key=str) for name, rows in found.items()}


_COLLATIONS = """
SELECT table_name, column_name, collation_name FROM information_schema.columns
WHERE table_schema = 'public' ORDER BY table_name, column_name
"""


def structure(connection):
    """Return tables, columns, keys, indexes and collations, whatever the order of the columns."""
    inspector = inspect(connection)
    found = {
        name: {
            "columns": sorted(str(sorted(each.items())) for each in _columns(inspector, name)),
            "key": inspector.get_pk_constraint(name),
            "unique": inspector.get_unique_constraints(name),
            "foreign": inspector.get_foreign_keys(name),
            "indexes": sorted(inspector.get_indexes(name), key=str),
        }
        for name in inspector.get_table_names()
        if name != VERSION_TABLE
    }
    if connection.dialect.name == "postgresql":
        found["collations"] = [
            tuple(row) for row in connection.execute(text(_COLLATIONS)) if row.table_name != VERSION_TABLE
        ]
    return found


def _columns(inspector, name):
    return [{**column, "type": str(column["type"])} for column in inspector.get_columns(name)]


def differences(connection):
    """Return what Alembic would change, so that the tables are as defined."""
    options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
    return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


def cut_to(rows, columns):
    return sorted(({column: row[column] for column in columns} for row in rows), key=str)


async def test_database_of_the_previous_version_keeps_all_it_has(previous_url):
    before = await look(previous_url, contents)
    async with SessionDirectory(previous_url) as directory:
        assert 2 == await directory.create_tables(dry_run=True)
        assert before == await look(previous_url, contents)
        assert 2 == await directory.create_tables()
        assert 3 == await directory.create_tables() == await directory.create_tables(dry_run=True)
    after = await look(previous_url, contents)
    assert [{"version_num": "3"}] == after.pop(VERSION_TABLE)
    assert [{"id": 1, "version": 2}] == before.pop(VERSION_TABLE)
    kept = {name: cut_to(after[name], rows[0]) for name, rows in before.items()}
    assert before == kept
    assert {0} == {row["turn_count"] for row in after["openai_sessions_branches"]}
    assert {"openai_sessions_responses", "openai_sessions_erasures", "openai_sessions_keys"} == (
        after.keys() - before.keys()
    )


async def test_database_of_the_previous_version_works(previous_url, emulator, client, clock):
    clock.now = datetime(2026, 1, 1, 3, tzinfo=timezone.utc)
    conversations = await look(previous_url, _conversations)
    emulator.seed([{"id": each, "items": [user("Hello")]} for each in conversations])
    async with SessionDirectory(previous_url, openai_client=client, clock=clock) as directory:
        with pytest.raises(DirectorySchemaError, match=r"version 2, .* upgrade them: .*create_tables\(\)"):
            await directory.session("alice")
        await directory.create_tables()
        session = await directory.session("alice")
        await session.add_items([user("Hello again")])
        assert [user("Hello"), user("Hello again")] == await session.get_items()
        assert ["main", "retry"] == [each.branch for each in await directory.branches("alice")]
        (used,) = (await (await directory.session("alice", "main")).get_turn_usage()).values()
        assert (2, 1500, 100, 1520) == (
            used.requests,
            used.input_tokens,
            used.cached_tokens,
            used.total_tokens,
        )
        entry = await directory.get("alice")
        assert ({"plan": "pro", "note": "caf\xe9 \U0001f600"}, "retry") == (entry.metadata, entry.branch)
        assert datetime(2026, 1, 31, 2, tzinfo=timezone.utc) == (await directory.get("draft")).expires_at
        assert (await directory.get("unused")).conversation_id is None
        report = await directory.sweep()
        assert (1, 0, ["carol"]) == (
            report.deleted,
            report.failed,
            [each.name for each in report.lost_creations],
        )
        await (await directory.session("carol")).add_items([user("Hello")])


async def test_programs_of_the_previous_version_that_are_running_can_write(previous_url):
    """The new columns need no value."""
    before = await look(previous_url, contents)
    await create_tables(previous_url)
    for name in ("names", "branches", "model_usage", "deletions", "creations"):
        table_name = f"openai_sessions_{name}"
        columns = ", ".join(before[table_name][0].keys() - {"tenant"})
        await execute(
            previous_url,
            f"INSERT INTO {table_name} (tenant, {columns}) SELECT 'later', {columns} FROM {table_name} "  # noqa: S608
            "WHERE tenant = ''",
        )
    async with SessionDirectory(previous_url, tenant="later") as directory:
        assert ("retry", 0) == (
            (await directory.get("alice")).branch,
            (await directory.get("alice")).turn_count,
        )


async def test_turns_are_counted_whose_usage_was_stored(previous_url):
    await execute(
        previous_url,
        "INSERT INTO openai_sessions_model_usage "
        "SELECT tenant, entry_id, branch, 7, model, long_input, requests, input_tokens, cached_tokens, "
        "cache_write_tokens, output_tokens, reasoning_tokens, total_tokens FROM openai_sessions_model_usage",
    )
    await create_tables(previous_url)
    found = await look(previous_url, contents)
    counts = {(row["branch"], row["turn_count"]) for row in found["openai_sessions_branches"]}
    assert {("main", 0), ("main", 7), ("retry", 0)} == counts


def _conversations(connection):
    found = contents(connection)
    rows = found["openai_sessions_branches"] + found["openai_sessions_deletions"]
    return [row["conversation_id"] for row in rows if row["conversation_id"]]


async def test_new_and_upgraded_tables_are_as_defined(previous_url):
    """Fails if `_database.py` is changed without a migration."""
    await create_tables(previous_url)
    assert [] == await look(previous_url, differences)
    upgraded = await look(previous_url, structure)
    await empty(previous_url)
    await create_tables(previous_url)
    assert [] == await look(previous_url, differences)
    assert upgraded == await look(previous_url, structure)
    await empty(previous_url)
    engine = create_async_engine(previous_url)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await engine.dispose()
    assert upgraded == await look(previous_url, structure)


async def empty(url):
    if url.startswith("sqlite"):
        for file in Path(url.partition(":///")[2]).parent.glob("previous.db*"):
            file.unlink()
    else:
        await execute(url, *EMPTY_SCHEMA)


def test_versions_follow_each_other():
    folder = str(Path(_migrations.__file__).parent)
    scripts = ScriptDirectory(folder, version_locations=[folder])
    expected = [str(version) for version in range(SCHEMA_VERSION, 1, -1)]
    assert expected == [script.revision for script in scripts.walk_revisions()]


@pytest.mark.exhaustive
async def test_ten_thousand_names_are_upgraded(previous_url):
    await execute(
        previous_url,
        "INSERT INTO openai_sessions_names "
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10000) "
        "SELECT 'many', CAST(n AS VARCHAR), 'name ' || n, 'main', '{}', created_at, used_at, NULL, NULL "
        "FROM numbers, openai_sessions_names WHERE name = 'draft'",
        "INSERT INTO openai_sessions_branches "
        "SELECT tenant, entry_id, branch, 'conv_' || entry_id, created_at FROM openai_sessions_names "
        "WHERE tenant = 'many'",
    )
    async with SessionDirectory(previous_url, tenant="many") as directory:
        await directory.create_tables()
        entry = await directory.get("name 10000")
        assert ("conv_10000", None) == (entry.conversation_id, entry.expires_at)
    found = await look(previous_url, contents)
    assert 10_005 == len(found["openai_sessions_names"])
    assert {(None, None, False)} == {
        (row["user_id"], row["title"], bool(row["is_title_requested"]))
        for row in found["openai_sessions_names"]
    }


@pytest.mark.parametrize("version", [1, 4])
async def test_other_versions_are_refused_and_not_changed(previous_url, version):
    await execute(previous_url, f"UPDATE openai_sessions_schema SET version = {version}")  # noqa: S608
    before = await look(previous_url, contents)
    remedy = "Use another database, and register" if version == 1 else "use the release that created them"
    async with SessionDirectory(previous_url) as directory:
        for call in (directory.create_tables, directory.sweep, lambda: directory.create_tables(dry_run=True)):
            with pytest.raises(DirectorySchemaError, match=rf"version {version}, .*{remedy}") as caught:
                await call()
            assert (version, 3, 2) == (caught.value.found, caught.value.supported, caught.value.oldest)
    assert before == await look(previous_url, contents)


async def test_cancelled_upgrade_changes_nothing(previous_url):
    before = await look(previous_url, contents)
    engine = create_async_engine(previous_url)
    async with SessionDirectory(engine=engine) as directory:
        upgrading = asyncio.ensure_future(directory.create_tables())

        @event.listens_for(engine.sync_engine, "before_cursor_execute")
        def cancel(_connection, _cursor, statement, *_):
            if "openai_sessions_names_user" in statement:
                upgrading.cancel()

        with pytest.raises(asyncio.CancelledError):
            await upgrading
        await engine.dispose()
        assert before == await look(previous_url, contents)
        assert 2 == await asyncio.wait_for(create_tables(previous_url), 10)


@pytest.mark.exhaustive
async def test_upgrade_that_deadlocks_with_a_program_in_use_is_repeated(previous_postgres_url):
    """Such as an earlier release: it locks branches before names, an upgrade names before branches."""
    user, upgrader = (create_async_engine(previous_postgres_url) for _ in range(2))
    extends_branches = asyncio.Event()

    @event.listens_for(upgrader.sync_engine, "before_cursor_execute")
    def note(_connection, _cursor, statement, *_):
        if statement.startswith("ALTER TABLE openai_sessions_branches"):
            extends_branches.set()

    async with SessionDirectory(engine=upgrader) as directory, user.connect() as connection:
        await connection.execute(text("SELECT count(*) FROM openai_sessions_branches"))
        await connection.execute(text("SET LOCAL deadlock_timeout = '60s'"))  # the upgrade is the victim
        upgrading = asyncio.ensure_future(directory.create_tables())
        await extends_branches.wait()
        names = (await connection.execute(text("SELECT name FROM openai_sessions_names"))).all()
        await connection.rollback()
        assert (5, 2) == (len(names), await upgrading)
    await user.dispose()
    await upgrader.dispose()
    assert [] == await look(previous_postgres_url, differences)


def test_without_alembic_the_error_names_the_extra(blank_sqlite_url, monkeypatch):
    monkeypatch.setitem(sys.modules, "alembic.script", None)
    with pytest.raises(ImportError, match=r"pip install 'openai-sessions\[directory\]'"):
        asyncio.run(create_tables(blank_sqlite_url))


@pytest.mark.exhaustive
async def test_upgrade_killed_at_each_statement_changes_nothing(previous_url, fork_server):
    before = await look(previous_url, contents)
    for step in itertools.count():
        ended = fork_server.wait(fork_server.start("upgrade", url=previous_url, after=step))
        if ended == 0:
            break
        assert -signal.SIGKILL == ended, fork_server.errors()
        assert before == await look(previous_url, contents)
    assert step > 20
    assert [] == await look(previous_url, differences)


async def test_upgrades_run_at_once(previous_url, tmp_path):
    """Of one database, by several; and of others, whose statements must not mix."""
    others = [f"sqlite+aiosqlite:///{tmp_path}/{number}.db" for number in range(2)]
    found = await asyncio.gather(*map(create_tables, [previous_url] * 3 + others))
    assert ([2, 3, 3], [None, None]) == (sorted(found[:3]), found[3:])
    for url in (previous_url, *others):
        assert [] == await look(url, differences)


@pytest.mark.exhaustive
async def test_processes_upgrade_at_once(previous_url, fork_server):
    pids = [fork_server.start("upgrade", url=previous_url, after=10_000) for _ in range(6)]
    assert [0] * 6 == [fork_server.wait(pid) for pid in pids], fork_server.errors()
    assert [] == await look(previous_url, differences)
    assert [{"version_num": "3"}] == (await look(previous_url, contents))[VERSION_TABLE]


def is_of_the_application(name, type_, parent_names):
    return type_ != "table" or not name.startswith("openai_sessions_")


async def test_migrations_of_the_application_are_left_alone(previous_url):
    await execute(
        previous_url,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('1a2b3c')",
        "CREATE TABLE orders (id INTEGER NOT NULL PRIMARY KEY)",
    )
    await create_tables(previous_url)
    found = await look(previous_url, contents)
    assert ([{"version_num": "1a2b3c"}], []) == (found["alembic_version"], found["orders"])
    own = MetaData()
    Table("orders", own, Column("id", Integer, primary_key=True))

    def changes(connection, **options):
        return compare_metadata(MigrationContext.configure(connection, opts=options), own)

    assert "remove_table" in str(await look(previous_url, changes))
    assert [] == await look(
        previous_url, lambda connection: changes(connection, include_name=is_of_the_application)
    )


@pytest.mark.parametrize("asked", [None, "alembic", "alembic.runtime.migration"])
async def test_alembic_logs_only_if_asked(blank_sqlite_url, caplog, asked):
    caplog.set_level(logging.INFO)
    if asked:
        caplog.set_level(logging.INFO, logger=asked)
    await create_tables(blank_sqlite_url)
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("alembic")]
    assert bool(asked) == any("Running upgrade 2 -> 3" in message for message in logged)
    assert asked or not logged


_PROGRAM = """
import asyncio, logging, sys
from openai_sessions.directory import SessionDirectory

async def main():
    async with SessionDirectory(sys.argv[1]) as directory:
        await directory.session("user_1")
        assert "alembic" not in sys.modules
        await directory.create_tables()
        assert "alembic" not in sys.modules
    async with SessionDirectory(sys.argv[2]) as directory:
        await directory.create_tables()
        assert "alembic" in sys.modules

logging.basicConfig(level=logging.INFO)
asyncio.run(main())
"""


@pytest.mark.exhaustive
async def test_alembic_is_imported_when_tables_are_changed_and_logs_nothing(sqlite_url, previous_sqlite_url):
    finished = programs.run("-c", _PROGRAM, sqlite_url, previous_sqlite_url, env=os.environ)
    assert (0, "") == (finished.returncode, finished.stderr)
