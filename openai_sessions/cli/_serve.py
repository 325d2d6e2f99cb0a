"""The `serve` command: the emulator and its page on a socket."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from openai_sessions.cli._errors import CommandError, ExitCode
from openai_sessions.cli._files import inject_from, replies_from, seed_from
from openai_sessions.cli._hosts import OwnNamesOnly, is_loopback
from openai_sessions.cli._output import counted, escaped_line
from openai_sessions.cli._page import Authorization, EmulatorData, RecentRequests, build_page
from openai_sessions.emulator import EmulatedRequest, Emulator, SeedResult
from openai_sessions.emulator._server import listening, server_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """The options of `serve`.

    Attributes:
        host: The address or name to listen on; other than loopback needs keys.
        port: The port; 0 for a free one.
        database: The file that stores the conversations; None for memory.
        api_keys: The keys to accept; empty for any.
        delay_ms: Milliseconds to wait before each response.
        faults: A file of faults to inject.
        replies: A file of replies of the model.
        foundry: Whether to do what only Azure's Foundry does.
        seed_from: A file of conversations to load.
    """

    host: str
    port: int
    database: Path | None = None
    api_keys: Sequence[str] = ()
    delay_ms: int = 0
    faults: Path | None = None
    replies: Path | None = None
    foundry: bool = False
    seed_from: Path | None = None


def serve_emulator(options: ServeOptions) -> None:
    """Serve until Ctrl-C.

    Raises:
        CommandError: The host may not be served without keys, the port is taken, or a file is invalid. Of an
            invalid file of conversations none is stored.
    """
    if not all(key.strip() for key in options.api_keys):
        raise CommandError("--api-key is empty: give a key.", exit_code=ExitCode.USAGE)
    address = resolve(options.host)
    if not is_loopback(address.host) and not options.api_keys:
        raise CommandError(
            f"{options.host or 'An empty host'} can be reached from other machines: give --api-key, "
            "or set OPENAI_SESSIONS_API_KEYS.",
            exit_code=ExitCode.USAGE,
        )
    console = Console(highlight=False)
    with listen(address, options.port) as listener, _open_emulator(options) as emulator:
        faults = () if options.faults is None else inject_from(options.faults, emulator)
        replies = (
            None if options.replies is None else (options.replies, replies_from(options.replies, emulator))
        )
        seeded = None if options.seed_from is None else _seed(options.seed_from, options, emulator, console)
        Banner(
            url=address.url(listener.getsockname()[1]),
            database=options.database,
            has_keys=bool(options.api_keys),
            seeds=seeded,
            faults=faults,
            replies=replies,
            delay_ms=options.delay_ms,
        ).print(console)
        with suppress(KeyboardInterrupt):  # uvicorn raises it again after it has closed the connections
            server_of(serve_app(options, emulator, console)).run(sockets=[listener])


def serve_app(options: ServeOptions, emulator: Emulator, console: Console) -> ASGIApp:
    """Return the ASGI application: the emulator and the page; requests are printed."""
    recent = RecentRequests(emulator, partial(print_request, console))
    data = EmulatorData(emulator.contents, recent, Authorization(options.api_keys))
    page = build_page(data, Route("/page/data/requests", data.requests, methods=["GET"]))
    app = ServeApp(emulator, page, recent=recent, delay=options.delay_ms / 1000)
    if options.api_keys:
        return app
    remedy = "to serve other names, give --api-key"
    return OwnNamesOnly(app, host=options.host, remedy=remedy, on_refused=recent.add)


class ServeApp:
    """Routes `/` and `/page/` to the page, and all other paths to the emulator.

    Args:
        emulator: The emulator.
        page: The page.
        recent: Collects the requests to the emulator.
        delay: Seconds to wait before each request to the emulator.
        sleep: Waits for the delay.
    """

    def __init__(
        self,
        emulator: ASGIApp,
        page: ASGIApp,
        *,
        recent: RecentRequests,
        delay: float = 0,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._emulator = emulator
        self._page = page
        self._recent = recent
        self._delay = delay
        self._sleep = sleep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"] == "/" or scope["path"].startswith("/page/"):
            self._recent.collect()
            await self._page(scope, receive, send)
            return
        if self._delay:
            await self._sleep(self._delay)
        try:
            await self._emulator(scope, receive, send)
        finally:
            self._recent.collect()


@dataclass(frozen=True, slots=True)
class _Address:
    """A numeric address of this machine."""

    family: socket.AddressFamily
    host: str

    def url(self, port: int) -> str:
        """Return the URL of the server, without a trailing slash."""
        reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        host = f"[{reachable}]" if self.family == socket.AF_INET6 else reachable
        return f"http://{host}:{port}"


def resolve(host: str) -> _Address:
    """Return an address of the host, to be checked and bound: resolving twice could give two different ones.

    Raises:
        CommandError: The host has no address.
    """
    try:
        found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise CommandError(
            f"--host {host} has no address: give a name or address of this machine.", exit_code=ExitCode.USAGE
        ) from error
    addresses = [_Address(family, str(where[0])) for family, _, _, _, where in found]
    return min(addresses, key=lambda address: address.family != socket.AF_INET)


def listen(address: _Address, port: int) -> socket.socket:
    """Return a socket that listens on an address.

    Raises:
        CommandError: The port is taken, or the address belongs to another machine.
    """
    try:
        return listening(address.host, port)
    except OSError as error:
        reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
        raise CommandError(
            f"Cannot listen on port {port} of {address.host}: {reason}.", exit_code=ExitCode.FAILED
        ) from error


def _open_emulator(options: ServeOptions) -> Emulator:
    try:
        return Emulator(
            options.database or ":memory:", api_keys=options.api_keys or None, foundry=options.foundry
        )
    except (OSError, sqlite3.Error) as error:
        raise _unusable_database(options, error) from error


def _seed(file: Path, options: ServeOptions, emulator: Emulator, console: Console) -> tuple[Path, SeedResult]:
    try:
        with console.status(f"Reading {file}"):
            return file, seed_from(file, emulator)
    except sqlite3.Error as error:
        raise _unusable_database(options, error) from error


def _unusable_database(options: ServeOptions, error: Exception) -> CommandError:
    return CommandError(f"{options.database} cannot be used: {error}.", exit_code=ExitCode.FAILED)


@dataclass(frozen=True, slots=True)
class Banner:
    """What `serve` prints at the start.

    Attributes:
        url: The URL of the server, without a trailing slash.
        database: The file that stores the conversations; None for memory.
        has_keys: Whether only some keys are accepted.
        seeds: The file of conversations, and how many were loaded.
        faults: A line for each entry in the file of faults.
        replies: The file of replies, and its number of entries.
        delay_ms: Milliseconds before each response.
    """

    url: str
    database: Path | None = None
    has_keys: bool = False
    seeds: tuple[Path, SeedResult] | None = None
    faults: tuple[str, ...] = ()
    replies: tuple[Path, int] | None = None
    delay_ms: int = 0

    def print(self, console: Console) -> None:
        """Print the addresses, the options and how to use the server."""
        title = Text.assemble(("openai-sessions", "bold"), ("  emulator of the Conversations API", "dim"))
        _print(console, title)
        _print(console, Text())
        for label, line in self._facts():
            _print(console, Text.assemble((f"  {label:<8}", "dim"), escaped_line(line)))
        _print(console, Text("\nSet these variables to use it; Ctrl-C stops it:\n"))
        _print(console, Text(f"    export OPENAI_BASE_URL={self.url}/v1"))
        key = "one of the keys given" if self.has_keys else "any text"
        _print(console, Text.assemble("    export OPENAI_API_KEY=...", (f"  # {key}", "dim")))
        _print(console, Text.assemble("    export OPENAI_AGENTS_DISABLE_TRACING=1", (_TRACING, "dim")))

    def _facts(self) -> Iterable[tuple[str, str]]:
        yield "API", f"{self.url}/v1"
        yield "Page", f"{self.url}/{'  (requires a key)' if self.has_keys else ''}"
        yield "Storage", str(self.database or "memory")
        if self.seeds is not None:
            file, seeded = self.seeds
            yield "Loaded", f"{_seeded_text(seeded)} from {file}"
        for index, line in enumerate(self.faults):
            yield "" if index else "Faults", line
        if self.replies is not None:
            file, count = self.replies
            yield "Replies", f"{count:,} from {file}"
        if self.delay_ms:
            yield "Delay", f"{self.delay_ms} ms before each response"


_TRACING = "  # Agents SDK: no traces to OpenAI\n"


def _seeded_text(seeded: SeedResult) -> str:
    text = f"{counted(seeded.conversations, 'conversation')} with {counted(seeded.items, 'item')}"
    return f"{text} ({seeded.known} more were there already)" if seeded.known else text


def print_request(console: Console, request: EmulatedRequest) -> None:
    """Print a request in one line: status (`---` without a response), method, path and injected fault."""
    status = Text("---" if request.status is None else str(request.status))
    status.stylize("green" if request.status is not None and request.status < 400 else "red")
    line = Text.assemble(status, f" {request.method:<6} {escaped_line(request.path)}")
    if request.fault is not None:
        line.append(f"  {request.fault}", style="yellow")
    _print(console, line)


def _print(console: Console, line: Text) -> None:
    console.print(line, soft_wrap=True)
