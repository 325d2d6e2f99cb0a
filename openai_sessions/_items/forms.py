"""Items as callers write them, as the API stores them, and as a model reads them; item equality."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from openai_sessions._items.text import has_surrogate
from openai_sessions._items.types import REQUIRED_ON_CREATE, Item, requires_id
from openai_sessions.errors import InvalidItemError


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
    if has_surrogate(value):
        raise NotJSONError("contains a lone surrogate, which UTF-8 cannot encode: remove it")
    return str.__str__(value)


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


logger = logging.getLogger("openai_sessions")

_FAKE_ID = "__fake_id__"
"""Stands in the Agents SDK for the id of an item whose provider gives none."""

_INTERNAL = ("provider_data", "providerData", "_agents_tool_description", "_agents_tool_title")
"""Fields that the Agents SDK keeps with an item for itself."""

_LISTED_ONLY = ("created_by", "model")
"""Fields that no known type accepts on create."""

_NO_EXTRAS = frozenset({"id", "type", "role", "status", "content", *_INTERNAL, *_LISTED_ONLY})
"""Fields of a message that the replay form leaves out, or has a place of its own for."""


def to_stored(items: Iterable[object]) -> list[Item]:
    """Return what goes over the wire for items that a caller wrote, as copies.

    Reasoning with neither id nor encrypted content cannot be stored by the API: it is left out, and
    logged.

    Raises:
        InvalidItemError: An item can never be stored; names its index and the reason.
    """
    written = [_written(index, item) for index, item in enumerate(items)]
    stored = [item for item in written if not _is_unstorable_reasoning(item)]
    if len(stored) < len(written):
        logger.warning(
            "%d reasoning item(s) with neither id nor encrypted_content were left out: "
            "the API cannot store them",
            len(written) - len(stored),
        )
    return stored


def to_replay(items: Sequence[Item]) -> list[Item]:
    """Return listed items in replay form, oldest first, as copies at the top level.

    Reasoning without encrypted content keeps its id, and so do the calls right after it; when the
    item that it led to is gone, it is left out, and logged.
    """
    if not any(map(_is_bare_reasoning, items)):
        return list(map(replay_form, items))
    replayed = []
    for index, item in enumerate(items):
        if _is_bare_reasoning(item) and not _has_partner(items, index):
            logger.warning("a reasoning item was left out: the item that it led to is gone")
            continue
        form = replay_form(item)
        if _follows_bare_reasoning(items, index) and item.get("id"):
            form = {"id": item["id"], **form}
        replayed.append(form)
    return replayed


def replay_form(item: Item) -> Item:
    """Return one item, stored or written, in replay form, without regard to its neighbours."""
    item_type = item.get("type") or "message"
    if item_type == "message":
        return _message(item)
    kept = {key: value for key, value in item.items() if key not in _INTERNAL}
    if kept.get("id") == _FAKE_ID:
        del kept["id"]
    if item_type not in REQUIRED_ON_CREATE:
        return kept
    required = REQUIRED_ON_CREATE[item_type]
    kept = {key: value for key, value in kept.items() if _is_kept(key, value, required)}
    if item_type == "shell_call_output":
        kept["output"] = _without_creators(kept.get("output"))
    if not requires_id(item_type) and not _is_bare_reasoning(item):
        kept.pop("id", None)
    return kept


def _is_kept(key: str, value: object, required: frozenset[str]) -> bool:
    if key in required:
        return True
    return value is not None and key not in _LISTED_ONLY and (key, value) != ("status", "completed")


def _message(item: Item) -> Item:
    """Return a message in replay form: a string where one plain text part says it all."""
    role, content, status = item.get("role"), item.get("content"), item.get("status")
    rest = {} if item.keys() <= _NO_EXTRAS else _extras(item)
    if status == "completed":
        status = None
    parts: Any = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
    if status is None and _is_plain_text(parts):
        return {"role": role, "content": parts[0]["text"], **rest}
    if role == "assistant" and _is_output(parts):
        status = "completed" if status is None else status
        parts = [_output_part(part) for part in parts]
    if status is None:
        return {"type": "message", "role": role, "content": parts, **rest}
    return {"type": "message", "role": role, "status": status, "content": parts, **rest}


def _extras(message: Item) -> Item:
    return {key: value for key, value in message.items() if value is not None and key not in _NO_EXTRAS}


def _without_creators(parts: Any) -> Any:
    """Return the output of a shell call without the creators of its parts, which only a listing has."""
    if not isinstance(parts, list):
        return parts
    return [
        {key: value for key, value in part.items() if key != "created_by"} if isinstance(part, dict) else part
        for part in parts
    ]


def _is_plain_text(parts: Any) -> bool:
    return (
        isinstance(parts, list)
        and len(parts) == 1
        and isinstance(parts[0], dict)
        and parts[0].keys() == {"type", "text"}
        and parts[0]["type"] == "input_text"
    )


def _is_output(parts: Any) -> bool:
    return isinstance(parts, list) and any(map(_is_output_part, parts))


def _is_output_part(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") in ("output_text", "refusal")


def _output_part(part: Any) -> Any:
    """Return a part of an assistant message with its required annotations, without empty logprobs."""
    if not isinstance(part, dict) or part.get("type") != "output_text":
        return part
    kept: Item = {**part, "annotations": part.get("annotations") or []}
    if not kept.get("logprobs"):
        kept.pop("logprobs", None)
    return kept


def _is_bare_reasoning(item: Item) -> bool:
    return item.get("type") == "reasoning" and not item.get("encrypted_content")


def _is_unstorable_reasoning(item: Item) -> bool:
    return _is_bare_reasoning(item) and not item.get("id")


def _has_partner(items: Sequence[Item], index: int) -> bool:
    """Tell whether the model's own output follows the reasoning at `index`, so that it can be shown."""
    following = (item for item in items[index:] if item.get("type") != "reasoning")
    partner = next(following, None)
    if partner is None or not items[index].get("id"):
        return False
    if partner.get("type", "message") == "message":
        return partner.get("role") == "assistant"
    return not str(partner["type"]).endswith(("_output", "_response"))


def _follows_bare_reasoning(items: Sequence[Item], index: int) -> bool:
    """Tell whether the item at `index` is a call in the run of calls right after bare reasoning."""
    while index >= 0 and _is_call(items[index]):
        index -= 1
        if index >= 0 and _is_bare_reasoning(items[index]):
            return bool(items[index].get("id"))
    return False


def _is_call(item: Item) -> bool:
    return str(item.get("type")).endswith("_call")


def _written(index: int, item: object) -> Item:
    """Return one item that a caller wrote in the form that is sent."""
    return replay_form(checked_item(index, item))


def checked_item(index: int, item: object) -> Item:
    """Return a copy, as plain JSON, of an item that a caller wrote, with the ids and fields that it has.

    Raises:
        InvalidItemError: It can never be stored; names its index in the list, and the reason.
    """
    try:
        plain = plain_json(item)
    except NotJSONError as error:
        raise InvalidItemError(index, str(error)) from None
    if not isinstance(plain, dict):
        raise InvalidItemError(index, f"it is of type {type(item).__name__}, not a mapping")
    reason = _why_not_storable(plain)
    if reason:
        raise InvalidItemError(index, reason)
    return plain


def _why_not_storable(item: Item) -> str | None:
    """Return why no server of this API can store the item, or None."""
    item_type = item.get("type")
    if item_type is None and item.get("role") is None:
        is_envelope = "__enc__" in item  # of agents.extensions.memory.EncryptedSession
        remedy = ": over this session, use openai_sessions.EncryptedSession" if is_envelope else ""
        return f"it has neither 'type' nor 'role'{remedy}"
    if item_type is not None and not (isinstance(item_type, str) and item_type):
        return f"its type is {item_type!r}, not a name"
    if item_type in (None, "message"):
        return _why_not_a_message(item)
    if requires_id(str(item_type)) and item.get("id") in (None, "", _FAKE_ID):
        return f"an item of type {item_type!r} needs the id that the API gave it, and has {item.get('id')!r}"
    return None


def _why_not_a_message(item: Item) -> str | None:
    if not (isinstance(item.get("role"), str) and item["role"]):
        return f"the role of a message is a name such as 'user', not {item.get('role')!r}"
    content = item.get("content")
    if isinstance(content, str):
        return None
    if not isinstance(content, list):
        return f"the content of a message is a string or a list of parts, not {type(content).__name__}"
    for position, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            return f"content[{position}] is not a mapping with a 'type'"
    return None


_DEFAULTS: dict[str, Any] = {"detail": "auto", "annotations": [], "logprobs": []}
"""What the API fills in for fields of a part that were not written."""

_PARTS = frozenset(
    {
        "message.content",
        "function_call_output.output",
        "custom_tool_call_output.output",
        "computer_call_output.output",
        "web_search_call.action",
    }
)
"""Fields with a schema of their own; all others are compared to the letter."""

_GATED = frozenset(
    {
        "message.content.image_url",
        "message.content.logprobs",
        "computer_call_output.output.image_url",
        "code_interpreter_call.outputs",
        "file_search_call.results",
        "web_search_call.action.sources",
        "reasoning.encrypted_content",
    }
)
"""Fields that the API leaves out of an answer unless `include` asks for them."""


def same_item(written: Item, stored: Item) -> bool:
    """Tell whether `stored` is what the API makes of `written`.

    Both are compared in replay form. Defaults that the API fills in, null for absent, an id that one
    side lacks, and fields that the stored side lacks because `include` did not ask for them, make no
    difference.
    """
    left, right = replay_form(written), replay_form(stored)
    item_type = str(left.get("type") or "message")
    return _same_fields(left, right, item_type)


def _same_fields(left: Item, right: Item, path: str) -> bool:
    return all(
        _same_field(key, left.get(key), right.get(key), f"{path}.{key}") for key in left.keys() | right.keys()
    )


def _same_field(key: str, left: Any, right: Any, path: str) -> bool:
    if right is None and (path in _GATED or key == "id"):
        return True
    if left is None and key == "id":
        return True
    default = _DEFAULTS.get(key) if path.count(".") > 1 else None
    left, right = (default if value is None else value for value in (left, right))
    if path in _PARTS and isinstance(left, dict) and isinstance(right, dict):
        return _same_fields(left, right, path)
    if path in _PARTS and isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(
            _same_part(*parts, path) for parts in zip(left, right, strict=True)
        )
    return bool(left == right)


def _same_part(left: Any, right: Any, path: str) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return _same_fields(left, right, path)
    return bool(left == right)
