"""`openai-sessions list`: the names of a directory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from openai_sessions.cli._output import TableWriter, standard_output, write_json
from openai_sessions.cli._workspace import Workspace
from openai_sessions.directory import SessionEntry

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
