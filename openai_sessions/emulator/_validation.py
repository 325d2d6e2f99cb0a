"""Checks of what surrounds the items: bodies, metadata and query parameters."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from openai_sessions.emulator._errors import (
    JsonObject,
    array_too_long,
    invalid_choice,
    invalid_type,
    missing_parameter,
    number_too_large,
    number_too_small,
    property_name_too_long,
    string_too_long,
    too_many_properties,
    unknown_parameter,
    unparsable_body,
)
from openai_sessions.emulator._shapes import wrong_type

MAX_ITEMS = 20
MAX_METADATA_PAIRS = 16
MAX_METADATA_KEY_LENGTH = 64
MAX_METADATA_VALUE_LENGTH = 512
DEFAULT_PAGE_LENGTH = 20
MAX_PAGE_LENGTH = 100
INCLUDABLE = (
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}\Z")
Query = Mapping[str, Sequence[str]]


def parse_body(raw: bytes) -> Any:
    """Return the parsed JSON body.

    Raises:
        ApiError: 400 when it is not JSON.
    """
    try:
        return json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise unparsable_body() from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def check_body(body: Any, *, known: Sequence[str]) -> JsonObject:
    """Return the body, an object that has none but the `known` fields; no body at all is an empty one.

    Raises:
        ApiError: 400 when it is no object or has another field.
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
    """Return the items of a body, at most 20.

    Raises:
        ApiError: 400 when they are missing, no array or too many.
    """
    if "items" not in body:
        raise missing_parameter("items")
    items = body["items"]
    if not isinstance(items, list):
        raise wrong_type(items, kinds=("array",), path="items")
    if len(items) > MAX_ITEMS:
        raise array_too_long("items", maximum=MAX_ITEMS, length=len(items))
    return items


def check_metadata(metadata: Any) -> dict[str, str]:
    """Return the metadata to store: null is none at all.

    Raises:
        ApiError: 400 for more than 16 pairs, a key over 64 or a value over 512 characters, or a value that is
            no string.
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
        raise string_too_long(f"metadata.{key}", maximum=MAX_METADATA_VALUE_LENGTH, length=len(value))


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page of a list is asked for."""

    limit: int = DEFAULT_PAGE_LENGTH
    ascending: bool = False
    after: str | None = None


def check_page(query: Query) -> PageRequest:
    """Return the page that the query asks for.

    Raises:
        ApiError: 400 for a limit outside 1 to 100 or no integer, and for an unknown order.
    """
    order = _last(query, "order")
    if order is not None and order not in {"asc", "desc"}:
        raise invalid_choice("order", value=order, choices=("asc", "desc"))
    limit = _last(query, "limit")
    return PageRequest(
        limit=DEFAULT_PAGE_LENGTH if limit is None else _check_limit(limit),
        ascending=order == "asc",
        after=_last(query, "after"),
    )


def _last(query: Query, name: str) -> str | None:
    values = query.get(name)
    return values[-1] if values else None


def _check_limit(text: str) -> int:
    if not _INTEGER.match(text):
        raise invalid_type("limit", expected="an integer", actual="a string")
    limit = int(text)
    check_range("limit", limit, minimum=1, maximum=MAX_PAGE_LENGTH)
    return limit


def check_range(param: str, value: float, *, minimum: float, maximum: float, kind: str = "integer") -> None:
    """Refuse a number that is not from `minimum` to `maximum`; its kind is "integer" or "decimal".

    Raises:
        ApiError: 400, which names the bound.
    """
    if value > maximum:
        raise number_too_large(param, kind=kind, maximum=maximum, value=value)
    if value < minimum:
        raise number_too_small(param, kind=kind, minimum=minimum, value=value)


def check_include(query: Query) -> frozenset[str]:
    """Return the fields that `include` opens, given as `include[]=…` or `include=…`, any number of times.

    Raises:
        ApiError: 400 for a value that is none of the API's.
    """
    values = [*query.get("include[]", ()), *query.get("include", ())]
    for index, value in enumerate(values):
        if value not in INCLUDABLE:
            raise invalid_choice(f"include[{index}]", value=value, choices=INCLUDABLE)
    return frozenset(values)
