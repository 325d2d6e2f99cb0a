"""Text of others on a terminal: what would act on the terminal is shown as an escape instead."""

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

from openai_sessions.cli._errors import CommandError, ExitCode, interruptible

_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
"""The controls C0 and C1, but for the tab and the end of a line."""

_REORDERING = r"\u202a-\u202e\u2066-\u2069"
"""They turn the direction of writing, so that a line reads otherwise than it is."""

_UNSEEN = r"\u2028\u2029\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
"""Ends of lines that are none elsewhere, marks, and letters that nobody sees but a model."""

_SURROGATES = r"\ud800-\udfff"
"""Halves of characters: JSON may hold them, and no output can encode them."""

_ACTIVE = re.compile(f"[{_CONTROLS}{_REORDERING}{_UNSEEN}{_SURROGATES}]")


def escaped(text: str) -> str:
    r"""Return a text with tabs and lines as they are, and escapes such as `\x1b` for what is no text."""
    return _ACTIVE.sub(_escape, text.replace("\r\n", "\n"))


def escaped_line(text: str) -> str:
    r"""Return a text in one line: ends of lines and tabs are shown as `\n` and `\t` too."""
    return re.sub(r"[\n\t]", _escape, _ACTIVE.sub(_escape, text))


def json_text(value: Any, *, encoding: str = "utf-8") -> str:
    """Return JSON in one line that any terminal can show.

    Args:
        value: What to write.
        encoding: Of the output. One that is not UTF-8 gets escapes for all that is not ASCII.
    """
    as_ascii = encoding.lower().replace("-", "") != "utf8"
    text = json.dumps(value, ensure_ascii=as_ascii)
    return _ACTIVE.sub(lambda match: json.dumps(match[0])[1:-1], text)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 item`, `1,200 items`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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


def require_terminal() -> None:
    """Refuse to go on where nobody can be asked.

    Raises:
        CommandError: Standard input or standard error is no terminal.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandError(
            "This deletes something, and there is no terminal to ask on: give --yes.",
            exit_code=ExitCode.USAGE,
        )


def confirm(question: str) -> None:
    """Ask on the terminal, and return when the answer is yes.

    Args:
        question: What is about to be done, ending in a question mark.

    Raises:
        CommandError: The answer is not yes (1), or Ctrl-C (130).
    """
    sys.stderr.write(f"{escaped_line(question)} [y/N] ")
    sys.stderr.flush()
    with interruptible():
        answer = sys.stdin.readline()
    if not answer:
        sys.stderr.write("\n")
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing was done.", exit_code=ExitCode.FAILED)


MAX_CHARACTERS = 5_000
"""How much of an item is shown, unless all of it is asked for."""

_HIDDEN = ("type", "id", "status", "call_id")


@dataclass(frozen=True, slots=True)
class ShownItem:
    """An item for people.

    Attributes:
        label: Who or what: the role of a message, `call`, `output`, `reasoning`, or the type of the item.
        text: What it says, as it was given: it may hold anything.
        omitted: How many more characters there are.
    """

    label: str
    text: str
    omitted: int = 0


def shown_item(item: Mapping[str, Any], *, full: bool = False) -> ShownItem:
    """Return what is shown of an item in replay form; unknown types are shown as JSON.

    Args:
        item: The item. It is shown as well as it can be whatever it holds.
        full: Show all of it; otherwise its first 5,000 characters.
    """
    shown = _PRESENTATIONS.get(_type_of(item), _as_json)(item)
    omitted = 0 if full else max(0, len(shown.text) - MAX_CHARACTERS)
    return replace(shown, text=shown.text[:MAX_CHARACTERS], omitted=omitted) if omitted else shown


def starts_turn(item: Mapping[str, Any]) -> bool:
    """Tell whether an item is a message of the user."""
    return _type_of(item) == "message" and item.get("role") == "user"


def _type_of(item: Mapping[str, Any]) -> str:
    return str(item.get("type") or "message")


def _message(item: Mapping[str, Any]) -> ShownItem:
    text = _text_of(item.get("content"))
    unfinished = f" [{item['status']}]" if item.get("status") not in (None, "completed") else ""
    return ShownItem(str(item.get("role")), f"{text}{unfinished}")


def _function_call(item: Mapping[str, Any]) -> ShownItem:
    return ShownItem("call", f"{item.get('name')}({_text_of(item.get('arguments'))})")


def _custom_tool_call(item: Mapping[str, Any]) -> ShownItem:
    return ShownItem("call", f"{item.get('name')}({_text_of(item.get('input'))})")


def _call_output(item: Mapping[str, Any]) -> ShownItem:
    return ShownItem("output", _text_of(item.get("output")))


def _mcp_call(item: Mapping[str, Any]) -> ShownItem:
    call = f"{item.get('server_label')}.{item.get('name')}({_text_of(item.get('arguments'))})"
    results = [item[key] for key in ("output", "error") if item.get(key) is not None]
    return ShownItem("call", "\n".join([call, *map(_text_of, results)]))


def _reasoning(item: Mapping[str, Any]) -> ShownItem:
    said = _text_of(item.get("summary") or item.get("content") or [])
    return ShownItem("reasoning", said or "[no summary]")


def _as_json(item: Mapping[str, Any]) -> ShownItem:
    kept = {key: value for key, value in item.items() if key not in _HIDDEN and value is not None}
    return ShownItem(_type_of(item), json.dumps(kept, ensure_ascii=False) if kept else "")


_PRESENTATIONS: dict[str, Callable[[Mapping[str, Any]], ShownItem]] = {
    "message": _message,
    "function_call": _function_call,
    "function_call_output": _call_output,
    "custom_tool_call": _custom_tool_call,
    "custom_tool_call_output": _call_output,
    "mcp_call": _mcp_call,
    "reasoning": _reasoning,
}


def _text_of(content: Any) -> str:
    """Return the text of a string or of a list of parts; anything else as JSON."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(map(_text_of_part, content))
    return "" if content is None else json.dumps(content, ensure_ascii=False)


def _text_of_part(part: Any) -> str:
    if not isinstance(part, Mapping):
        return json.dumps(part, ensure_ascii=False)
    for key in ("text", "refusal"):
        if isinstance(part.get(key), str):
            return str(part[key])
    named = [str(part[key]) for key in ("filename", "file_id", "image_url", "file_url") if part.get(key)]
    kind = str(part.get("type")).removeprefix("input_")
    return f"[{' '.join([kind, *map(_brief, named)])}]"


def _brief(name: str) -> str:
    """Say of a file that is given within its own URL what it is, and how long."""
    head, comma, data = name.partition(",")
    if not (comma and head.startswith("data:")):
        return name
    return f"{head.removeprefix('data:').removesuffix(';base64')}, {len(data):,} characters"


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
