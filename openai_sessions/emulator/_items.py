"""From the items of a request to the items of a list: checks, normal form, ids, and what `include` opens."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openai_sessions.emulator._errors import (
    ApiError,
    JsonObject,
    empty_string,
    invalid_choice,
    invalid_id,
    missing_parameter,
    string_too_long,
    unknown_parameter,
)
from openai_sessions.emulator._item_schema import ITEM_TYPES, NOTHING_ADDED
from openai_sessions.emulator._message_schema import (
    ASSISTANT_MESSAGE,
    INPUT_MESSAGE,
    MESSAGE_ROLES,
    TEXT,
    IdRule,
    ItemType,
)
from openai_sessions.emulator._shapes import Shape, Value, conform, conform_object, wrong_type

MAX_ID_LENGTH = 64
_ID_CHARACTERS = re.compile(r"[A-Za-z0-9_-]+\Z")
_ROLE = Value(("string",), choices=MESSAGE_ROLES)

NewId = Callable[[str], str]
"""Makes a fresh id from a prefix."""


@dataclass(frozen=True, slots=True)
class Addition:
    """What the items of one request come to: items to store, in order, and the ids they refer to."""

    items: tuple[JsonObject, ...] = ()
    referenced: tuple[str, ...] = ()


def prepare_items(items: Sequence[Any], *, new_id: NewId, accept_unknown_types: bool = False) -> Addition:
    """Check the items of a request and bring them into the form in which they are listed.

    Raises:
        ApiError: 400 naming the first field that is refused; then none of the items may be stored.
    """
    added: list[JsonObject] = []
    referenced: list[str] = []
    for index, item in enumerate(items):
        path = f"items[{index}]"
        if not isinstance(item, dict):
            raise wrong_type(item, kinds=("object",), path=path)
        name = _type_name(item, path=path)
        if name == "item_reference":
            referenced.append(_reference(item, path=path))
        elif name == "compaction_trigger":
            conform_object(item, to=Shape(), path=path)
        elif accept_unknown_types and name != "message" and name not in ITEM_TYPES:
            added.append({"id": _unknown_id(item, path=path) or new_id("item"), **_without(item, "id")})
        else:
            added.append(_stored(item, name=name, new_id=new_id, path=path))
    return Addition(tuple(added), tuple(referenced))


def _type_name(item: JsonObject, *, path: str) -> str:
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


def _reference(item: JsonObject, *, path: str) -> str:
    for name in item:
        if name not in {"id", "type"}:
            raise unknown_parameter(f"{path}.{name}")
    if "id" not in item:
        raise missing_parameter(f"{path}.id")
    return str(conform(item["id"], to=TEXT, path=f"{path}.id"))


def _unknown_id(item: JsonObject, *, path: str) -> str | None:
    given = item.get("id")
    return None if given is None else str(conform(given, to=TEXT, path=f"{path}.id"))


def _stored(item: JsonObject, *, name: str, new_id: NewId, path: str) -> JsonObject:
    fields = {key: value for key, value in item.items() if key not in {"id", "type"}}
    if name == "message":
        item_type, fields = _message(fields, path=path)
    elif name in ITEM_TYPES:
        item_type = ITEM_TYPES[name]
    else:
        raise invalid_choice(f"{path}.type", value=name, choices=("message", *ITEM_TYPES, *NOTHING_ADDED))
    stored = conform_object(fields, to=item_type.shape, path=path)
    item_id = _given_id(item, item_type=item_type, path=f"{path}.id") or new_id(item_type.prefix)
    return {"id": item_id, "type": name, **stored}


def _message(fields: JsonObject, *, path: str) -> tuple[ItemType, JsonObject]:
    if fields.get("role") is None:
        raise missing_parameter(f"{path}.role")
    role = conform(fields["role"], to=_ROLE, path=f"{path}.role")
    item_type = ASSISTANT_MESSAGE if role == "assistant" else INPUT_MESSAGE
    text = fields.get("content")
    if not isinstance(text, str):
        return item_type, fields
    return item_type, {**fields, "content": [{"type": "input_text", "text": text}]}


def _given_id(item: JsonObject, *, item_type: ItemType, path: str) -> str | None:
    value = item.get("id")
    if value is not None:
        return well_formed_id(value, prefix=item_type.prefix, path=path)
    if item_type.id_rule is IdRule.REQUIRED:
        raise missing_parameter(path)
    if item_type.id_rule is IdRule.REQUIRED_UNLESS_ENCRYPTED and not item.get("encrypted_content"):
        raise missing_parameter(path)
    return None


def well_formed_id(value: Any, *, prefix: str, path: str) -> str:
    """Return the id when it has the form of the API's.

    Raises:
        ApiError: 400 when it is no string, too long, without the prefix, or has a foreign character.
    """
    if not isinstance(value, str):
        raise wrong_type(value, kinds=("string",), path=path)
    if not value:
        raise empty_string(path)
    if len(value) > MAX_ID_LENGTH:
        raise string_too_long(path, maximum=MAX_ID_LENGTH, length=len(value))
    if not value.startswith(prefix):
        raise invalid_id(path, value=value, expectation=f"begins with '{prefix}'")
    if not _ID_CHARACTERS.match(value):
        raise _foreign_characters(value, path=path)
    return value


def _foreign_characters(value: str, *, path: str) -> ApiError:
    expectation = (
        "contains letters, numbers, underscores, or dashes, but this value contained additional characters"
    )
    return invalid_id(path, value=value, expectation=expectation)


def shown_item(item: JsonObject, *, include: frozenset[str]) -> JsonObject:
    """Return the item as it is answered.

    What no `include` opens is left out, or empty where the schema requires it.
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
