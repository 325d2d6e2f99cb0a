"""The migrations of a directory's tables, run by Alembic.

Each module `version_N` is the revision `N`. Its `upgrade(op)` gets the operations as an argument, not from
`alembic.op`, which is global: an application may run its own migrations at the same time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from sqlalchemy import Connection, text

VERSION_TABLE = "openai_sessions_schema"
"""The table in which Alembic stores the version; `alembic_version`, the default, is the application's."""

OLDEST_VERSION = 2
"""The oldest version that can be upgraded. It stores its version in a column `version`, without Alembic."""


def migrate(connection: Connection, found: int | None, target: int) -> None:
    """Upgrade the tables in the open transaction of a connection.

    Args:
        connection: A connection with an open transaction, which the caller commits.
        found: The version of the tables; None if there are none.
        target: The version after the upgrade.

    Raises:
        ImportError: Alembic is not installed; names the extra that installs it.
    """
    with _quiet_alembic():
        try:
            _migrate(connection, found, str(target))
        except ModuleNotFoundError as error:
            raise ImportError(
                "create_tables() requires Alembic: pip install 'openai-sessions[directory]'", name=error.name
            ) from error


def _migrate(connection: Connection, found: int | None, target: str) -> None:
    from alembic.operations import Operations  # noqa: PLC0415 - only this needs Alembic
    from alembic.runtime.migration import (  # noqa: PLC0415 - as above
        MigrationContext,
        MigrationStep,
        RevisionStep,
    )
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above

    folder = str(Path(__file__).parent)
    scripts = ScriptDirectory(folder, version_locations=[folder])

    def steps(heads: tuple[str, ...], _: MigrationContext) -> list[RevisionStep]:
        revisions = scripts.iterate_revisions(target, heads, implicit_base=True)
        newest_first = [MigrationStep.upgrade_from_script(scripts.revision_map, each) for each in revisions]
        return newest_first[::-1]

    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "fn": steps})
    if found == OLDEST_VERSION:
        connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))
        context.stamp(scripts, str(found))
    context.run_migrations(op=Operations(context))


_is_quiet: ContextVar[bool] = ContextVar("is_quiet", default=False)

_LOGGERS = ("alembic.runtime.migration", "alembic.runtime.plugins")
"""The loggers that Alembic uses while it is imported and while it upgrades."""


@contextmanager
def _quiet_alembic() -> Iterator[None]:
    """Drop Alembic's messages below WARNING from the current context, unless a level is set for its loggers.

    The application's own migrations, in other tasks and threads, keep their messages.
    """
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_wanted)
    token = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(token)


def _is_wanted(record: logging.LogRecord) -> bool:
    levels = (logging.getLogger(name).level for name in ("alembic", record.name))
    return record.levelno >= logging.WARNING or not _is_quiet.get() or any(levels)
