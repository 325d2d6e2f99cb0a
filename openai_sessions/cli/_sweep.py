"""`openai-sessions sweep`: delete what has expired, and what was left behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

from openai_sessions.cli._confirming import confirm, require_terminal
from openai_sessions.cli._errors import CommandError, ExitCode
from openai_sessions.cli._progress import progress
from openai_sessions.cli._wording import counted
from openai_sessions.cli._workspace import Workspace
from openai_sessions.directory import SweepReport

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
