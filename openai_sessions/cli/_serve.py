"""`openai-sessions serve`: the emulator on a socket, in the foreground, with a page for people."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from openai_sessions.cli._address import listen, resolve
from openai_sessions.cli._announcement import Announcement, print_request
from openai_sessions.cli._errors import CommandError
from openai_sessions.cli._fault_file import inject_from
from openai_sessions.cli._page import build_page
from openai_sessions.cli._recent import RecentRequests
from openai_sessions.cli._seeding import seed_from
from openai_sessions.cli._traffic import Traffic
from openai_sessions.cli._viewers import KeyViewers, LocalViewers
from openai_sessions.emulator import Emulator, Seeded
from openai_sessions.emulator._server import server_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What to serve.

    Attributes:
        host: An address or a name; only a loopback address goes without keys.
        port: The port, or 0 for a free one.
        database: The file that keeps the conversations; None keeps them in memory.
        api_keys: The keys to accept; none accepts any.
        delay_ms: How many milliseconds each answer waits.
        faults: A file of faults to inject.
        seed_from: A file of conversations to begin with.
    """

    host: str
    port: int
    database: Path | None = None
    api_keys: Sequence[str] = ()
    delay_ms: int = 0
    faults: Path | None = None
    seed_from: Path | None = None


def serve_emulator(serving: Serving) -> None:
    """Serve until Ctrl-C.

    Raises:
        CommandError: The host cannot be served as asked, the port is taken, or a file has a mistake. Nothing
            is kept of a file of conversations with a mistake.
    """
    if not all(key.strip() for key in serving.api_keys):
        raise CommandError("--api-key is empty.", exit_code=2)
    address = resolve(serving.host)
    if not address.is_loopback and not serving.api_keys:
        raise CommandError(
            f"{serving.host or 'An empty host'} can be reached from other machines: give --api-key, "
            "or set OPENAI_SESSIONS_API_KEYS.",
            exit_code=2,
        )
    console = Console(highlight=False)
    with listen(address, serving.port) as listener, _open(serving) as emulator:
        faults = () if serving.faults is None else inject_from(serving.faults, emulator)
        seeded = None if serving.seed_from is None else _seed(serving.seed_from, serving, emulator, console)
        Announcement(
            url=address.url(listener.getsockname()[1]),
            database=serving.database,
            has_keys=bool(serving.api_keys),
            seeds=seeded,
            faults=faults,
            delay_ms=serving.delay_ms,
        ).print(console)
        with suppress(KeyboardInterrupt):  # uvicorn raises it again after it has closed the connections
            server_of(application(serving, emulator, console)).run(sockets=[listener])


def _open(serving: Serving) -> Emulator:
    try:
        return Emulator(serving.database or ":memory:", api_keys=serving.api_keys or None)
    except (OSError, sqlite3.Error) as error:
        raise _unusable(serving, error) from error


def _seed(file: Path, serving: Serving, emulator: Emulator, console: Console) -> tuple[Path, Seeded]:
    try:
        with console.status(f"Reading {file}"):
            return file, seed_from(file, emulator)
    except sqlite3.Error as error:
        raise _unusable(serving, error) from error


def _unusable(serving: Serving, error: Exception) -> CommandError:
    return CommandError(f"{serving.database} cannot be used: {error}.", exit_code=1)


def application(serving: Serving, emulator: Emulator, console: Console) -> Traffic:
    """Return what is served: the emulator, behind the delay, and the page; requests are printed."""
    recent = RecentRequests(emulator, partial(print_request, console))
    viewers = KeyViewers(serving.api_keys) if serving.api_keys else LocalViewers([serving.host])
    page = build_page(emulator.contents, recent=recent, viewers=viewers)
    return Traffic(emulator, page, recent=recent, delay=serving.delay_ms / 1000)
