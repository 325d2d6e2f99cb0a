"""Measure a page of 100,000 names with and without the indexes: `python -m tools.bench.pages`.

PostgreSQL is started as the tests do it. One run times the same pages with the indexes on the time of use,
and then without them: the statement in PostgreSQL, and the whole call of `conversations()`.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from openai_sessions.directory import SessionDirectory
from openai_sessions.directory._database import names
from tests.conformance.postgres_server import postgres_server

NAMES = 100_000

USER = "user_0"
"""The owner of every tenth name; each of the others has about a hundred."""

PAGE = 50
"""Names on a page."""

REPEATS = 50
"""How often each page is read."""

FILL = (
    """
    INSERT INTO openai_sessions_names
        (tenant, entry_id, name, branch, user_id, title, title_key, metadata, created_at, used_at)
    SELECT '', md5(n::text), 'chat_' || n, 'main',
        'user_' || CASE WHEN n % 10 = 0 THEN 0 ELSE n % 900 END,
        'Title ' || n, 'title ' || n, '{}', now(), now() - n * interval '1 minute'
    FROM generate_series(1, :number) AS n
    """,
    """
    INSERT INTO openai_sessions_branches (tenant, entry_id, branch, conversation_id, created_at)
    SELECT '', md5(n::text), 'main', 'conv_' || md5(n::text), now() FROM generate_series(1, :number) AS n
    """,
)


async def fill(connection: AsyncConnection, number: int = NAMES) -> None:
    """Insert names into empty tables, and collect the statistics of the planner."""
    for statement in FILL:
        await connection.execute(text(statement), {"number": number})
    for table in ("openai_sessions_names", "openai_sessions_branches"):
        await connection.execute(text(f"ANALYZE {table}"))


@dataclass(frozen=True, slots=True)
class Page:
    """A page to measure: of all users or of one, the first or one from the middle."""

    user: str | None
    is_first: bool

    def __str__(self) -> str:
        return f"{'first' if self.is_first else 'middle'} page of {'one user' if self.user else 'all users'}"


PAGES = tuple(Page(user, is_first) for user in (None, USER) for is_first in (True, False))


async def cursors(directory: SessionDirectory) -> dict[Page, str | None]:
    """Return where each page starts."""
    found: dict[Page, str | None] = {}
    for page in PAGES:
        half = await directory.conversations(page.user, limit=NAMES // (20 if page.user else 2))
        found[page] = None if page.is_first else half.next_after
    return found


@dataclass(frozen=True, slots=True)
class Times:
    """The medians of the seconds that a page takes, in PostgreSQL and in all."""

    statement: float
    call: float


async def measure(engine: AsyncEngine, directory: SessionDirectory, page: Page, after: str | None) -> Times:
    """Return the times of a page."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        sent.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    calls = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        await directory.conversations(page.user, limit=PAGE, after=after)
        calls.append(time.perf_counter() - started)
    event.remove(engine.sync_engine, "before_cursor_execute", note)
    statement, parameters = sent[-1]
    async with engine.connect() as connection:
        explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}"
        plans = [(await connection.exec_driver_sql(explain, parameters)).scalar_one() for _ in range(REPEATS)]
    times = [plan[0]["Execution Time"] / 1000 for plan in plans]
    return Times(statistics.median(times), statistics.median(calls))


@asynccontextmanager
async def filled(url: str) -> AsyncIterator[tuple[AsyncEngine, SessionDirectory]]:
    """Open a directory with the names on an empty database."""
    engine = create_async_engine(url)
    async with SessionDirectory(engine=engine) as directory:
        await directory.create_tables()
        async with engine.begin() as connection:
            await fill(connection)
        yield engine, directory
    await engine.dispose()


async def drop_indexes(engine: AsyncEngine) -> None:
    """Drop the indexes that contain the time of use."""
    async with engine.begin() as connection:
        for index in names.indexes:
            if "used_at" in index.columns:
                await connection.execute(text(f"DROP INDEX {index.name}"))


async def run(url: str) -> list[tuple[Page, Times, Times]]:
    """Return each page with its times with the indexes, and without them."""
    async with filled(url) as (engine, directory):
        places = await cursors(directory)
        gc.collect()
        indexed = [await measure(engine, directory, page, places[page]) for page in PAGES]
        await drop_indexes(engine)
        plain = [await measure(engine, directory, page, places[page]) for page in PAGES]
    return list(zip(PAGES, indexed, plain, strict=True))


def main() -> int:
    """Measure, and print the table."""
    with postgres_server() as url:
        rows = asyncio.run(run(url.replace("postgresql://", "postgresql+asyncpg://", 1)))
    table = Table("page", "time", "with the index", "without", "ratio")
    for page, indexed, plain in rows:
        for what, fast, slow in (
            ("statement", indexed.statement, plain.statement),
            ("call", indexed.call, plain.call),
        ):
            table.add_row(
                str(page), what, f"{fast * 1000:.2f} ms", f"{slow * 1000:.1f} ms", f"{slow / fast:.0f}"
            )
    Console().print(f"{PAGE} of {NAMES:,} names, medians of {REPEATS}", table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
