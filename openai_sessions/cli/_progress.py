"""How far a long command has come: a bar on standard error, where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

OnProgress = Callable[[int, "int | None"], object]
"""Called with how many are done, and how many there are, or None when that is not known."""

_WIDE_ENOUGH = 60
"""Columns from which on there is room for a bar."""


@contextmanager
def progress(label: str, *, quiet: bool, unit: str = "items") -> Iterator[OnProgress]:
    """Show how far something has come inside the block; nothing of it stays on the screen.

    Args:
        label: What is being done.
        quiet: Show nothing, as where standard error is no terminal.
        unit: What is counted.
    """
    console = Console(stderr=True, highlight=False)
    bar = [BarColumn(bar_width=30)] if console.width >= _WIDE_ENOUGH else []
    columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False), *bar, _Count(unit)]
    hidden = quiet or not sys.stderr.isatty()
    with Progress(*columns, console=console, transient=True, disable=hidden) as shown:
        task = shown.add_task(label, total=None)

        def tell(done: int, total: int | None = None) -> None:
            shown.update(task, completed=done, total=total)

        yield tell


class _Count(ProgressColumn):
    """So many of so many, with digits that are easy to read."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Return `1,200/5,000 items`."""
        of = "" if task.total is None else f"/{int(task.total):,}"
        return Text(f"{int(task.completed):,}{of} {self._unit}" if task.completed or of else "")
