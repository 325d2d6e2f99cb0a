"""A transcript on standard output: coloured and wrapped on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from openai_sessions.cli._escaping import escaped, escaped_line
from openai_sessions.cli._output import standard_output, write_line
from openai_sessions.cli._shown_items import ShownItem, shown_item, starts_turn

_COLUMN = 11
"""The column in which texts begin. A label that is longer stands in a line of its own."""

_STYLES = {"user": "bold cyan", "assistant": "bold green", "call": "yellow", "output": "yellow"}


class TranscriptWriter:
    """Write items for people to read, with an empty line before each message of the user.

    Args:
        full: Write all of each item, however long.
    """

    def __init__(self, *, full: bool = False) -> None:
        self._console = standard_output()
        self._full = full
        self._has_written = False

    def write(self, item: Mapping[str, Any]) -> None:
        """Write one item in replay form."""
        if self._has_written and starts_turn(item):
            write_line("")
        self._has_written = True
        shown = shown_item(item, full=self._full)
        if self._console.is_terminal:
            self._write_wrapped(shown)
        else:
            self._write_plain(shown)

    def _write_plain(self, shown: ShownItem) -> None:
        label, lines = escaped_line(shown.label), [*escaped(shown.text).split("\n"), *_note(shown)]
        if len(label) >= _COLUMN:
            write_line(label)
            label = ""
        for line in lines:
            write_line(f"{label:<{_COLUMN}}{line}".rstrip())
            label = ""

    def _write_wrapped(self, shown: ShownItem) -> None:
        label = Text(escaped_line(shown.label), style=_STYLES.get(shown.label, "magenta"))
        body = Text(escaped(shown.text), style="" if shown.label in ("user", "assistant") else "dim")
        for note in _note(shown):
            body.append(f"\n{note}", style="italic")
        if len(label) >= _COLUMN:
            self._console.print(label)
            label = Text()
        grid = Table.grid(padding=0)
        grid.add_column(width=_COLUMN, no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(label, body)
        self._console.print(grid)


def _note(shown: ShownItem) -> list[str]:
    return [f"[{shown.omitted:,} more characters: --full shows them]"] if shown.omitted else []
