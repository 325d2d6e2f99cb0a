"""The nulls inside an item that the API refuses: where its schema names fields, never in free-form JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from openai_sessions._items.types import SCHEMA, Item


def without_refused_nulls(item: Item) -> Item:
    """Return an item without the nulls inside its fields that the API refuses and that mean an absent field.

    A required field stays: without it, the item is refused too. So do fields that the schema does not know,
    and everything in values whose fields it does not name, such as a JSON Schema.
    """
    inside = _inside(_shape_of(item))
    cleaned = {key: _cleaned(item[key], inside[key]) for key in inside.keys() & item.keys()}
    return {**item, **cleaned} if cleaned else item


def _shape_of(item: Item) -> str | None:
    """Return the name of an item's shape, or None for an unknown type."""
    kind = str(item.get("type") or "message")
    if kind == "message":
        shape: str | None = SCHEMA["messages"]["assistant" if item.get("role") == "assistant" else "user"]
    else:
        shape = SCHEMA["items"].get(kind, {}).get("shape")
    return shape


@dataclass(frozen=True, slots=True)
class _Objects:
    """The objects that a field may have: itself, in a list, or in lists of lists.

    Attributes:
        shapes: The names of their shapes by their type; None stands for an object without one.
        refused: By the name of a shape, the fields that must not be null in it. Some servers list each object
            with the fields of all types.
    """

    shapes: Mapping[str | None, str]
    refused: Mapping[str, frozenset[str]]


def _cleaned(value: Any, objects: _Objects) -> Any:
    if isinstance(value, list):
        return [_cleaned(part, objects) for part in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("type")
    shape = objects.shapes.get(kind if isinstance(kind, str) else None) or objects.shapes.get(None)
    if shape is None:
        return value
    inside = _inside(shape)
    if not inside and None not in value.values():
        return value
    refused = objects.refused[shape]
    return {
        key: _cleaned(part, inside[key]) if key in inside else part
        for key, part in value.items()
        if part is not None or key not in refused
    }


@cache
def _inside(shape: str | None) -> Mapping[str, _Objects]:
    """Return the objects in the fields of a shape."""
    found = {name: _objects(value) for name, value in _fields(shape).items()} if shape else {}
    return {name: objects for name, objects in found.items() if objects.shapes}


def _objects(value: Mapping[str, Any]) -> _Objects:
    shapes = _shapes(value)
    names = frozenset(name for shape in shapes.values() for name in _fields(shape))
    return _Objects(shapes, {shape: names - _kept(shape) for shape in shapes.values()})


def _shapes(value: Mapping[str, Any]) -> dict[str | None, str]:
    inside = _shapes(value["elements"]) if "elements" in value else {}
    return {**inside, **value.get("variants", {}), **({None: value["shape"]} if "shape" in value else {})}


def _fields(shape: str) -> Mapping[str, Mapping[str, Any]]:
    known = SCHEMA["shapes"][shape]
    return {**known["required"], **known["optional"]}


def _kept(shape: str) -> set[str]:
    """Return the fields that are required, or null in a listing, unless the API fills them in."""
    required = SCHEMA["shapes"][shape]["required"].keys() - _FILLED_IN
    return {*required, *(name for name, value in _fields(shape).items() if value.get("null") == "kept")}


_FILLED_IN = {"detail", "logprobs"}
"""Required fields that recorded requests omit."""
