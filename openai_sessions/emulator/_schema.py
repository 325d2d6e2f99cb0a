"""The schema of requests and of the items in them: which fields each has, and how they are stored.

The data are those of OpenAI's public document, in `openai_sessions/schema.json`, with the rules of `_rules`.
Requests are checked here and not by a validation library, because the API's errors carry the path of the
field, `items[0].content[1].text` for example, and because a check also returns the stored form.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from importlib.resources import files
from typing import Any

from openai_sessions.emulator._errors import (
    ApiError,
    JsonObject,
    empty_string,
    invalid_choice,
    invalid_type,
    missing_parameter,
    number_out_of_range,
    too_long,
    unknown_parameter,
)
from openai_sessions.emulator._rules import FILLED_IN, PREFIXES, WRITTEN_BY_APPLICATIONS, with_rules

NOTHING_ADDED = ("item_reference", "compaction_trigger")
"""Types that a request may contain but that are not stored."""


class Null(Enum):
    """How a null in a field is treated."""

    REFUSED = "refused"  # not nullable in the schema of requests
    KEPT = "kept"  # nullable in listed items too, so it is stored
    ABSENT = "absent"  # not nullable in listed items, so it is dropped


@dataclass(frozen=True, slots=True)
class Value:
    """The schema of one JSON value. An object without `shape` or `variants` is free-form."""

    kinds: tuple[str, ...]
    null: Null = Null.REFUSED
    choices: tuple[str, ...] = ()
    min_length: int = 0
    max_length: int | None = None
    minimum: float = -math.inf
    maximum: float = math.inf
    elements: Value | None = None
    shape: Shape | None = None
    variants: Mapping[str, Shape] | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """The schema of an object with known fields; missing ones are stored as their `defaults`."""

    required: dict[str, Value] = field(default_factory=dict)
    optional: dict[str, Value] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)

    def field_value(self, name: str) -> Value | None:
        """Return the schema of a field, or None if the field is unknown."""
        return self.required.get(name) or self.optional.get(name)


def conform(value: Any, *, to: Value, path: str) -> Any:
    """Validate a value and return its stored form.

    Raises:
        ApiError: 400 with the path of the first invalid field, which starts with `path`.
    """
    kind = kind_of(value)
    if kind not in to.kinds and not (kind == "integer" and "number" in to.kinds):
        raise wrong_type(value, kinds=to.kinds, path=path)
    if kind == "string":
        _check_string(value, to=to, path=path)
    if kind in {"integer", "number"}:
        check_range(path, value, minimum=to.minimum, maximum=to.maximum, is_integer="number" not in to.kinds)
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
    if len(value) < to.min_length:
        raise empty_string(path)
    if to.max_length is not None and len(value) > to.max_length:
        raise too_long(path, "string", maximum=to.max_length, length=len(value))


def check_range(path: str, value: float, *, minimum: float, maximum: float, is_integer: bool = True) -> None:
    """Check that a number is within its bounds.

    Raises:
        ApiError: 400 that names the bound.
    """
    if not minimum <= value <= maximum:
        bound = maximum if value > maximum else minimum
        raise number_out_of_range(path, "integer" if is_integer else "decimal", value=value, bound=bound)


def _variant(value: JsonObject, *, variants: Mapping[str, Shape], path: str) -> Shape:
    name = value.get("type")
    if name is None:
        raise missing_parameter(f"{path}.type")
    return variants[conform(name, to=one_of(*variants), path=f"{path}.type")]


def conform_object(value: JsonObject, *, to: Shape, path: str) -> JsonObject:
    """Validate the fields of an object and return its stored form.

    `type` is not validated: it selected the shape. Fields are stored in the API's order: `type`, `status`,
    and the rest by name.

    Args:
        value: The object.
        to: Its schema.
        path: Its path in the request; empty for the body itself.

    Raises:
        ApiError: 400 for an unknown, missing, null or wrongly typed field.
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
    return {name: completed[name] for name in sorted(completed, key=_position)}


def _position(name: str) -> tuple[bool, bool, str]:
    return name != "type", name != "status", name


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


def kind_of(value: Any) -> str:
    """Return the JSON type of a parsed value."""
    return next((kind for python_type, kind in _KINDS if isinstance(value, python_type)), "null")


def wrong_type(value: Any, *, kinds: tuple[str, ...], path: str) -> ApiError:
    """Return the 400 for a value whose JSON type is not one of `kinds`."""
    expected = " or ".join(_ARTICLED[kind] for kind in kinds)
    return invalid_type(path, expected=expected, actual=_ARTICLED[kind_of(value)])


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


def one_of(*choices: str) -> Value:
    """Return the schema of a string with these choices."""
    return Value(("string",), choices=choices)


TEXT = Value(("string",))

INTEGER = Value(("integer",))


@dataclass(frozen=True, slots=True)
class ItemType:
    """A type of item in a request.

    Attributes:
        shape: Its fields, without `id` and `type`.
        prefix: The prefix of its ids, or an empty string if it is not known.
        needs_id: Whether it must have its id; reasoning with `encrypted_content` need not.
    """

    shape: Shape
    prefix: str
    needs_id: bool

    @property
    def new_prefix(self) -> str:
        """The prefix of the ids that the emulator gives."""
        return self.prefix or "item"


_DATA = with_rules(json.loads(files("openai_sessions").joinpath("schema.json").read_text(encoding="utf-8")))

_SHAPES: Mapping[str, Shape] = {name: Shape() for name in _DATA["shapes"]}
"""The shapes by name. They refer to each other, and are filled in below."""


def _value(data: JsonObject) -> Value:
    limits = {name: data[name] for name in ("min_length", "max_length", "minimum", "maximum") if name in data}
    variants = {name: _SHAPES[shape] for name, shape in data.get("variants", {}).items()}
    return Value(
        kinds=tuple(data["kinds"]),
        null=Null(data.get("null", "refused")),
        choices=tuple(data.get("choices", ())),
        elements=_value(data["elements"]) if "elements" in data else None,
        shape=_SHAPES[data["shape"]] if "shape" in data else None,
        variants=variants or None,
        **limits,
    )


def _fill(shape: Shape, data: JsonObject) -> None:
    shape.required.update((name, _value(value)) for name, value in data["required"].items())
    shape.optional.update((name, _value(value)) for name, value in data["optional"].items())
    for name in data.get("defaults", ()):
        if name in FILLED_IN or shape.optional[name].null is Null.KEPT:
            shape.defaults[name] = FILLED_IN.get(name)


for _name, _shape in _SHAPES.items():
    _fill(_shape, _DATA["shapes"][_name])

INCLUDE: tuple[str, ...] = tuple(_DATA["include"])
"""The values of `include`."""

ITEM_TYPES: Mapping[str, ItemType] = {
    name: ItemType(_SHAPES[item["shape"]], prefix=PREFIXES.get(name, ""), needs_id=item["needs_id"])
    for name, item in _DATA["items"].items()
    if name not in NOTHING_ADDED
}
"""Every type that can be created, except messages."""

MESSAGES: Mapping[str, ItemType] = {
    role: ItemType(_SHAPES[shape], prefix=PREFIXES["message"], needs_id=False)
    for role, shape in _DATA["messages"].items()
}
"""Messages by their role."""


def _parts(role: str) -> Mapping[str, Shape]:
    content = MESSAGES[role].shape.required["content"]
    return (content.elements and content.elements.variants) or {}


OUTPUT_PARTS = tuple(part for part in _parts("assistant") if part not in _parts("user"))
"""The types of parts that only a model writes."""

OUTPUT_TYPES = tuple(name for name in _DATA["output"] if name not in WRITTEN_BY_APPLICATIONS)
"""The types of items in the output of a model."""

REQUESTS: Mapping[str, Shape] = {name: _SHAPES[shape] for name, shape in _DATA["requests"].items()}
"""The requests under `/responses`, without `input`: "response", "count" and "compaction"."""
