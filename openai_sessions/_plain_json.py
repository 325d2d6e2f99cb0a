"""Copies of what a caller gave, as plain JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


class NotJSONError(ValueError):
    """Tell where in a value something stands that JSON cannot hold."""

    def __init__(self, reason: str, where: str = "") -> None:
        super().__init__(f"{where.lstrip('.') or 'it'} {reason}")
        self.reason = reason
        self.where = where

    def inside(self, place: str) -> NotJSONError:
        """Return the same error as seen from the container that holds the value at `place`."""
        return NotJSONError(self.reason, place + self.where)


@runtime_checkable
class _PydanticModel(Protocol):
    def model_dump(self, **kwargs: Any) -> dict[str, Any]: ...


def plain_json(value: object) -> Any:
    """Copy a value as plain dicts, lists, strings, numbers, booleans and None.

    Pydantic models (those of openai and of the Agents SDK) are written under the names of the API,
    with the fields that were set.

    Raises:
        NotJSONError: Something in it is not JSON; the message says where.
    """
    try:
        return _copy(value)
    except RecursionError:
        raise NotJSONError("is nested too deeply, or contains itself") from None


def _copy(value: object) -> Any:
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, (bool, int, float)):
        return _scalar(value)
    if isinstance(value, Mapping):
        return {_key(key): _member(part, f".{key}") for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_member(part, f"[{index}]") for index, part in enumerate(value)]
    if isinstance(value, _PydanticModel) and not isinstance(value, type):
        return _copy(value.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False))
    raise NotJSONError(f"is of type {type(value).__name__}, which is not JSON")


def _member(value: object, place: str) -> Any:
    try:
        return _copy(value)
    except NotJSONError as error:
        raise error.inside(place) from None


def _text(value: str) -> str:
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotJSONError("holds a lone surrogate, which UTF-8 cannot encode") from None
    return text


def _scalar(value: float | None) -> float | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if not math.isfinite(value):
        raise NotJSONError(f"is {value}, which is not JSON")
    return float(value)


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise NotJSONError(f"has the key {key!r}, and the keys of JSON are strings")
    return _text(key)
