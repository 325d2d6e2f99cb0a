"""Validation of requests, conversion of items to their stored form, and the fields that `include` opens."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from openai_sessions.emulator._errors import (
    JsonObject,
    empty_string,
    invalid_choice,
    invalid_id,
    invalid_type,
    missing_parameter,
    property_name_too_long,
    too_long,
    too_many_properties,
    unknown_parameter,
    unparsable_body,
)
from openai_sessions.emulator._schema import (
    INCLUDE,
    ITEM_TYPES,
    MESSAGES,
    NOTHING_ADDED,
    TEXT,
    ItemType,
    Shape,
    check_range,
    conform,
    conform_object,
    one_of,
    wrong_type,
)

MAX_ITEMS = 20

MAX_METADATA_PAIRS = 16

MAX_METADATA_KEY_LENGTH = 64

MAX_METADATA_VALUE_LENGTH = 512

DEFAULT_PAGE_LENGTH = 20

MAX_PAGE_LENGTH = 100

MAX_ID_LENGTH = 64

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}\Z")

_ID_CHARACTERS = re.compile(r"[A-Za-z0-9_-]+\Z")

_FOREIGN_CHARACTERS = (
    "contains letters, numbers, underscores, or dashes, but this value contained additional characters"
)

_ROLE = one_of(*MESSAGES)

Query = Mapping[str, Sequence[str]]
"""The query parameters of a request, each with all of its values."""

NewId = Callable[[str], str]
"""Returns a new id with the given prefix."""


def new_id(prefix: str, *, second: int) -> str:
    """Return a new id for an object created at `second` (Unix seconds)."""
    return f"{prefix}_{second:08x}{secrets.token_hex(20)}"


def parse_body(raw: bytes) -> Any:
    """Return the parsed JSON body.

    Raises:
        ApiError: 400 for a body that is not JSON.
    """
    try:
        return json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise unparsable_body() from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def check_body(body: Any, *, known: Sequence[str]) -> JsonObject:
    """Return the body, an object with `known` fields only; a missing body counts as an empty object.

    Raises:
        ApiError: 400 for another JSON type or an unknown field.
    """
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise wrong_type(body, kinds=("object",), path="body")
    for name in body:
        if name not in known:
            raise unknown_parameter(name)
    return body


def check_items(body: JsonObject) -> list[Any]:
    """Return the items of a body.

    Raises:
        ApiError: 400 if `items` is missing, not an array, or longer than 20.
    """
    items = check_array(body, "items")
    if len(items) > MAX_ITEMS:
        raise too_long("items", "array", maximum=MAX_ITEMS, length=len(items))
    return items


def check_array(body: Mapping[str, Any], name: str) -> list[Any]:
    """Return a required array.

    Raises:
        ApiError: 400 if it is missing or of another JSON type.
    """
    if name not in body:
        raise missing_parameter(name)
    if not isinstance(body[name], list):
        raise wrong_type(body[name], kinds=("array",), path=name)
    items: list[Any] = body[name]
    return items


def check_metadata(metadata: Any) -> dict[str, str]:
    """Return the metadata to store; null counts as empty.

    Raises:
        ApiError: 400 for more than 16 pairs, a key over 64 or a value over 512 characters, or a value of
            another type than string.
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise wrong_type(metadata, kinds=("object",), path="metadata")
    if len(metadata) > MAX_METADATA_PAIRS:
        raise too_many_properties("metadata", maximum=MAX_METADATA_PAIRS, count=len(metadata))
    for key, value in metadata.items():
        _check_pair(key, value)
    return metadata


def _check_pair(key: str, value: Any) -> None:
    if len(key) > MAX_METADATA_KEY_LENGTH:
        raise property_name_too_long("metadata", maximum=MAX_METADATA_KEY_LENGTH, length=len(key))
    if not isinstance(value, str):
        raise wrong_type(value, kinds=("string",), path=f"metadata.{key}")
    if len(value) > MAX_METADATA_VALUE_LENGTH:
        raise too_long(f"metadata.{key}", "string", maximum=MAX_METADATA_VALUE_LENGTH, length=len(value))


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The page of a list that a query requests."""

    limit: int = DEFAULT_PAGE_LENGTH
    ascending: bool = False
    after: str | None = None
    before: str | None = None


def check_page(
    query: Query, *, default: int = DEFAULT_PAGE_LENGTH, maximum: int = MAX_PAGE_LENGTH
) -> PageRequest:
    """Return the requested page, without `before`, which lists of items do not have.

    Raises:
        ApiError: 400 for a limit that is not an integer from 1 to `maximum`, or an unknown order.
    """
    order = last_value(query, "order")
    if order is not None and order not in {"asc", "desc"}:
        raise invalid_choice("order", value=order, choices=("asc", "desc"))
    limit = check_integer(query, "limit")
    if limit is not None:
        check_range("limit", limit, minimum=1, maximum=maximum)
    return PageRequest(
        limit=default if limit is None else limit,
        ascending=order == "asc",
        after=last_value(query, "after"),
    )


def last_value(query: Query, name: str) -> str | None:
    """Return the last value of a parameter, or None without one."""
    values = query.get(name)
    return values[-1] if values else None


def check_integer(query: Query, name: str) -> int | None:
    """Return an integer in the query, or None if it is missing.

    Raises:
        ApiError: 400 for a value that is not an integer.
    """
    text = last_value(query, name)
    if text is None:
        return None
    if not _INTEGER.match(text):
        raise invalid_type(name, expected="an integer", actual="a string")
    return int(text)


def check_include(query: Query) -> frozenset[str]:
    """Return the values of `include`, given as `include[]=…` or `include=…`.

    Raises:
        ApiError: 400 for an unknown value.
    """
    values = [*query.get("include[]", ()), *query.get("include", ())]
    for index, value in enumerate(values):
        if value not in INCLUDE:
            raise invalid_choice(f"include[{index}]", value=value, choices=INCLUDE)
    return frozenset(values)


def check_id(value: Any, *, prefix: str, path: str) -> str:
    """Return a well-formed id.

    Raises:
        ApiError: 400 for another type than string, a missing prefix, or wrong length or characters.
    """
    if not isinstance(value, str):
        raise wrong_type(value, kinds=("string",), path=path)
    if not value:
        raise empty_string(path)
    if len(value) > MAX_ID_LENGTH:
        raise too_long(path, "string", maximum=MAX_ID_LENGTH, length=len(value))
    if not value.startswith(prefix):
        raise invalid_id(path, value=value, expectation=f"begins with '{prefix}'")
    if not _ID_CHARACTERS.match(value):
        raise invalid_id(path, value=value, expectation=_FOREIGN_CHARACTERS)
    return value


@dataclass(frozen=True, slots=True)
class Addition:
    """The checked items of one request: those to store, in order, and the ids of `item_reference`s."""

    items: tuple[JsonObject, ...] = ()
    referenced: tuple[str, ...] = ()


def prepare_items(items: Sequence[Any], *, new_id: NewId, accept_unknown_types: bool = False) -> Addition:
    """Check the items of a request and return them in stored form.

    Raises:
        ApiError: 400 for the first invalid field of any item.
    """
    added: list[JsonObject] = []
    referenced: list[str] = []
    for index, item in enumerate(items):
        path = f"items[{index}]"
        if not isinstance(item, dict):
            raise wrong_type(item, kinds=("object",), path=path)
        name = _type_of(item, path=path)
        if name == "item_reference":
            referenced.append(_referenced_id(item, path=path))
        elif name == "compaction_trigger":
            conform_object(item, to=Shape(), path=path)
        elif accept_unknown_types and name != "message" and name not in ITEM_TYPES:
            added.append({"id": _unknown_id(item, path=path) or new_id("item"), **_without(item, "id")})
        else:
            added.append(_stored_item(item, name=name, new_id=new_id, path=path))
    return Addition(tuple(added), tuple(referenced))


def _type_of(item: JsonObject, *, path: str) -> str:
    name = item.get("type")
    if isinstance(name, str):
        return name
    if name is not None:
        raise wrong_type(name, kinds=("string",), path=f"{path}.type")
    if "role" in item:
        return "message"
    if "id" in item:
        return "item_reference"
    raise missing_parameter(f"{path}.type")


def _referenced_id(item: JsonObject, *, path: str) -> str:
    for name in item:
        if name not in {"id", "type"}:
            raise unknown_parameter(f"{path}.{name}")
    if "id" not in item:
        raise missing_parameter(f"{path}.id")
    return str(conform(item["id"], to=TEXT, path=f"{path}.id"))


def _unknown_id(item: JsonObject, *, path: str) -> str | None:
    given = item.get("id")
    return None if given is None else str(conform(given, to=TEXT, path=f"{path}.id"))


def _stored_item(item: JsonObject, *, name: str, new_id: NewId, path: str) -> JsonObject:
    fields = {key: value for key, value in item.items() if key not in {"id", "type"}}
    if name == "message":
        item_type, fields = _message(fields, path=path)
    elif name in ITEM_TYPES:
        item_type = ITEM_TYPES[name]
    else:
        raise invalid_choice(f"{path}.type", value=name, choices=("message", *ITEM_TYPES, *NOTHING_ADDED))
    stored = conform_object(fields, to=item_type.shape, path=path)
    item_id = _given_id(item, item_type=item_type, path=f"{path}.id") or new_id(item_type.new_prefix)
    return {"id": item_id, "type": name, **stored}


def _message(fields: JsonObject, *, path: str) -> tuple[ItemType, JsonObject]:
    if fields.get("role") is None:
        raise missing_parameter(f"{path}.role")
    role = conform(fields["role"], to=_ROLE, path=f"{path}.role")
    item_type = MESSAGES[role]
    text = fields.get("content")
    if not isinstance(text, str):
        return item_type, fields
    return item_type, {**fields, "content": [{"type": "input_text", "text": text}]}


def _given_id(item: JsonObject, *, item_type: ItemType, path: str) -> str | None:
    value = item.get("id")
    if value is not None:
        return check_id(value, prefix=item_type.prefix, path=path)
    if item_type.needs_id and not item.get("encrypted_content"):  # which reasoning may have instead
        raise missing_parameter(path)
    return None


def shown_item(item: JsonObject, *, include: frozenset[str]) -> JsonObject:
    """Return the item as a response shows it.

    Fields that need an `include` are left out, or are empty if the schema requires them.
    """
    hide = _HIDERS.get(item["type"])
    return hide(item, include) if hide is not None else item


def _hide_in_message(item: JsonObject, include: frozenset[str]) -> JsonObject:
    parts: list[JsonObject] = item["content"]
    if "message.input_image.image_url" not in include:
        parts = [_without(part, "image_url") for part in parts]
    if "message.output_text.logprobs" not in include:
        parts = [{**part, "logprobs": []} if part["type"] == "output_text" else part for part in parts]
    return {**item, "content": parts}


def _hide_screenshot(item: JsonObject, include: frozenset[str]) -> JsonObject:
    if "computer_call_output.output.image_url" in include:
        return item
    return {**item, "output": _without(item["output"], "image_url")}


def _hide_code_outputs(item: JsonObject, include: frozenset[str]) -> JsonObject:
    return item if "code_interpreter_call.outputs" in include else {**item, "outputs": None}


def _hide_search_results(item: JsonObject, include: frozenset[str]) -> JsonObject:
    return item if "file_search_call.results" in include else _without(item, "results")


def _hide_search_sources(item: JsonObject, include: frozenset[str]) -> JsonObject:
    if "web_search_call.action.sources" in include:
        return item
    return {**item, "action": _without(item["action"], "sources")}


def _hide_encrypted_content(item: JsonObject, include: frozenset[str]) -> JsonObject:
    return item if "reasoning.encrypted_content" in include else _without(item, "encrypted_content")


def _without(value: JsonObject, key: str) -> JsonObject:
    return {name: each for name, each in value.items() if name != key}


_HIDERS: Mapping[str, Callable[[JsonObject, frozenset[str]], JsonObject]] = {
    "message": _hide_in_message,
    "computer_call_output": _hide_screenshot,
    "code_interpreter_call": _hide_code_outputs,
    "file_search_call": _hide_search_results,
    "web_search_call": _hide_search_sources,
    "reasoning": _hide_encrypted_content,
}
