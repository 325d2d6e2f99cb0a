"""What the commands on a directory do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from openai_sessions.cli._errors import CommandError, ExitCode
from openai_sessions.cli._output import (
    TableWriter,
    confirm,
    counted,
    progress,
    require_terminal,
    standard_output,
    write_json,
)
from openai_sessions.cli._running import Workspace
from openai_sessions.directory import SessionEntry, SweepReport

_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class NameListing:
    """Which names to list.

    Attributes:
        prefix: Only names that begin with it.
        after: Only names behind it; None for all.
        limit: How many at most; None for all.
        as_json: Whether to print JSON, a name a line.
    """

    prefix: str = ""
    after: str | None = None
    limit: int | None = None
    as_json: bool = False

    async def __call__(self, workspace: Workspace) -> None:
        """Print the names, page by page."""
        table = TableWriter("Name", "Used", "Expires", "Conversation")
        show_time = _local if standard_output().is_terminal else datetime.isoformat
        async for entries in self._pages(workspace):
            if self.as_json:
                for entry in entries:
                    write_json(_as_json(entry))
            else:
                table.write(
                    (
                        entry.name,
                        show_time(entry.used_at),
                        show_time(entry.expires_at) if entry.expires_at else "-",
                        entry.conversation_id or "-",
                    )
                    for entry in entries
                )

    async def _pages(self, workspace: Workspace) -> AsyncIterator[Sequence[SessionEntry]]:
        after, left = self.after, self.limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            page = await workspace.directory.list(self.prefix, limit=size, after=after)
            yield page.entries
            after, left = page.next_after, None if left is None else left - size
            if after is None:
                return
        workspace.note(f"There are more: --after {after}")


def _local(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M}"


def _as_json(entry: SessionEntry) -> dict[str, Any]:
    return {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in asdict(entry).items()
    }


_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeping:
    """How to sweep.

    Attributes:
        purge: Whether to delete each item too, which OpenAI otherwise keeps, out of reach.
        yes: Whether to go ahead without asking.
    """

    purge: bool = False
    yes: bool = False

    async def __call__(self, workspace: Workspace) -> None:
        """Sweep until nothing is left, and say what was done."""
        workspace.client  # noqa: B018 - without a key nothing can be deleted: say so before anything is asked
        if not self.yes:
            require_terminal()
            expired = await _expired(workspace)
            confirm(
                f"Delete what has expired ({counted(expired, 'name')}) and what was left behind, for ever?"
            )
        removed = deleted = 0
        while True:
            report = await self._sweep(workspace)
            removed, deleted = removed + report.expired, deleted + report.deleted
            if not (report.remaining and report.deleted):
                break
        workspace.note(
            f"Removed {counted(removed, 'expired name')}, and deleted {counted(deleted, 'conversation')}."
        )
        _tell_of_lost(report, workspace)
        if report.remaining:
            left = counted(report.remaining, "conversation")
            raise CommandError(
                f"{left} could not be deleted: sweep again later.", exit_code=ExitCode.UNFINISHED
            )

    async def _sweep(self, workspace: Workspace) -> SweepReport:
        with progress("Sweeping", unit="conversations", quiet=workspace.settings.quiet) as show:
            return await workspace.directory.sweep(limit=_AT_ONCE, purge_items=self.purge, on_progress=show)


async def _expired(workspace: Workspace) -> int:
    """Return how many names have expired."""
    now, after, count = datetime.now(timezone.utc), None, 0
    while True:
        page = await workspace.directory.list(limit=_AT_ONCE, after=after)
        count += sum(1 for entry in page.entries if entry.expires_at and entry.expires_at <= now)
        after = page.next_after
        if after is None:
            return count


def _tell_of_lost(report: SweepReport, workspace: Workspace) -> None:
    """Name the conversations that may exist without anybody knowing their ids."""
    for lost in report.lost_creations:
        workspace.note(
            f"A conversation of {lost.name} may exist whose id was never heard of: "
            f"its metadata has openai_sessions.creation={lost.creation_id}."
        )
