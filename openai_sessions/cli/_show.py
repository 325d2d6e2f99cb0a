"""`openai-sessions show`: a conversation for people, or as JSON."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from openai_sessions.cli._output import write_json
from openai_sessions.cli._progress import progress
from openai_sessions.cli._transcript_writer import TranscriptWriter
from openai_sessions.cli._workspace import Workspace
from openai_sessions.session import OpenAIConversationsSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """What to show.

    Attributes:
        conversation: An id, or a name of the directory.
        limit: How many of the newest items; None for all.
        last_turns: How many of the newest turns; None for all.
        as_json: Whether to print JSON, an item a line.
        full: Whether to print all of an item, however long.
    """

    conversation: str
    limit: int | None = None
    last_turns: int | None = None
    as_json: bool = False
    full: bool = False

    async def __call__(self, workspace: Workspace) -> None:
        """Print each item as it is read."""
        session = await workspace.source(self.conversation)
        write = write_json if self.as_json else TranscriptWriter(full=self.full).write
        is_seen = sys.stdout.isatty()  # which shows how far it is by itself
        with progress(f"Reading {self.conversation}", quiet=workspace.settings.quiet or is_seen) as show:
            count = 0
            async for item in self._items_of(session):
                write(item)
                count += 1
                show(count, None)

    async def _items_of(self, session: OpenAIConversationsSession) -> AsyncIterator[Any]:
        if self.limit is not None or self.last_turns is not None:
            for item in await session.get_items(self.limit, turns=self.last_turns):
                yield item
        else:
            async for item in session.iterate_items():
                yield item
