"""The files of `serve`: faults, replies and conversations."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from openai_sessions.cli._errors import CommandError, ExitCode
from openai_sessions.emulator import (
    FAULT_KINDS,
    Emulator,
    ErrorReply,
    Fault,
    InvalidSeedError,
    ResponseRequest,
    SeedResult,
)


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
    with _naming(file):
        return tuple(_injected(_calls(_parsed(file.read_bytes())), emulator))


def replies_from(file: Path, emulator: Emulator) -> int:
    """Queue the replies in a file, in its order.

    Args:
        file: The JSON file; docs/serve.md describes it.
        emulator: The emulator that replies.

    Returns:
        The number of entries.

    Raises:
        CommandError: The file cannot be read or an entry is invalid; names entry, value and remedy.
    """
    with _naming(file):
        return _queued(_parsed(file.read_bytes()), emulator)


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


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Turn the errors of a file into those of the command, which name the file."""
    try:
        yield
    except OSError as error:
        raise _unreadable(file, error) from error
    except _InvalidEntryError as error:
        raise CommandError(f"{file}: {error}", exit_code=ExitCode.USAGE) from error
    except RecursionError as error:
        raise CommandError(f"{file}: {_TOO_LARGE}", exit_code=ExitCode.USAGE) from error


class _InvalidEntryError(Exception):
    """An entry in a file is invalid: where, and what to do about it."""


_TOO_LARGE = "the JSON is nested too deeply or contains a number that is too long."


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(
            raw.decode("utf-8-sig"),
            object_pairs_hook=_without_repetition,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except UnicodeDecodeError as error:
        raise _InvalidEntryError(_not_utf_8(error)) from error
    except json.JSONDecodeError as error:
        raise _InvalidEntryError(
            f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error
    except ValueError as error:
        raise _InvalidEntryError(_TOO_LARGE) from error


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for name, value in pairs:
        if name in seen:
            raise _InvalidEntryError(f"{_shown(name)} appears twice in one object: keep one.")
        seen[name] = value
    return seen


def _refuse_constant(name: str) -> NoReturn:
    raise _InvalidEntryError(f"{name} is not valid JSON: give a finite number.")


def _finite(number: str) -> float:
    if not math.isfinite(value := float(number)):
        raise _InvalidEntryError(f"{number} is too large: give a smaller number.")
    return value


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

_TIMES = "an integer of at least 1, or null"

_JSON = "any JSON"

_CONDITION = "an object with conditions"

_ERROR = "an object with the error"

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
    "reply": {
        "reply": _JSON,
        "json": _JSON,
        "error": _ERROR,
        "when": _CONDITION,
        "conversation_id": _TEXT,
        "times": _TIMES,
        "status": _TEXT,
        "delay": _NUMBER,
    },
    "error": {"message": _TEXT, "status": _INTEGER, "code": _TEXT, "type": _TEXT},
    "when": dict.fromkeys(("user_text", "instructions", "model", "output_of", "output_text"), _TEXT),
}

_REQUIRED = {
    "inject": ("fault",),
    "inject_at_random": ("rate", "seed"),
    "Fault": ("kind",),
    "error": ("message",),
}


def _calls(content: Any) -> dict[str, list[Any]]:
    """Return the calls of each method in a file of faults."""
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


_OUTPUTS = ("reply", "json", "error")


def _queued(entries: Any, emulator: Emulator) -> int:
    if not isinstance(entries, list):
        raise _InvalidEntryError('expected a JSON array, such as [{"reply": "Hello", "times": 2}].')
    for index, entry in enumerate(entries):
        where = f"replies[{index}]"
        arguments = _reply_arguments({"reply": entry} if isinstance(entry, str) else entry, where=where)
        try:
            emulator.reply(**arguments)
        except ValueError as error:
            raise _InvalidEntryError(f"{where}: {error}") from error
    return len(entries)


def _reply_arguments(entry: Any, *, where: str) -> dict[str, Any]:
    """Return the arguments of `Emulator.reply`."""
    arguments = _checked(entry, of="reply", where=where)
    given = [name for name in _OUTPUTS if name in arguments]
    if len(given) != 1:
        found = _quoted(given) if given else "no reply"
        raise _InvalidEntryError(f"{where} has {found}; give one of {_quoted(_OUTPUTS)}.")
    value = arguments.pop(given[0])
    reply = json.dumps(value, ensure_ascii=False) if given == ["json"] else value
    return {"reply": reply, **arguments}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Condition:
    """Selects requests: each field that is given must match.

    Attributes:
        user_text: Part of the newest message of the user.
        instructions: Part of the instructions.
        model: The model.
        output_of: The name of a tool whose output is among those at the end of the items.
        output_text: Part of such an output, of that tool if both are given.
    """

    user_text: str = ""
    instructions: str = ""
    model: str | None = None
    output_of: str | None = None
    output_text: str | None = None

    def __call__(self, request: ResponseRequest) -> bool:
        """Return whether the request matches."""
        return (
            self.user_text in request.user_text
            and self.instructions in request.body.get("instructions", "")
            and self.model in {None, request.body.get("model")}
            and self._matches_outputs(request)
        )

    def _matches_outputs(self, request: ResponseRequest) -> bool:
        if self.output_of is None and self.output_text is None:
            return True
        return any(
            self.output_of in {None, name} and (self.output_text or "") in text
            for name, text in request.tool_outputs
        )


def _checked(call: Any, *, of: str, where: str) -> dict[str, Any]:
    """Return the arguments of a call, with `Fault` objects."""
    known = _ARGUMENTS[of]
    if not isinstance(call, dict):
        raise _InvalidEntryError(f"{where} is {_shown(call)}; it must be an object with {_quoted(known)}.")
    for name in call:
        if name not in known:
            _refuse_name(name, known=tuple(known), where=where)
    for name in _REQUIRED.get(of, ()):
        if name not in call:
            raise _InvalidEntryError(f'{where} is missing "{name}", {known[name]}.')
    return {name: _argument(value, known[name], where=f"{where}.{name}") for name, value in call.items()}


def _argument(value: Any, expected: str, *, where: str) -> Any:
    if expected == _FAULT:
        return _fault(value, where=where)
    if expected == _CONDITION:
        return _condition(value, where=where)
    if expected == _ERROR:
        return _error(value, where=where)
    if expected == _FAULTS and isinstance(value, list):
        return [_fault(each, where=f"{where}[{index}]") for index, each in enumerate(value)]
    if not _fits(value, expected):
        raise _InvalidEntryError(f"{where} is {_shown(value)}; it must be {expected}.")
    return value


def _fits(value: Any, expected: str) -> bool:  # noqa: PLR0911 - one for each expectation
    if expected == _JSON:
        return True
    if expected == _TIMES:
        return value is None or (_fits(value, _INTEGER) and value >= 1)
    if expected == _TEXTS:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if expected == _TEXT:
        return isinstance(value, str)
    if expected == _FLAG or isinstance(value, bool):
        return expected == _FLAG and isinstance(value, bool)
    if expected == _INTEGER:
        return isinstance(value, int)
    return expected == _NUMBER and isinstance(value, int | float)


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


def _condition(value: Any, *, where: str) -> _Condition:
    arguments = _checked(value, of="when", where=where)
    if not arguments:
        raise _InvalidEntryError(f"{where} is empty: give a condition, or leave it out for any request.")
    return _Condition(**arguments)


def _error(value: Any, *, where: str) -> ErrorReply:
    arguments = _checked(value, of="error", where=where)
    try:
        return ErrorReply(**arguments)
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
