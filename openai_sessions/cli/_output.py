"""Output: transcripts, tables, JSON and progress, safe on a terminal whatever the items contain."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text

from openai_sessions._items.text import UNSAFE, safe_json


def standard_output() -> Console:
    """Return a console for standard output that prints text as it is."""
    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False)


def write_line(text: str) -> None:
    """Write a line. The text must be safe on a terminal."""
    sys.stdout.write(f"{text}\n")


def write_json(value: Any) -> None:
    """Write a value as JSON in one line."""
    write_line(json_text(value, encoding=sys.stdout.encoding))


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 item`, `1,200 items`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def escaped(text: str) -> str:
    r"""Return a text with its lines and tabs, and escapes such as `\x1b` for unsafe characters."""
    return UNSAFE.sub(_escape, text.replace("\r\n", "\n"))


def escaped_line(text: str) -> str:
    r"""Return a text in one line: line feeds and tabs are escaped too, as `\n` and `\t`."""
    return re.sub(r"[\n\t]", _escape, UNSAFE.sub(_escape, text))


def json_text(value: Any, *, encoding: str = "utf-8") -> str:
    """Return JSON in one line that is safe on a terminal.

    Args:
        value: The value.
        encoding: The encoding of the output; unless it is UTF-8, all non-ASCII characters are escaped.
    """
    is_utf8 = encoding.lower().replace("-", "") == "utf8"
    return safe_json(json.dumps(value, ensure_ascii=not is_utf8))


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


class TableWriter:
    """Writes rows: as a table on a terminal, otherwise as tab-separated lines.

    Args:
        *headings: One per column, shown on a terminal only. A leading `>` aligns the column right.
    """

    def __init__(self, *headings: str) -> None:
        self._headings = headings
        self._console = standard_output()
        self._has_written = False

    def write(self, rows: Iterable[Sequence[str]]) -> None:
        """Write rows, and the headings before the first."""
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
        """Print a row, truncated to the width of the terminal."""
        line = Text(style=style)
        for heading, cell, width in zip(self._headings[:-1], row, widths, strict=False):
            padding = " " * (width - cell_len(cell))
            line.append(f"{padding}{cell}  " if heading.startswith(">") else f"{cell}{padding}  ")
        last = Text(row[-1])
        if self._headings[-1].startswith(">"):
            last.pad_left(widths[-1] - cell_len(row[-1]))
        line.append_text(last).truncate(self._console.width, overflow="ellipsis")
        self._console.print(line, soft_wrap=True)


OnProgress = Callable[[int, "int | None"], object]
"""Called with the number done, and the total, or None if the total is unknown."""

_MIN_WIDTH_OF_A_BAR = 60


@contextmanager
def progress(label: str, *, quiet: bool, unit: str = "items") -> Iterator[OnProgress]:
    """Show progress on standard error inside the block, and erase it at the end.

    Args:
        label: What is being done.
        quiet: Whether to show nothing. Nothing is shown either if standard error is not a terminal.
        unit: What is counted.
    """
    console = Console(stderr=True, highlight=False)
    bar = [BarColumn(bar_width=30)] if console.width >= _MIN_WIDTH_OF_A_BAR else []
    columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False), *bar, _Count(unit)]
    hidden = quiet or not sys.stderr.isatty()
    with Progress(*columns, console=console, transient=True, disable=hidden) as shown:
        task = shown.add_task(escaped_line(label), total=None)

        def show(done: int, total: int | None = None) -> None:
            shown.update(task, completed=done, total=total)

        yield show


class _Count(ProgressColumn):
    """The number done and the total, with thousands separators."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Return `1,200/5,000 items`."""
        total = "" if task.total is None else f"/{int(task.total):,}"
        return Text(f"{int(task.completed):,}{total} {self._unit}" if task.completed or total else "")


_COLUMN = 11
"""The column in which texts start. A longer label has a line of its own."""

_STYLES = {"user": "bold cyan", "assistant": "bold green", "call": "yellow", "output": "yellow"}


class TranscriptWriter:
    """Writes items for people, with an empty line before each user message.

    Args:
        full: Whether to write items in full, instead of their first 5,000 characters.
    """

    def __init__(self, *, full: bool = False) -> None:
        self._console = standard_output()
        self._full = full
        self._has_written = False

    def write(self, item: Mapping[str, Any], item_id: str | None = None) -> None:
        """Write one item in replay form, below its id if that is given."""
        if self._has_written and _type_of(item) == "message" and item.get("role") == "user":
            write_line("")
        self._has_written = True
        if item_id is not None:
            self._console.print(escaped_line(item_id), style="dim", soft_wrap=True)
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


_MAX_CHARACTERS = 5_000

_HIDDEN = ("type", "id", "status", "call_id")


@dataclass(frozen=True, slots=True)
class ShownItem:
    """An item as people see it.

    Attributes:
        label: The role of a message, `call`, `output`, `reasoning`, or the item's type.
        text: The text of the item, not escaped.
        omitted: The number of characters left out at the end.
    """

    label: str
    text: str
    omitted: int = 0


def shown_item(item: Mapping[str, Any], *, full: bool = False) -> ShownItem:
    """Return what to show of an item in replay form; items of unknown types are shown as JSON.

    Args:
        item: The item. Malformed items are shown as far as possible.
        full: Whether to keep the whole text, instead of its first 5,000 characters.
    """
    shown = _PRESENTATIONS.get(_type_of(item), _as_json)(item)
    omitted = 0 if full else max(0, len(shown.text) - _MAX_CHARACTERS)
    return replace(shown, text=shown.text[:_MAX_CHARACTERS], omitted=omitted) if omitted else shown


def _type_of(item: Mapping[str, Any]) -> str:
    return str(item.get("type") or "message")


def _message(item: Mapping[str, Any]) -> ShownItem:
    text = _content_text(item.get("content"))
    status = f" [{item['status']}]" if item.get("status") not in (None, "completed") else ""
    return ShownItem(str(item.get("role")), f"{text}{status}")


def _function_call(item: Mapping[str, Any]) -> ShownItem:
    return ShownItem("call", f"{item.get('name')}({_content_text(item.get('arguments'))})")


def _custom_tool_call(item: Mapping[str, Any]) -> ShownItem:
    return ShownItem("call", f"{item.get('name')}({_content_text(item.get('input'))})")


def _call_output(item: Mapping[str, Any]) -> ShownItem:
    return ShownItem("output", _content_text(item.get("output")))


def _mcp_call(item: Mapping[str, Any]) -> ShownItem:
    call = f"{item.get('server_label')}.{item.get('name')}({_content_text(item.get('arguments'))})"
    results = [item[key] for key in ("output", "error") if item.get(key) is not None]
    return ShownItem("call", "\n".join([call, *map(_content_text, results)]))


def _reasoning(item: Mapping[str, Any]) -> ShownItem:
    text = _content_text(item.get("summary") or item.get("content") or [])
    return ShownItem("reasoning", text or "[no summary]")


def _as_json(item: Mapping[str, Any]) -> ShownItem:
    kept = {key: value for key, value in item.items() if key not in _HIDDEN and value is not None}
    return ShownItem(_type_of(item), json.dumps(kept, ensure_ascii=False) if kept else "")


def _compaction(_: Mapping[str, Any]) -> ShownItem:
    return ShownItem("compaction", "stands for the items above it; models read from the newest one on")


_PRESENTATIONS: dict[str, Callable[[Mapping[str, Any]], ShownItem]] = {
    "message": _message,
    "function_call": _function_call,
    "function_call_output": _call_output,
    "custom_tool_call": _custom_tool_call,
    "custom_tool_call_output": _call_output,
    "mcp_call": _mcp_call,
    "reasoning": _reasoning,
    "compaction": _compaction,
}


def _content_text(content: Any) -> str:
    """Return the text of a string or a list of parts; any other value as JSON."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(map(_part_text, content))
    return "" if content is None else json.dumps(content, ensure_ascii=False)


def _part_text(part: Any) -> str:
    if not isinstance(part, Mapping):
        return json.dumps(part, ensure_ascii=False)
    for key in ("text", "refusal"):
        if isinstance(part.get(key), str):
            return str(part[key])
    sources = [str(part[key]) for key in ("filename", "file_id", "image_url", "file_url") if part.get(key)]
    kind = str(part.get("type")).removeprefix("input_")
    return f"[{' '.join([kind, *map(_brief, sources)])}]"


def _brief(source: str) -> str:
    """Return the media type and length of a data URL, and any other source as it is."""
    head, comma, data = source.partition(",")
    if not (comma and head.startswith("data:")):
        return source
    return f"{head.removeprefix('data:').removesuffix(';base64')}, {len(data):,} characters"
