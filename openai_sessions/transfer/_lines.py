"""One JSON value on a line, exactly reversible."""

from __future__ import annotations

import json
import math
from typing import Any

from openai_sessions._plain_json import plain_json

_BREAKS = {character: f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}
"""What some programs take for the end of a line, escaped; JSON itself escapes the others."""


def to_line(value: object) -> bytes:
    """Return a JSON value as a line of UTF-8, its end included. Half of a surrogate pair is escaped.

    Raises:
        ValueError: It is not JSON.
    """
    text = _dumped(value, ensure_ascii=False)
    for character, escaped in _BREAKS.items():
        text = text.replace(character, escaped)  # they can only stand in a string
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        return _dumped(value, ensure_ascii=True).encode() + b"\n"


def _dumped(value: object, *, ensure_ascii: bool) -> str:
    try:
        return json.dumps(value, ensure_ascii=ensure_ascii, allow_nan=False)
    except (TypeError, ValueError, RecursionError):  # the objects of an SDK, or what plain_json has words for
        return json.dumps(plain_json(value), ensure_ascii=ensure_ascii, allow_nan=False)


def from_line(line: bytes) -> Any:
    """Return the JSON value on a line.

    Raises:
        ValueError: It is not JSON; says where.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 (at byte {error.start})") from None
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON ({error.msg} at character {error.pos})") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _refuse(name: str) -> float:
    raise ValueError(f"holds {name}, which is not JSON")


def _whole(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        raise ValueError(f"holds a number of too many digits ({digits[:20]}…)") from None


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"holds a number that is too large ({digits[:20]})")
    return number
