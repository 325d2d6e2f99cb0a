"""A file of faults: calls of `Emulator.inject` and `Emulator.inject_at_random`, written as JSON.

    {"inject": [{"fault": "cut_after_commit", "operation": "create_items", "after": 2, "times": 1}],
     "inject_at_random": [{"rate": 0.05, "seed": 7, "faults": [{"kind": "throttled", "retry_after": 1}]}]}

The names are those of the methods, of their arguments and of those of `Fault`; a fault without arguments may
be its kind alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from openai_sessions.cli._errors import CommandError
from openai_sessions.emulator import FAULT_KINDS, Emulator, Fault

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
