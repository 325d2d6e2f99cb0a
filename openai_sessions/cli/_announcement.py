"""What `serve` prints: how to use it at the start, then a line for each request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from openai_sessions.cli._escaping import escaped_line
from openai_sessions.cli._wording import counted
from openai_sessions.emulator import EmulatedRequest, Seeded


@dataclass(frozen=True, slots=True)
class Announcement:
    """What is served.

    Attributes:
        url: The URL of the server, without a slash at its end.
        database: The file that keeps the conversations; None keeps them in memory.
        has_keys: Whether only some keys are accepted.
        seeds: The file of conversations to begin with, and what became of them.
        faults: A line for each entry of the file of faults.
        delay_ms: How long each answer waits.
    """

    url: str
    database: Path | None = None
    has_keys: bool = False
    seeds: tuple[Path, Seeded] | None = None
    faults: tuple[str, ...] = ()
    delay_ms: int = 0

    def print(self, console: Console) -> None:
        """Print what is served, and how it is used."""
        title = Text.assemble(("openai-sessions", "bold"), ("  the Conversations API, emulated", "dim"))
        _print(console, title)
        _print(console, Text())
        for label, line in self._facts():
            _print(console, Text.assemble((f"  {label:<8}", "dim"), escaped_line(line)))
        _print(console, Text("\nUse it like this, and end it with Ctrl-C:\n"))
        _print(console, Text(f"    export OPENAI_BASE_URL={self.url}/v1"))
        key = "one of the keys given" if self.has_keys else "anything"
        _print(console, Text.assemble("    export OPENAI_API_KEY=...", (f"  # {key}\n", "dim")))

    def _facts(self) -> Iterable[tuple[str, str]]:
        yield "API", f"{self.url}/v1"
        yield "Page", f"{self.url}/{'  (asks for a key)' if self.has_keys else ''}"
        yield "Kept in", str(self.database or "memory")
        if self.seeds is not None:
            file, seeded = self.seeds
            yield "Seeded", f"{_seeded(seeded)}, from {file}"
        for index, line in enumerate(self.faults):
            yield "" if index else "Faults", line
        if self.delay_ms:
            yield "Delay", f"{self.delay_ms} ms before each answer"


def print_request(console: Console, request: EmulatedRequest) -> None:
    """Print a line for a request, with its status or `---` for no answer, and the fault that it met."""
    status = Text("---" if request.status is None else str(request.status))
    status.stylize("green" if request.status is not None and request.status < 400 else "red")
    line = Text.assemble(status, f" {request.method:<6} {escaped_line(request.path)}")
    if request.fault is not None:
        line.append(f"  {request.fault}", style="yellow")
    _print(console, line)


def _print(console: Console, line: Text) -> None:
    console.print(line, soft_wrap=True)


def _seeded(seeded: Seeded) -> str:
    text = f"{counted(seeded.conversations, 'conversation')} with {counted(seeded.items, 'item')}"
    return f"{text} ({seeded.known} more were there before)" if seeded.known else text
