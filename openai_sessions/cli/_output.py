"""What a command gives out: on standard output, for people on a terminal and for programs elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from openai_sessions.cli._escaping import escaped_line, json_text


def standard_output() -> Console:
    """Return the console for people; `is_terminal` tells whether there are any."""
    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False)


def write_line(text: str) -> None:
    """Write a line that is safe on a terminal."""
    sys.stdout.write(f"{text}\n")


def write_json(value: Any) -> None:
    """Write JSON in one line."""
    write_line(json_text(value, encoding=sys.stdout.encoding))


class TableWriter:
    """Write rows as a table on a terminal, and as lines of cells with tabs between them elsewhere.

    Args:
        *headings: Of the columns; shown on a terminal only. A `>` before one puts its cells to the right.
    """

    def __init__(self, *headings: str) -> None:
        self._headings = headings
        self._console = standard_output()
        self._has_written = False

    def write(self, rows: Iterable[Sequence[str]]) -> None:
        """Write rows, under the headings when they are the first."""
        cells = [[escaped_line(cell) for cell in row] for row in rows]
        if not self._console.is_terminal:
            for row in cells:
                write_line("\t".join(row))
            return
        headings = [heading.lstrip(">") for heading in self._headings]
        widths = [max(map(cell_len, column)) for column in zip(headings, *cells, strict=True)]
        if cells and not self._has_written:
            self._print(headings, widths, style="bold")
            self._has_written = True
        for row in cells:
            self._print(row, widths)

    def _print(self, row: Sequence[str], widths: Sequence[int], *, style: str = "") -> None:
        """Print a row, cut where the terminal ends."""
        line = Text(style=style)
        for heading, cell, width in zip(self._headings[:-1], row, widths, strict=False):
            padding = " " * (width - cell_len(cell))
            line.append(f"{padding}{cell}  " if heading.startswith(">") else f"{cell}{padding}  ")
        last = Text(row[-1])
        if self._headings[-1].startswith(">"):
            last.pad_left(widths[-1] - cell_len(row[-1]))
        line.append_text(last).truncate(self._console.width, overflow="ellipsis")
        self._console.print(line, soft_wrap=True)
