"""The forms of an item, and the equality of items.

The stored form is what the API lists. The replay form is what a session returns: as the user wrote it, ready
to be sent to a model, and the same for every reader. The sent form is what a session writes: it differs from
the replay form only in that output of an assistant keeps its parts. `sent_form` and `replay_form` have the
rules for one item; `to_stored` and `to_replay` add those for a list. `same_item` decides whether a listed
item is a written one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from openai_sessions._items.nulls import without_refused_nulls
from openai_sessions._items.text import has_surrogate
from openai_sessions._items.types import (
    REQUIRED_ON_CREATE,
    Item,
    RunItem,
    is_bare_reasoning,
    is_unknown_reasoning,
    requires_id,
)
from openai_sessions.errors import InvalidItemError

logger = logging.getLogger("openai_sessions")


def to_stored(items: Iterable[object], *, on_loss: Callable[[int], object] | None = None) -> list[Item]:
    """Return the items to send for those that a caller wrote, as copies.

    The API cannot store reasoning that has neither an id nor encrypted content. It is left out, with a
    warning in the log.

    Args:
        items: The items that a caller wrote.
        on_loss: Called with the number of items whose `provider_data` is left out, if there are any.

    Raises:
        InvalidItemError: An item cannot be stored.
    """
    checked = [checked_item(index, item) for index, item in enumerate(items)]
    lost = sum(map(has_provider_data, checked))
    if lost and on_loss is not None:
        on_loss(lost)
    written = [sent_form(item) for item in checked]
    stored = [item for item in written if not is_unknown_reasoning(item)]
    if len(stored) < len(written):
        logger.warning(
            "%d reasoning item(s) with neither id nor encrypted_content were left out: "
            "the API cannot store them",
            len(written) - len(stored),
        )
    return stored


def to_replay(items: Sequence[Item], *, form: Callable[[Item], Item] | None = None) -> list[Item]:
    """Return listed items in replay form, as copies at the top level.

    Reasoning without encrypted content and the calls right after it keep their ids together: the API accepts
    them as a unit. Such reasoning is left out, with a warning in the log, if the item it led to is gone.

    Args:
        items: A history, or its newest items, oldest first.
        form: Returns the form of one item: `replay_form`, or `sent_form` for items that are stored again.
    """
    formed = form or replay_form
    if not any(map(is_bare_reasoning, items)):
        return list(map(formed, items))
    replayed = []
    for index, item in enumerate(items):
        if is_bare_reasoning(item) and not has_provider_data(item) and not _has_partner(items, index):
            logger.warning("a reasoning item was left out: the item that it led to is gone")
            continue
        kept = formed(item)
        if _follows_bare_reasoning(items, index) and _has_id(item):
            kept = {"id": item["id"], **kept}
        replayed.append(kept)
    return replayed


def _has_partner(items: Sequence[Item], index: int) -> bool:
    """Return whether the reasoning at `index` is followed by output of the model."""
    following = (item for item in items[index:] if item.get("type") != "reasoning")
    partner = next(following, None)
    if partner is None or not _has_id(items[index]):
        return False
    if partner.get("type", "message") == "message":
        return partner.get("role") == "assistant"
    return not str(partner["type"]).endswith(("_output", "_response"))


def _follows_bare_reasoning(items: Sequence[Item], index: int) -> bool:
    """Return whether the item at `index` is one of the calls right after reasoning that keeps its id."""
    while index >= 0 and str(items[index].get("type")).endswith("_call"):
        index -= 1
        if index >= 0 and is_bare_reasoning(items[index]):
            return _has_id(items[index])
    return False


def _has_id(item: Item) -> bool:
    return item.get("id") not in (None, "", FAKE_ID)


FAKE_ID = "__fake_id__"
"""The Agents SDK's id for an item whose provider gave none."""

_PROVIDER_DATA = ("provider_data", "providerData")
"""Fields of the Agents SDKs in Python and JavaScript for what another provider's model needs of its items.

An example are the thought signatures of Gemini. The API stores neither.
"""

_INTERNAL = (*_PROVIDER_DATA, "_agents_tool_description", "_agents_tool_title")
"""Fields that the Agents SDK adds to items for its own use."""

_LISTED_ONLY = ("created_by", "model")
"""Fields that the API accepts on no known type."""


def replay_form(item: Item) -> Item:
    """Return one item, written or listed, in replay form, without regard to its neighbours.

    It is the sent form, except that a completed assistant message of one `output_text` part with nothing but
    text is a string: `{"role", "content"}`, the only form of it that every model class of the Agents SDK
    accepts.
    """
    form = sent_form(item)
    if form.get("type") != "message" or form.get("status") != "completed":
        return form
    if not _is_plain_text(form["content"], type="output_text", annotations=[]):
        return form
    fields = {key: value for key, value in form.items() if key not in ("type", "status")}
    return {**fields, "content": form["content"][0]["text"]}


def sent_form(item: Item) -> Item:
    """Return one item, written or listed, as it is sent to be stored, without regard to its neighbours.

    Inside the fields, the nulls that the API refuses are dropped: see `without_refused_nulls`. Messages: see
    `_message`. Any other item keeps the values of its fields apart from that, because they may be free-form
    JSON, such as arguments or a JSON Schema. Of its fields,

    - an unknown type keeps all;
    - a required field stays, even if it is null;
    - other nulls, `created_by`, and the status `completed` are dropped;
    - `async_`, the name of openai's attribute under which the Agents SDK writes it, becomes `async`;
    - the id is dropped unless the API requires it: by type, or for reasoning without encrypted content;
    - the output of a local shell gets the id that the API requires and the Agents SDK does not give.
    """
    item = without_refused_nulls(item)
    item_type = item.get("type") or "message"
    if item_type == "message":
        return _message(item)
    kept = {key: value for key, value in item.items() if key not in _INTERNAL}
    if kept.get("id") == FAKE_ID:
        del kept["id"]
    if item_type not in REQUIRED_ON_CREATE:
        return kept
    if item_type == "local_shell_call_output" and not kept.get("id") and _is_answer_to_a_call(kept):
        kept = {**kept, "id": _local_shell_id(kept)}
    required = REQUIRED_ON_CREATE[item_type]
    kept = {key: value for key, value in kept.items() if _is_kept(key, value, required)}
    if "async_" in kept:
        kept["async"] = kept.pop("async_")
    if item_type == "tool_search_output":
        kept["tools"] = _with_api_names(kept.get("tools"))
    if item_type == "shell_call_output":
        kept["output"] = _without_creators(kept.get("output"))
    if not requires_id(item_type) and not is_bare_reasoning(item):
        kept.pop("id", None)
    return kept


def has_provider_data(item: Item) -> bool:
    """Return whether an item has data of another provider's model, which the API cannot store."""
    return any(item.get(key) for key in _PROVIDER_DATA)


def replay_form_with_provider_data(item: Item) -> Item:
    """Return one item in replay form, with the data of another provider's model."""
    return {**replay_form(item), **{key: item[key] for key in _PROVIDER_DATA if item.get(key)}}


def _is_answer_to_a_call(item: Item) -> bool:
    return isinstance(item.get("call_id"), str)


def _local_shell_id(output: Item) -> str:
    """Return the id for the output of a local shell: always the same, so that copies of it are equal."""
    content = json.dumps([output["call_id"], output.get("output")])
    return f"lsho_{hashlib.sha256(content.encode()).hexdigest()[:48]}"


def _is_kept(key: str, value: object, required: frozenset[str]) -> bool:
    if key in required:
        return True
    return value is not None and key not in _LISTED_ONLY and (key, value) != ("status", "completed")


def _with_api_names(tools: Any) -> Any:
    """Return the found tools, and those in their namespaces, with `async` for `async_`."""
    if not isinstance(tools, list):
        return tools
    return [_with_api_name(tool) if isinstance(tool, dict) else tool for tool in tools]


def _with_api_name(tool: Item) -> Item:
    named = {"async" if key == "async_" else key: value for key, value in tool.items()}
    return {**named, "tools": _with_api_names(named["tools"])} if "tools" in named else named


def _without_creators(parts: Any) -> Any:
    """Return the output of a shell call without the `created_by` of its parts, which the API adds."""
    if not isinstance(parts, list):
        return parts
    return [
        {key: value for key, value in part.items() if key != "created_by"} if isinstance(part, dict) else part
        for part in parts
    ]


_MESSAGE_FIELDS = frozenset({"id", "type", "role", "status", "content", *_INTERNAL, *_LISTED_ONLY})
"""Fields of a message that `_message` drops or writes itself; all others, such as `phase`, pass unchanged."""


def _message(item: Item) -> Item:
    """Return a message as it is sent to be stored.

    - A single `input_text` part with nothing but text becomes a string, whatever the role, because the API
      stores string content as such a part: `{"role", "content"}`.
    - Output of an assistant (`output_text`, `refusal`) keeps its status, which defaults to `completed`. A
      string of an assistant with another status is output too: model classes accept it in no other form.
    - Any other message keeps its parts, and its status unless that is `completed`.
    - The id is dropped: when newer models are sent the id of an assistant message, they unlink it from the
      stored conversation.
    """
    role, content, status = item.get("role"), item.get("content"), item.get("status")
    others = {} if item.keys() <= _MESSAGE_FIELDS else _other_fields(item)
    if status == "completed":
        status = None
    parts: Any = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
    if _is_plain_text(parts, type="input_text"):
        if status is None:
            return {"role": role, "content": parts[0]["text"], **others}
        if role == "assistant":
            parts = [{"type": "output_text", "text": parts[0]["text"]}]
    if role == "assistant" and _is_output(parts):
        status = "completed" if status is None else status
        parts = [_output_part(part) for part in parts]
    if status is None:
        return {"type": "message", "role": role, "content": parts, **others}
    return {"type": "message", "role": role, "status": status, "content": parts, **others}


def _other_fields(message: Item) -> Item:
    return {key: value for key, value in message.items() if value is not None and key not in _MESSAGE_FIELDS}


def _is_plain_text(parts: Any, **fields: object) -> bool:
    """Return whether there is one part, which has a text, these fields, and no others."""
    if not (isinstance(parts, list) and len(parts) == 1 and isinstance(parts[0], dict)):
        return False
    text = parts[0].get("text")
    return isinstance(text, str) and parts[0] == {**fields, "text": text}


def _is_output(parts: Any) -> bool:
    return isinstance(parts, list) and any(map(_is_output_part, parts))


def _is_output_part(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") in ("output_text", "refusal")


def _output_part(part: Any) -> Any:
    """Return a part of an assistant message with the required `annotations`, without empty `logprobs`."""
    if not isinstance(part, dict) or part.get("type") != "output_text":
        return part
    kept: Item = {**part, "annotations": part.get("annotations") or []}
    if not kept.get("logprobs"):
        kept.pop("logprobs", None)
    return kept


_DEFAULTS: dict[str, Any] = {"detail": "auto", "annotations": [], "logprobs": []}
"""Values that the API fills in for absent fields of a part."""

_STRUCTURED = frozenset(
    {
        "message.content",
        "function_call_output.output",
        "custom_tool_call_output.output",
        "computer_call_output.output",
        "web_search_call.action",
    }
)
"""Fields that are compared part by part. All others are compared exactly."""

_INCLUDED = frozenset(
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
"""Fields that the API returns only if `include` names them."""


def same_item(written: Item, stored: Item) -> bool:
    """Return whether `stored` is what the API makes of `written`.

    Both are compared in replay form. These differences are ignored: a default that the API fills in, null
    for an absent field, an id that only one of them has, and a field that `stored` lacks because the request
    did not include it.
    """
    left, right = replay_form(written), replay_form(stored)
    if isinstance(right.get("content"), str) and isinstance(left.get("content"), list):
        left = replay_form({**left, "content": [_without_logprobs(part) for part in left["content"]]})
    return _same_fields(left, right, str(left.get("type") or "message"))


def _without_logprobs(part: Any) -> Any:
    """Return a part as it is listed unless the request includes logprobs: it may be plain text then."""
    return {key: part[key] for key in part if key != "logprobs"} if isinstance(part, dict) else part


def _same_fields(left: Item, right: Item, path: str) -> bool:
    return all(
        _same_field(key, left.get(key), right.get(key), f"{path}.{key}") for key in left.keys() | right.keys()
    )


def _same_field(key: str, left: Any, right: Any, path: str) -> bool:
    if right is None and (path in _INCLUDED or key == "id"):
        return True
    if left is None and key == "id":
        return True
    default = _DEFAULTS.get(key) if path.count(".") > 1 else None
    left, right = (default if value is None else value for value in (left, right))
    if path in _STRUCTURED and isinstance(left, dict) and isinstance(right, dict):
        return _same_fields(left, right, path)
    if path in _STRUCTURED and isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(
            _same_part(*parts, path) for parts in zip(left, right, strict=True)
        )
    return bool(left == right)


def _same_part(left: Any, right: Any, path: str) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return _same_fields(left, right, path)
    return bool(left == right)


def checked_item(index: int, item: object) -> Item:
    """Return an item that a caller wrote, as a copy in plain JSON.

    Args:
        index: Its position in the caller's list, for the error.
        item: The item: a mapping, a Pydantic model or an item of a run.

    Raises:
        InvalidItemError: It cannot be stored.
    """
    plain = plain_item(index, item)
    reason = _why_not_storable(plain)
    if reason:
        raise InvalidItemError(index, reason)
    return plain


def plain_item(index: int, item: object) -> Item:
    """Return a copy of a mapping, Pydantic model or item of a run in plain JSON, storable or not.

    Raises:
        InvalidItemError: It is none of these, or contains something that is not JSON.
    """
    try:
        plain = plain_json(item)
    except NotJSONError as error:
        raise InvalidItemError(index, str(error)) from None
    if not isinstance(plain, dict):
        kind = type(item).__name__
        raise InvalidItemError(index, f"it is of type {kind}, not a dict such as {{'role': …, 'content': …}}")
    return plain


def _why_not_storable(item: Item) -> str | None:
    """Return why no server of this API can store the item, or None."""
    item_type = item.get("type")
    if item_type is None and item.get("role") is None:
        is_envelope = "__enc__" in item  # of agents.extensions.memory.EncryptedSession
        remedy = ": over this session, use openai_sessions.EncryptedSession" if is_envelope else ""
        return f"it has neither 'type' nor 'role'{remedy}"
    if item_type is not None and not (isinstance(item_type, str) and item_type):
        return f"its type is {item_type!r}, not a name such as 'function_call'"
    if item_type in (None, "message"):
        return _why_not_a_message(item)
    if item_type == "local_shell_call_output" and _is_answer_to_a_call(item):
        return None
    if requires_id(str(item_type)) and item.get("id") in (None, "", FAKE_ID):
        return f"an item of type {item_type!r} needs the id that the API gave it, and has {item.get('id')!r}"
    return None


def _why_not_a_message(item: Item) -> str | None:
    """Return why the API cannot store a message, or None."""
    if reason := _why_chat_completions(item):
        return f"it is a message of the Chat Completions API: {reason}"
    if not (isinstance(item.get("role"), str) and item["role"]):
        return f"its role is {item.get('role')!r}, not a name such as 'user'"
    content = item.get("content")
    if isinstance(content, str):
        return None
    if not isinstance(content, list):
        return f"its content is of type {type(content).__name__}, not a string or a list of parts"
    for position, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            return f"content[{position}] is not a dict with a 'type', such as 'input_text'"
    return None


def _why_chat_completions(item: Item) -> str | None:
    """Return what to write instead of a message of the Chat Completions API, or None if it is not one."""
    if "type" in item:
        return None
    if item.get("role") in ("tool", "function"):
        return "write the output as {'type': 'function_call_output', 'call_id': …, 'output': …}"
    if item.get("tool_calls") or item.get("function_call"):
        return "write each call as {'type': 'function_call', 'call_id': …, 'name': …, 'arguments': …}"
    return None


class NotJSONError(ValueError):
    """A value contains something that is not JSON. The message says where and what."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(f"{path.lstrip('.') or 'it'} {reason}")
        self.reason = reason
        self.path = path

    def inside(self, place: str) -> NotJSONError:
        """Return the error for the container of the value: `place` comes first in its path."""
        return NotJSONError(self.reason, place + self.path)


def plain_json(value: object) -> Any:
    """Return a copy of a value as dicts, lists, strings, numbers, booleans and None.

    A Pydantic model becomes a dict, under the names of the API: of the fields that were set and that are not
    the client's only, such as `parsed`, if it is openai's; of all fields, if it is the caller's. An item of a
    run of the Agents SDK becomes its `to_input_item()`.

    Raises:
        NotJSONError: It contains something that is not JSON.
    """
    try:
        return _copied(value)
    except RecursionError:
        raise NotJSONError("is nested too deeply, or contains itself") from None


@runtime_checkable
class _PydanticModel(Protocol):
    def model_dump(self, **kwargs: Any) -> dict[str, Any]: ...


def _copied(value: object) -> Any:
    if isinstance(value, str):
        return _string(value)
    if value is None or isinstance(value, (bool, int, float)):
        return _scalar(value)
    if isinstance(value, Mapping):
        return {_key(key): _member(part, f".{key}") for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_member(part, f"[{index}]") for index, part in enumerate(value)]
    if isinstance(value, _PydanticModel) and not isinstance(value, type):
        return _copied(_dumped(value))
    if isinstance(value, RunItem) and not isinstance(value, type):
        return _copied(_input_item(value))
    raise NotJSONError(f"is of type {type(value).__name__}, which is not JSON")


def _dumped(model: _PydanticModel) -> object:
    """Return the fields of a model; those of openai's as openai serialises them in a request."""
    is_openais = any(base.__module__.partition(".")[0] == "openai" for base in type(model).__mro__)
    exclude = getattr(model, "__api_exclude__", None) if is_openais else None
    fields = model.model_dump(
        mode="json", by_alias=True, exclude_unset=is_openais, exclude=exclude, warnings=False
    )
    is_parsed = is_openais and type(model).__name__.startswith("Parsed")
    return _without_parsed(fields) if is_parsed else fields


def _without_parsed(fields: Any) -> Any:
    """Return what `responses.parse` gave without what it parsed, which openai 2 leaves in messages."""
    if isinstance(fields, list):
        return [_without_parsed(part) for part in fields]
    if not isinstance(fields, dict):
        return fields
    kept = {key: value for key, value in fields.items() if key not in ("parsed", "parsed_arguments")}
    return {**kept, "content": _without_parsed(kept["content"])} if "content" in kept else kept


def _input_item(item: RunItem) -> object:
    try:
        return item.to_input_item()
    except Exception as error:  # the SDK's error is no subclass of a narrower one
        raise NotJSONError(f"is no input: {error}") from error


def _member(value: object, place: str) -> Any:
    try:
        return _copied(value)
    except NotJSONError as error:
        raise error.inside(place) from None


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise NotJSONError(f"has the key {key!r}, and JSON keys are strings")
    return _string(key)


def _string(value: str) -> str:
    text = str.__str__(value)  # of an enum's member, its value
    if has_surrogate(text):
        raise NotJSONError("contains a lone surrogate, which UTF-8 cannot encode: remove it")
    return text


def _scalar(value: float | None) -> float | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if not math.isfinite(value):
        raise NotJSONError(f"is {value}, which is not JSON")
    return float(value)
