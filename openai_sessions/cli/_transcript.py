"""What the demonstration shows: the conversation, and the requests that it cost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_STYLES = {"user": "cyan", "assistant": "green"}


@dataclass(frozen=True, slots=True)
class SentRequest:
    """One request as the client sent it, and the status that came back."""

    method: str
    path: str
    status: int

    def __str__(self) -> str:
        note = "  asks the model" if self.path.endswith("/responses") else ""
        return f"{self.method:<6} {shortened(self.path)}{note}"


class Transcript:
    """Print a conversation, and under each step the requests made since the one before.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._requests: list[SentRequest] = []
        self._shown = 0

    async def record(self, response: Any) -> None:
        """Take note of an exchange: the `response` hook of an HTTP client."""
        request = response.request
        self._requests.append(SentRequest(request.method, request.url.path, response.status_code))

    def heading(self, text: str, *, note: str = "") -> None:
        """Begin a part of the demonstration."""
        self._console.print()
        self._console.print(Text.assemble((text, "bold"), "  ", (note, "dim")))

    def say(self, role: str, text: str) -> None:
        """Print what was said by the user or the assistant."""
        line = Table.grid(padding=(0, 1))
        line.add_column(width=10)
        line.add_column()
        line.add_row(Text(role, style=_STYLES.get(role, "")), Text(text))
        self._console.print(Padding(line, (0, 0, 0, 2), expand=False))

    def show_items(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Print the messages among items of a history."""
        for item in items:
            if item.get("role"):
                self.say(str(item["role"]), text_of(item))

    def show_requests(self) -> None:
        """Print the requests that were made since the last time."""
        for request in self._requests[self._shown :]:
            line = Text(f"{'':13}{request}", style="dim")
            line.pad_right(max(0, 70 - len(line)))
            line.append(str(request.status), style="dim green" if request.status < 400 else "red")
            self._console.print(line, soft_wrap=True)
        self._shown = len(self._requests)

    def show_total(self) -> None:
        """Print how many requests were made in all, by operation."""
        count = len(self._requests)
        self._console.print()
        self._console.print(Text(f"{count} requests in all:", style="bold"))
        totals: dict[str, int] = {}
        for request in self._requests:
            totals[_operation(request)] = totals.get(_operation(request), 0) + 1
        for operation, number in totals.items():
            self._console.print(f"  {number:>3}  {operation}", highlight=False)


def shortened(path: str) -> str:
    """Keep the end of each id in a path: its beginning is a time, and the same for many."""
    return re.sub(r"\b([a-z]+_)\w{8,}(\w{4})\b", r"\1...\2", path)


def text_of(item: Mapping[str, Any]) -> str:
    """Return the text of a message, whose content is a string or a list of parts."""
    content = item.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if "text" in part)


def _operation(request: SentRequest) -> str:
    return f"{request.method:<6} {re.sub(r'[a-z]+_[a-z0-9]{8,}', '{id}', request.path)}"
