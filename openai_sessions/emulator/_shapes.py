"""What a JSON value of a request must look like, and how it is stored: checked and completed in one pass."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from openai_sessions.emulator._errors import (
    ApiError,
    JsonObject,
    empty_string,
    invalid_choice,
    invalid_type,
    missing_parameter,
    string_too_long,
    unknown_parameter,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (list, "array"),
    (dict, "object"),
)
_ARTICLED = {
    "boolean": "a boolean",
    "integer": "an integer",
    "number": "a decimal",
    "string": "a string",
    "array": "an array",
    "object": "an object",
    "null": "null",
}


class Null(Enum):
    """What a null given for a field means."""

    REFUSED = "refused"  # the request schema knows no null here
    KEPT = "kept"  # listed items may say null, so it is stored
    ABSENT = "absent"  # listed items may not: as if the field had not been sent


@dataclass(frozen=True, slots=True)
class Value:
    """One JSON value: its kinds, and what the kinds hold. Without a shape an object is free-form."""

    kinds: tuple[str, ...]
    null: Null = Null.REFUSED
    choices: tuple[str, ...] = ()
    max_length: int | None = None
    may_be_empty: bool = True
    elements: Value | None = None
    shape: Shape | None = None
    variants: Mapping[str, Shape] | None = None

    def nullable(self, *, null: Null = Null.KEPT) -> Value:
        """Return the same value, for which null is `null`."""
        return replace(self, null=null)


@dataclass(frozen=True, slots=True)
class Shape:
    """An object with known fields; `defaults` complete the stored object."""

    required: Mapping[str, Value] = field(default_factory=dict)
    optional: Mapping[str, Value] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def field_value(self, name: str) -> Value | None:
        """Return what the field `name` must be, None where there is no such field."""
        return self.required.get(name) or self.optional.get(name)


def kind_of(value: Any) -> str:
    """Return the JSON type of a parsed value."""
    return next((kind for python_type, kind in _KINDS if isinstance(value, python_type)), "null")


def wrong_type(value: Any, *, kinds: tuple[str, ...], path: str) -> ApiError:
    """Return the error for `value`, which is of none of the `kinds`."""
    expected = " or ".join(_ARTICLED[kind] for kind in kinds)
    return invalid_type(path, expected=expected, actual=_ARTICLED[kind_of(value)])


def conform(value: Any, *, to: Value, path: str) -> Any:
    """Check `value` and return it as it is stored.

    Raises:
        ApiError: 400 naming the field, from `path` on, that does not fit.
    """
    kind = kind_of(value)
    if kind not in to.kinds and not (kind == "integer" and "number" in to.kinds):
        raise wrong_type(value, kinds=to.kinds, path=path)
    if kind == "string":
        _check_string(value, to=to, path=path)
    if kind == "array" and to.elements is not None:
        return [conform(each, to=to.elements, path=f"{path}[{i}]") for i, each in enumerate(value)]
    if kind == "object" and to.variants is not None:
        return conform_object(value, to=_variant(value, variants=to.variants, path=path), path=path)
    if kind == "object" and to.shape is not None:
        return conform_object(value, to=to.shape, path=path)
    return value


def _check_string(value: str, *, to: Value, path: str) -> None:
    if to.choices and value not in to.choices:
        raise invalid_choice(path, value=value, choices=to.choices)
    if not to.may_be_empty and not value:
        raise empty_string(path)
    if to.max_length is not None and len(value) > to.max_length:
        raise string_too_long(path, maximum=to.max_length, length=len(value))


def _variant(value: JsonObject, *, variants: Mapping[str, Shape], path: str) -> Shape:
    name = value.get("type")
    if name is None:
        raise missing_parameter(f"{path}.type")
    choices = Value(("string",), choices=tuple(variants))
    return variants[conform(name, to=choices, path=f"{path}.type")]


def conform_object(value: JsonObject, *, to: Shape, path: str) -> JsonObject:
    """Check the fields of an object (`type`, which chose the shape, aside) and return it as it is stored.

    Its fields come in the order of the API: `type`, those with defaults, the other required ones, the rest.
    The path of the body of a request is empty.

    Raises:
        ApiError: 400 for an unknown field, a refused null, a missing or an ill-typed field.
    """
    stored = {
        name: _conform_field(name, each, to=to, path=_inside(path, name))
        for name, each in value.items()
        if not _counts_as_absent(name, each, to=to)
    }
    for name in to.required:
        if name not in stored:
            raise missing_parameter(_inside(path, name))
    completed = {**to.defaults, **stored}
    in_order = ("type", *to.defaults, *to.required, *to.optional)
    return {name: completed[name] for name in in_order if name in completed}


def _inside(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _counts_as_absent(name: str, value: Any, *, to: Shape) -> bool:
    known = to.field_value(name)
    return value is None and known is not None and known.null is Null.ABSENT


def _conform_field(name: str, value: Any, *, to: Shape, path: str) -> Any:
    if name == "type":
        return value
    known = to.field_value(name)
    if known is None:
        raise unknown_parameter(path)
    if value is not None:
        return conform(value, to=known, path=path)
    if known.null is Null.KEPT:
        return None
    raise unknown_parameter(path)
