"""What `serve` prints: how to use it at the start, then a line for each request."""

from __future__ import annotations

import asyncio
import json
import math
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

from openai_sessions.cli._errors import CommandError
from openai_sessions.cli._output import counted, escaped_line
from openai_sessions.cli._page import KeyViewers, LocalViewers, RecentRequests, build_page, listen, resolve
from openai_sessions.emulator import (
    FAULT_KINDS,
    EmulatedRequest,
    Emulator,
    Fault,
    InvalidSeedError,
    SeedResult,
)
from openai_sessions.emulator._server import server_of


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
    seeds: tuple[Path, SeedResult] | None = None
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


def _seeded(seeded: SeedResult) -> str:
    text = f"{counted(seeded.conversations, 'conversation')} with {counted(seeded.items, 'item')}"
    return f"{text} ({seeded.known} more were there before)" if seeded.known else text


PAGE_FOLDER = "/page/"


class Traffic:
    """Give people the page, and programs the emulator.

    Args:
        emulator: Answers everything but `/` and what is below `/page/`.
        page: Answers these.
        recent: Collects what the emulator has met.
        delay: Seconds that each request of a program waits before the emulator has it.
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
        if scope["path"] == "/" or scope["path"].startswith(PAGE_FOLDER):
            self._recent.collect()
            await self._page(scope, receive, send)
            return
        if self._delay:
            await self._sleep(self._delay)
        try:
            await self._emulator(scope, receive, send)
        finally:
            self._recent.collect()


_METHODS = ("inject", "inject_at_random")

_FAULT = f'a fault: a kind ({", ".join(FAULT_KINDS)}), or an object with "kind", "retry_after" and "delay"'

_FAULTS = "an array of faults"

_TEXT = "a string"

_TEXTS = "an array of strings"

_INTEGER = "an integer"

_NUMBER = "a number"

_ARGUMENTS = {
    "inject": {
        "fault": _FAULT,
        "operation": _TEXT,
        "after": _INTEGER,
        "times": _INTEGER,
        "conversation_id": _TEXT,
    },
    "inject_at_random": {"rate": _NUMBER, "seed": _INTEGER, "faults": _FAULTS, "operations": _TEXTS},
    "Fault": {"kind": _TEXT, "retry_after": _NUMBER, "delay": _NUMBER},
}

_REQUIRED = {"inject": ("fault",), "inject_at_random": ("rate", "seed"), "Fault": ("kind",)}


class _Mistake(Exception):  # noqa: N818 - the file that it stands in makes the error
    """Something in the file cannot be: where, and what to do about it."""


def inject_from(file: Path, emulator: Emulator) -> tuple[str, ...]:
    """Inject the faults of a file, in its order, the scripted ones before those at random.

    Args:
        file: The file.
        emulator: What is to fail.

    Returns:
        A line for each entry that says what was injected.

    Raises:
        CommandError: The file cannot be read or has a mistake: names the entry, the value and the remedy.
    """
    try:
        return tuple(_injected(_parsed(file.read_bytes()), emulator))
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.", exit_code=2) from error
    except _Mistake as mistake:
        raise CommandError(f"{file}: {mistake}", exit_code=2) from mistake


def _parsed(raw: bytes) -> dict[str, list[Any]]:
    try:
        content = json.loads(
            raw.decode("utf-8-sig"), object_pairs_hook=_without_repetition, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError as error:
        raise _Mistake(f"byte {error.start} is not UTF-8: save the file as UTF-8.") from error
    except json.JSONDecodeError as error:
        raise _Mistake(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from error
    except (RecursionError, ValueError) as error:
        raise _Mistake("it is nested too deeply, or has a number that is too long.") from error
    if not isinstance(content, dict):
        raise _Mistake('a JSON object is needed, as {"inject": [{"fault": "cut_before"}]}.')
    for name, calls in content.items():
        if name not in _METHODS:
            _refuse_name(name, known=_METHODS, where="the file")
        if not isinstance(calls, list):
            raise _Mistake(f"{name} is {_shown(calls)}; it must be an array of objects, one for each call.")
    return content


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for name, value in pairs:
        if name in seen:
            raise _Mistake(f"{_shown(name)} stands twice in one object: keep one of them.")
        seen[name] = value
    return seen


def _refuse_constant(name: str) -> NoReturn:
    raise _Mistake(f"{name} is no JSON: give a finite number.")


def _injected(content: Mapping[str, list[Any]], emulator: Emulator) -> list[str]:
    lines = []
    for method in _METHODS:
        for index, call in enumerate(content.get(method, [])):
            where = f"{method}[{index}]"
            arguments = _checked(call, of=method, where=where)
            try:
                getattr(emulator, method)(**arguments)
            except ValueError as error:
                raise _Mistake(f"{where}: {error}") from error
            lines.append(_described(call, method=method))
    return lines


def _checked(call: Any, *, of: str, where: str) -> dict[str, Any]:
    """Return the arguments of a call, its faults made."""
    known = _ARGUMENTS[of]
    if not isinstance(call, dict):
        raise _Mistake(f"{where} is {_shown(call)}; it must be an object with {_quoted(known)}.")
    for name in call:
        if name not in known:
            _refuse_name(name, known=tuple(known), where=where)
    for name in _REQUIRED[of]:
        if name not in call:
            raise _Mistake(f'{where} lacks "{name}"; it must be {known[name]}.')
    return {name: _argument(value, known[name], where=f"{where}.{name}") for name, value in call.items()}


def _argument(value: Any, expected: str, *, where: str) -> Any:
    if expected == _FAULT:
        return _fault(value, where=where)
    if expected == _FAULTS and isinstance(value, list):
        return [_fault(each, where=f"{where}[{index}]") for index, each in enumerate(value)]
    if not _fits(value, expected):
        raise _Mistake(f"{where} is {_shown(value)}; it must be {expected}.")
    return value


def _fits(value: Any, expected: str) -> bool:
    if expected == _TEXTS:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if expected == _TEXT:
        return isinstance(value, str)
    if isinstance(value, bool):
        return False
    if expected == _INTEGER:
        return isinstance(value, int)
    return expected == _NUMBER and isinstance(value, int | float) and math.isfinite(value)


def _fault(value: Any, *, where: str) -> Fault:
    if not isinstance(value, str | dict):
        raise _Mistake(f"{where} is {_shown(value)}; it must be {_FAULT}.")
    arguments: dict[str, Any] = (
        {"kind": value} if isinstance(value, str) else _checked(value, of="Fault", where=where)
    )
    try:
        return Fault(**arguments)
    except ValueError as error:
        raise _Mistake(f"{where}: {error}") from error


def _refuse_name(name: str, *, known: tuple[str, ...], where: str) -> NoReturn:
    near = get_close_matches(name, known, n=1)
    meant = f'did you mean "{near[0]}"? ' if near else ""
    raise _Mistake(f"{where} has {_shown(name)}, which is unknown; {meant}It may have {_quoted(known)}.")


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


_FORM = 'it must be a JSON object, as {"id": "conv_1", "metadata": {}, "items": []}, in one line'

_EXCERPT = 30


def seed_from(file: Path, emulator: Emulator) -> SeedResult:
    """Let the emulator hold the conversations of a file, all of them or none.

    The file is read line by line, and empty lines are passed over. What a line may have, and what becomes of
    a conversation that the database knows already, is told by `Emulator.seed`.

    Raises:
        CommandError: The file cannot be read, or a line is wrong: names the line, the value and the remedy.
    """
    lines = _Lines(file)
    try:
        return emulator.seed(lines)
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.", exit_code=2) from error
    except InvalidSeedError as error:
        raise CommandError(f"{lines.place}: {error.reason}", exit_code=2) from error


class _Lines:
    """The conversations of a file, one by one; `place` is the line that was read last."""

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
            conversation = json.loads(text, parse_constant=self._refuse_constant)
        except UnicodeDecodeError as error:
            self._refuse(f"byte {error.start + 1} is not UTF-8: save the file as UTF-8.", error)
        except json.JSONDecodeError as error:
            near = error.doc[error.pos :][:_EXCERPT].strip()
            where = f"{near!r} in column {error.colno}" if near else "the end of the line"
            self._refuse(f"not JSON ({error.msg}) at {where}; {_FORM}.", error)
        except (RecursionError, ValueError) as error:
            self._refuse("it is nested too deeply, or has a number that is too long.", error)
        if not isinstance(conversation, dict):
            self._refuse(f"{line.decode()[:_EXCERPT].strip()} is no object; {_FORM}.")
        return conversation

    def _refuse_constant(self, name: str) -> NoReturn:
        self._refuse(f"{name} is no JSON: give a finite number or a string.")

    def _refuse(self, reason: str, cause: Exception | None = None) -> NoReturn:
        raise CommandError(f"{self.place}: {reason}", exit_code=2) from cause


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


def _seed(file: Path, serving: Serving, emulator: Emulator, console: Console) -> tuple[Path, SeedResult]:
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
