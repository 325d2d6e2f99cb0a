"""Pages are read from an index: of 100,000 names on PostgreSQL, while others write, and on SQLite."""

import asyncio

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine

from openai_sessions.directory import SessionDirectory
from tools.bench.pages import NAMES, USER, fill


@pytest.fixture
async def engine(postgres_url):
    engine = create_async_engine(postgres_url)
    async with engine.begin() as connection:
        await fill(connection)
    yield engine
    await engine.dispose()


async def plans_of(engine, call):
    """Return what a call returns, and the nodes of the plans of the statement that it sends.

    One plan is for the values, one for any values: PostgreSQL chooses between them.
    """
    sent = []

    def note(_connection, _cursor, statement, parameters, *_):
        sent.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        result = await call
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)
    statement, parameters = sent[-1]
    assert statement.startswith("SELECT")
    plans = []
    async with engine.connect() as connection:
        for mode in ("force_custom_plan", "force_generic_plan"):
            await connection.exec_driver_sql(f"SET LOCAL plan_cache_mode = {mode}")
            await connection.exec_driver_sql(f"PREPARE page AS {statement}", ())
            values = ", ".join(literal(value) for value in parameters)
            explained = await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) EXECUTE page ({values})")
            await connection.exec_driver_sql("DEALLOCATE page")
            (top,) = explained.scalar_one()
            plans.append(list(nodes(top["Plan"])))
    return result, plans


async def test_pages_are_read_from_an_index_on_sqlite_too(sqlite_url):
    engine, sent = create_async_engine(sqlite_url), []
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *call: sent.append(call[2:4]))
    async with SessionDirectory(engine=engine) as directory:
        for name in ("a", "b"):
            await directory.session(name, user=USER)
        for user, index in ((None, "used (tenant=?"), (USER, "user (tenant=? AND user_id=?")):
            after = (await directory.conversations(user, limit=1)).next_after
            await directory.conversations(user, limit=1, after=after)
            async with engine.connect() as connection:
                explained = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sent[-1][0]}", sent[-1][1])
                scan, _ = [row[-1] for row in explained]
            assert f"openai_sessions_names_{index} AND (used_at,entry_id)<(?,?))" in scan
    await engine.dispose()


def literal(value):
    return str(value) if isinstance(value, int) else f"'{value}'"


def nodes(plan):
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


@pytest.mark.exhaustive
async def test_pages_of_100_000_names_are_read_from_an_index_and_stable_under_writers(engine):
    await assert_read_from_an_index(engine)
    await assert_stable(engine)


async def assert_read_from_an_index(engine):
    """Assert that the first page and a later one, of all users and of one, are read without sorting."""
    async with SessionDirectory(engine=engine) as directory:
        for user in (None, USER):
            index = f"openai_sessions_names_{'used' if user is None else 'user'}"
            for order in ("-used_at", "used_at"):
                half = await directory.conversations(user, order=order, limit=NAMES // 20)
                for after in (None, half.next_after):
                    page, plans = await plans_of(
                        engine, directory.conversations(user, order=order, limit=50, after=after)
                    )
                    assert (50, True) == (len(page.entries), page.next_after is not None)
                    for plan in plans:
                        assert_scans(index, plan, is_later=after is not None)


def assert_scans(index, plan, *, is_later):
    """Assert that a plan goes through an index of the names from the place of the page on, and no further."""
    assert {"Limit", "Nested Loop", "Index Scan"} == {node["Node Type"] for node in plan}
    (scan,) = [node for node in plan if node.get("Relation Name") == "openai_sessions_names"]
    assert (index, None) == (scan["Index Name"], scan.get("Filter"))
    assert ("used_at" in scan["Index Cond"]) is is_later


async def assert_stable(engine):
    """Assert that names that nobody writes to are listed once, and others at most once more for a write."""
    async with SessionDirectory(engine=engine) as directory:
        written, is_done = [], asyncio.Event()

        async def write(first):
            for number in range(first, NAMES, 970):
                if is_done.is_set():
                    return
                written.append(f"chat_{number}")
                session = await directory.session(written[-1])
                await session._registration.renew(None)
                await directory.session(f"chat_{number - 1}")
                await directory.session(f"new_{number}", user=USER)

        async def read():
            found, after = [], None
            while True:
                page = await directory.conversations(limit=2000, after=after)
                found += [entry.name for entry in page.entries]
                after = page.next_after
                if after is None:
                    is_done.set()
                    return found

        found, *_ = await asyncio.gather(read(), *(write(first) for first in (10, 20, 30)))
    assert len(written) > 3
    quiet = {f"chat_{number}" for number in range(1, NAMES + 1)} - set(written)
    assert quiet == {name for name in found if name in quiet}
    assert len(quiet) == sum(name in quiet for name in found)
    assert len(found) <= NAMES + 2 * len(written)
