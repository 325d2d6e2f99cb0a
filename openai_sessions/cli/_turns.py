"""`openai-sessions turns`: what the user asked, turn by turn, and where a text was said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openai_sessions._turns import Turn
from openai_sessions.cli._output import TableWriter, write_json
from openai_sessions.cli._progress import progress
from openai_sessions.cli._workspace import Workspace

_LONGEST = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Which turns to list.

    Attributes:
        conversation: An id, or a name of the directory.
        find: Only turns in which this is said; None for all.
        last: How many of the newest; None for all.
        as_json: Whether to print JSON, a turn a line.
    """

    conversation: str
    find: str | None = None
    last: int | None = None
    as_json: bool = False

    async def __call__(self, workspace: Workspace) -> None:
        """Print the turns."""
        session = await workspace.source(self.conversation)
        with progress(f"Reading {self.conversation}", quiet=workspace.settings.quiet):
            turns = await (session.turns(self.last) if self.find is None else session.find_turns(self.find))
        turns = turns[-self.last :] if self.last else turns
        if self.as_json:
            for turn in turns:
                write_json(_as_json(turn))
        else:
            rows = ((str(turn.number), str(len(turn.items)), _beginning(turn.text)) for turn in turns)
            TableWriter(">Turn", ">Items", "The user").write(rows)


def _as_json(turn: Turn) -> dict[str, Any]:
    return {
        "number": turn.number,
        "text": turn.text,
        "item_ids": list(turn.item_ids),
        "items": list(turn.items),
    }


def _beginning(text: str) -> str:
    """Return the beginning of a text, with one space where it has several, or ends of lines."""
    return " ".join(text[: 2 * _LONGEST].split())[:_LONGEST]
