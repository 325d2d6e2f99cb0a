"""Structured output: the JSON that `text.format` demands, in scripted replies and in the default.

Sources: the errors for schemas are published in reports of users; the API refuses other things in strict
schemas too, of which the emulator knows nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from openai_sessions.emulator._errors import JsonObject, invalid_schema

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_PLAIN: JsonObject = {"type": "text"}


def format_of(request: JsonObject) -> JsonObject:
    """Return the format of texts that a checked request demands."""
    demanded: JsonObject = request.get("text", {}).get("format", _PLAIN)
    return demanded


def check_format(request: JsonObject) -> None:
    """Check the schema of a request, if it has one.

    Raises:
        ApiError: 400 for a schema that is invalid, or a strict one that leaves properties open.
    """
    demanded = format_of(request)
    if demanded["type"] == "json_schema":
        for place, problem in _problems(demanded):
            raise invalid_schema(demanded["name"], place=place, problem=problem)


def check_texts(items: Iterable[JsonObject], *, demanded: JsonObject) -> None:
    """Check that the texts of a reply are in the format that its request demands.

    Refusals need not be, nor does a message that is commentary.

    Raises:
        ValueError: A text is not JSON, or does not fit the schema; the message names the schema, the path and
            the value.
    """
    if demanded["type"] == "text":
        return
    for item in items:
        if item["type"] == "message" and item.get("phase") in {None, "final_answer"}:
            for part in item["content"]:
                if part["type"] == "output_text":
                    _check_text(part["text"], demanded=demanded)


def _check_text(text: str, *, demanded: JsonObject) -> None:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"The text of the reply is not JSON, as text.format demands: {error}.") from None
    if demanded["type"] == "json_schema":
        _check_value(value, demanded=demanded)
    elif not isinstance(value, dict):
        raise ValueError(f"The text of the reply is {_brief(value)}; text.format demands a JSON object.")


def _check_value(value: Any, *, demanded: JsonObject) -> None:
    from jsonschema.exceptions import best_match  # noqa: PLC0415 - it takes a tenth of a second, once

    misfit = best_match(_validator(demanded["schema"]).iter_errors(value))
    if misfit is not None:
        raise ValueError(
            f"The reply does not fit the schema {demanded['name']!r} of text.format: "
            f"{misfit.json_path} is {_brief(misfit.instance)}, but {misfit.message}."
        )


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}..."


_BRIEF = 100


def _validator(schema: JsonObject) -> Validator:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - as above
    from jsonschema.validators import validator_for  # noqa: PLC0415

    kind: type[Validator] = validator_for(schema, default=Draft202012Validator)
    return kind(schema)


_Place = tuple[str, ...]


def _problems(demanded: JsonObject) -> Iterator[tuple[_Place, str]]:
    """Yield what the API refuses in a schema, with the keys that lead there."""
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415 - as above

    schema = demanded["schema"]
    try:
        _validator(schema).check_schema(schema)
    except SchemaError as error:
        yield tuple(map(str, error.absolute_path)), error.message
    for place, each in _subschemas(schema, ()):
        if "$ref" in each and _referenced(each["$ref"], root=schema) is None:
            yield place, f"reference to component '{each['$ref']}' which was not found in the schema."
        if demanded.get("strict"):
            yield from ((place, problem) for problem in _open_properties(each))


def _open_properties(schema: JsonObject) -> Iterator[str]:
    """Yield what leaves the properties of an object open, which a strict schema must not."""
    if schema.get("type") != "object":
        return
    if schema.get("additionalProperties") is not False:
        yield "'additionalProperties' is required to be supplied and to be false."
    missing = [name for name in schema.get("properties", {}) if name not in schema.get("required", ())]
    if missing:
        yield (
            "'required' is required to be supplied and to be an array including every key in properties. "
            f"Missing '{missing[0]}'."
        )


def _subschemas(schema: Any, place: _Place) -> Iterator[tuple[_Place, JsonObject]]:
    if not isinstance(schema, dict):
        return
    yield place, schema
    for name in ("properties", "$defs", "definitions"):
        for key, each in schema.get(name, {}).items():
            yield from _subschemas(each, (*place, name, key))
    for name in ("anyOf", "allOf", "oneOf", "prefixItems"):
        for index, each in enumerate(schema.get(name, ())):
            yield from _subschemas(each, (*place, name, str(index)))
    for name in ("items", "additionalProperties", "not"):
        yield from _subschemas(schema.get(name), (*place, name))


def _referenced(reference: str, *, root: JsonObject) -> Any:
    """Return the part of a schema that a reference in it names, or None: others are never loaded."""
    found: Any = root
    for key in reference.split("/"):
        if key == "#":
            continue
        name = unquote(key).replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return found


def least_text(demanded: JsonObject) -> str:
    """Return the least text that fits a format other than plain text.

    Raises:
        ValueError: The schema demands a value that only a person can choose.
    """
    if demanded["type"] == "json_object":
        return "{}"
    value = _Least(demanded["schema"]).of(demanded["schema"])
    if not _validator(demanded["schema"]).is_valid(value):
        raise ValueError("no value was found that fits the schema")
    return json.dumps(value, separators=(",", ":"))


class _Least:
    """The least values that fit the parts of a schema.

    Args:
        root: The schema, to which references lead.
    """

    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._validator = _validator(root)

    def of(self, schema: Any, depth: int = 0) -> Any:
        """Return the least value for a part of the schema; it may violate what is rarely used.

        Raises:
            ValueError: None was found.
        """
        if depth > _MAX_DEPTH:
            raise ValueError("the schema demands endless nesting")
        if not isinstance(schema, dict):
            return None
        if "const" in schema or "enum" in schema:
            return schema["const"] if "const" in schema else schema["enum"][0]
        if "$ref" in schema:
            return self.of(_referenced(schema["$ref"], root=self._root), depth + 1)
        if "allOf" in schema:
            return self.of(_merged(schema), depth + 1)
        options = schema.get("anyOf") or schema.get("oneOf")
        return self._of_one(options, depth) if options else self._of_type(schema, depth)

    def _of_one(self, options: Sequence[Any], depth: int) -> Any:
        *others, last = sorted(options, key=lambda option: option != {"type": "null"})
        for option in others:
            with suppress(ValueError):
                return self.of(option, depth + 1)
        return self.of(last, depth + 1)

    def _of_type(self, schema: JsonObject, depth: int) -> Any:
        kinds = schema.get("type", "object" if "properties" in schema else "null")
        kind = kinds if isinstance(kinds, str) else min(kinds, key=lambda name: name != "null")
        if kind == "object":
            properties = schema.get("properties", {})
            return {name: self.of(properties.get(name), depth + 1) for name in schema.get("required", ())}
        if kind == "array":
            return [self.of(schema.get("items"), depth + 1)] * schema.get("minItems", 0)
        for candidate in _candidates(kind, schema):
            if self._validator.evolve(schema=schema).is_valid(candidate):
                return candidate
        raise ValueError(f"no {kind} was found that fits the schema")


_MAX_DEPTH = 100


def _merged(schema: JsonObject) -> JsonObject:
    parts = [{name: value for name, value in schema.items() if name != "allOf"}, *schema["allOf"]]
    whole = {name: value for part in parts for name, value in part.items()}
    lists = [part.get("required", []) for part in parts]
    return whole | {
        "properties": {name: each for part in parts for name, each in part.get("properties", {}).items()},
        "required": [name for required in lists for name in required],
    }


def _candidates(kind: str, schema: JsonObject) -> Iterable[Any]:
    if kind == "boolean":
        return (False,)
    if kind in {"integer", "number"}:
        return _numbers(schema)
    if kind == "string":
        return (_FORMATTED.get(schema.get("format", ""), ""), "x" * schema.get("minLength", 0))
    return (None,)


def _numbers(schema: JsonObject) -> Iterator[float]:
    yield 0
    low, step = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("multipleOf", 1)
    if low is not None:
        yield low
        yield step * math.ceil(low / step)
        yield step * (math.floor(low / step) + 1)
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if high is not None:
        yield high
        yield step * (math.ceil(high / step) - 1)


_FORMATTED: Mapping[str, str] = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "duration": "PT0S",
    "email": "a@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "00:00:00Z",
    "uri": "https://example.com",
    "uuid": "00000000-0000-0000-0000-000000000000",
}
"""Texts of the formats that strict schemas may demand."""
