"""The `serve` command: the emulator and its page on a socket, with faults and conversations from files."""

from __future__ import annotations

import asyncio
import json
import math
import os
import socket
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.text import Text
from starlette.types import ASGIApp, Receive, Scope, Send

from openai_sessions.cli._errors import CommandError, ExitCode
from openai_sessions.cli._hosts import OwnNamesOnly, is_loopback
from openai_sessions.cli._output import counted, escaped_line
from openai_sessions.cli._page import Authorization, RecentRequests, build_page
from openai_sessions.emulator import (
    FAULT_KINDS,
    EmulatedRequest,
    Emulator,
    Fault,
    InvalidSeedError,
    SeedResult,
)
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
        seed_from: A file of conversations to load.
    """

    host: str
    port: int
    database: Path | None = None
    api_keys: Sequence[str] = ()
    delay_ms: int = 0
    faults: Path | None = None
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
        seeded = None if options.seed_from is None else _seed(options.seed_from, options, emulator, console)
        Banner(
            url=address.url(listener.getsockname()[1]),
            database=options.database,
            has_keys=bool(options.api_keys),
            seeds=seeded,
            faults=faults,
            delay_ms=options.delay_ms,
        ).print(console)
        with suppress(KeyboardInterrupt):  # uvicorn raises it again after it has closed the connections
            server_of(serve_app(options, emulator, console)).run(sockets=[listener])


def serve_app(options: ServeOptions, emulator: Emulator, console: Console) -> ASGIApp:
    """Return the ASGI application: the emulator and the page; requests are printed."""
    recent = RecentRequests(emulator, partial(print_request, console))
    page = build_page(emulator.contents, recent=recent, authorization=Authorization(options.api_keys))
    app = ServeApp(emulator, page, recent=recent, delay=options.delay_ms / 1000)
    return app if options.api_keys else OwnNamesOnly(app, host=options.host, on_refused=recent.add)


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
        return Emulator(options.database or ":memory:", api_keys=options.api_keys or None)
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
        delay_ms: Milliseconds before each response.
    """

    url: str
    database: Path | None = None
    has_keys: bool = False
    seeds: tuple[Path, SeedResult] | None = None
    faults: tuple[str, ...] = ()
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


_METHODS = ("inject", "inject_at_random")

_FAULT = (
    f"a kind of fault ({', '.join(FAULT_KINDS)}) "
    'or an object with "kind", "retry_after", "delay", "after_events" and "inside_event"'
)

_FAULTS = "an array of faults"

_TEXT = "a string"

_TEXTS = "an array of strings"

_INTEGER = "an integer"

_NUMBER = "a number"

_FLAG = "true or false"

_ARGUMENTS = {
    "inject": {
        "fault": _FAULT,
        "operation": _TEXT,
        "after": _INTEGER,
        "times": _INTEGER,
        "conversation_id": _TEXT,
    },
    "inject_at_random": {"rate": _NUMBER, "seed": _INTEGER, "faults": _FAULTS, "operations": _TEXTS},
    "Fault": {
        "kind": _TEXT,
        "retry_after": _NUMBER,
        "delay": _NUMBER,
        "after_events": _INTEGER,
        "inside_event": _FLAG,
    },
}

_REQUIRED = {"inject": ("fault",), "inject_at_random": ("rate", "seed"), "Fault": ("kind",)}


_TOO_LARGE = "the JSON is nested too deeply or contains a number that is too long."


class _InvalidEntryError(Exception):
    """An entry in the file of faults is invalid: where, and what to do about it."""


def inject_from(file: Path, emulator: Emulator) -> tuple[str, ...]:
    """Inject the faults in a file, in its order, those of `inject` before those of `inject_at_random`.

    Args:
        file: The JSON file; docs/serve.md describes it.
        emulator: The emulator that fails.

    Returns:
        A description of each entry.

    Raises:
        CommandError: The file cannot be read or an entry is invalid; names entry, value and remedy.
    """
    try:
        return tuple(_injected(_parsed(file.read_bytes()), emulator))
    except OSError as error:
        raise _unreadable(file, error) from error
    except _InvalidEntryError as error:
        raise CommandError(f"{file}: {error}", exit_code=ExitCode.USAGE) from error


def _parsed(raw: bytes) -> dict[str, list[Any]]:
    try:
        content = json.loads(
            raw.decode("utf-8-sig"), object_pairs_hook=_without_repetition, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError as error:
        raise _InvalidEntryError(_not_utf_8(error)) from error
    except json.JSONDecodeError as error:
        raise _InvalidEntryError(
            f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error
    except (RecursionError, ValueError) as error:
        raise _InvalidEntryError(_TOO_LARGE) from error
    if not isinstance(content, dict):
        raise _InvalidEntryError('expected a JSON object, such as {"inject": [{"fault": "cut_before"}]}.')
    for name, calls in content.items():
        if name not in _METHODS:
            _refuse_name(name, known=_METHODS, where="the file")
        if not isinstance(calls, list):
            raise _InvalidEntryError(
                f"{name} is {_shown(calls)}; it must be an array of objects, one per call."
            )
    return content


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for name, value in pairs:
        if name in seen:
            raise _InvalidEntryError(f"{_shown(name)} appears twice in one object: keep one.")
        seen[name] = value
    return seen


def _refuse_constant(name: str) -> NoReturn:
    raise _InvalidEntryError(f"{name} is not valid JSON: give a finite number.")


def _injected(content: Mapping[str, list[Any]], emulator: Emulator) -> list[str]:
    lines = []
    for method in _METHODS:
        for index, call in enumerate(content.get(method, [])):
            where = f"{method}[{index}]"
            arguments = _checked(call, of=method, where=where)
            try:
                getattr(emulator, method)(**arguments)
            except ValueError as error:
                raise _InvalidEntryError(f"{where}: {error}") from error
            lines.append(_described(call, method=method))
    return lines


def _checked(call: Any, *, of: str, where: str) -> dict[str, Any]:
    """Return the arguments of a call, with `Fault` objects."""
    known = _ARGUMENTS[of]
    if not isinstance(call, dict):
        raise _InvalidEntryError(f"{where} is {_shown(call)}; it must be an object with {_quoted(known)}.")
    for name in call:
        if name not in known:
            _refuse_name(name, known=tuple(known), where=where)
    for name in _REQUIRED[of]:
        if name not in call:
            raise _InvalidEntryError(f'{where} is missing "{name}", {known[name]}.')
    return {name: _argument(value, known[name], where=f"{where}.{name}") for name, value in call.items()}


def _argument(value: Any, expected: str, *, where: str) -> Any:
    if expected == _FAULT:
        return _fault(value, where=where)
    if expected == _FAULTS and isinstance(value, list):
        return [_fault(each, where=f"{where}[{index}]") for index, each in enumerate(value)]
    if not _fits(value, expected):
        raise _InvalidEntryError(f"{where} is {_shown(value)}; it must be {expected}.")
    return value


def _fits(value: Any, expected: str) -> bool:
    if expected == _TEXTS:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if expected == _TEXT:
        return isinstance(value, str)
    if expected == _FLAG or isinstance(value, bool):
        return expected == _FLAG and isinstance(value, bool)
    if expected == _INTEGER:
        return isinstance(value, int)
    return expected == _NUMBER and isinstance(value, int | float) and math.isfinite(value)


def _fault(value: Any, *, where: str) -> Fault:
    if not isinstance(value, str | dict):
        raise _InvalidEntryError(f"{where} is {_shown(value)}; it must be {_FAULT}.")
    arguments: dict[str, Any] = (
        {"kind": value} if isinstance(value, str) else _checked(value, of="Fault", where=where)
    )
    try:
        return Fault(**arguments)
    except ValueError as error:
        raise _InvalidEntryError(f"{where}: {error}") from error


def _refuse_name(name: str, *, known: tuple[str, ...], where: str) -> NoReturn:
    near = get_close_matches(name, known, n=1)
    meant = f'did you mean "{near[0]}"? ' if near else ""
    raise _InvalidEntryError(
        f"unknown key {_shown(name)} in {where}; {meant}Valid keys are {_quoted(known)}."
    )


def _quoted(names: Any) -> str:
    *others, last = (f'"{name}"' for name in names)
    return f"{', '.join(others)} and {last}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _described(call: Mapping[str, Any], *, method: str) -> str:
    first = "at random" if method == "inject_at_random" else _named(call["fault"])
    return ", ".join(
        [first, *(f"{name} {_listed(value)}" for name, value in call.items() if name != "fault")]
    )


def _listed(value: Any) -> str:
    return " ".join(_named(each) for each in value) if isinstance(value, list) else str(value)


def _named(fault: Any) -> str:
    if not isinstance(fault, dict):
        return str(fault)
    others = ", ".join(f"{name} {value}" for name, value in fault.items() if name != "kind")
    return f"{fault['kind']} ({others})" if others else str(fault["kind"])


_FORM = 'a line must be a JSON object, such as {"id": "conv_1", "metadata": {}, "items": []}'

_EXCERPT = 30


def seed_from(file: Path, emulator: Emulator) -> SeedResult:
    """Load the conversations in a file, all or none; empty lines are skipped.

    `Emulator.seed` documents the fields of a line, and conversations that the database already contains.

    Raises:
        CommandError: The file cannot be read, or a line is invalid: names the line, the value and the remedy.
    """
    lines = _Lines(file)
    try:
        return emulator.seed(lines)
    except OSError as error:
        raise _unreadable(file, error) from error
    except InvalidSeedError as error:
        raise CommandError(f"{lines.place}: {error.reason}", exit_code=ExitCode.USAGE) from error


class _Lines:
    """The conversations in a file, parsed one by one; `place` names the line read last."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._number = 0

    @property
    def place(self) -> str:
        return f"{self._file}, line {self._number}"

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with self._file.open("rb") as lines:
            for self._number, line in enumerate(lines, start=1):
                if line.strip():
                    yield self._parsed(line)

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            text = line.decode("utf-8-sig" if self._number == 1 else "utf-8")
            conversation = json.loads(
                text, object_pairs_hook=_without_repetition, parse_constant=self._refuse_constant
            )
        except _InvalidEntryError as error:
            self._refuse(str(error), error)
        except UnicodeDecodeError as error:
            self._refuse(_not_utf_8(error), error)
        except json.JSONDecodeError as error:
            near = error.doc[error.pos :][:_EXCERPT].strip()
            where = f"{near!r} in column {error.colno}" if near else "the end of the line"
            self._refuse(f"not JSON ({error.msg}) at {where}; {_FORM}.", error)
        except (RecursionError, ValueError) as error:
            self._refuse(_TOO_LARGE, error)
        if not isinstance(conversation, dict):
            self._refuse(f"{line.decode()[:_EXCERPT].strip()} is not an object; {_FORM}.")
        return conversation

    def _refuse_constant(self, name: str) -> NoReturn:
        self._refuse(f"{name} is not valid JSON: give a finite number or a string.")

    def _refuse(self, reason: str, cause: Exception | None = None) -> NoReturn:
        raise CommandError(f"{self.place}: {reason}", exit_code=ExitCode.USAGE) from cause


def _not_utf_8(error: UnicodeDecodeError) -> str:
    return f"byte {error.start + 1} is not UTF-8: save the file as UTF-8."


def _unreadable(file: Path, error: OSError) -> CommandError:
    return CommandError(f"{file} cannot be read: {error.strerror}.", exit_code=ExitCode.USAGE)
