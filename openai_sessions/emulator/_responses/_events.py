"""The events of a streamed response, made from the finished one, in the order of the API.

The order and the fields of a message's events are those of a recorded stream (`type`, then the others by
name); those of the other items follow the openai package, which describes each event. A recorded delta comes
with `obfuscation`, which fills it up to 16 characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from openai_sessions.emulator._responses._body import begun

if TYPE_CHECKING:
    from openai_sessions.emulator._errors import ApiError, JsonObject

_WORDS = re.compile(r"\s*\S+|\s+\Z")
_TOKENS = re.compile(r"\w+|\W+")
_PADDED_LENGTH = 16
_LAST = {
    "completed": "response.completed",
    "incomplete": "response.incomplete",
    "failed": "response.failed",
}
LAST_EVENTS = frozenset(_LAST.values())
"""The events after which the response has ended."""

_STREAMED_FIELD = {"function_call": "arguments", "custom_tool_call": "input"}
_FIELD_EVENT = {"function_call": "function_call_arguments", "custom_tool_call": "custom_tool_call_input"}
_PART_FIELD = {"output_text": "text", "refusal": "refusal", "reasoning_text": "text"}


def events_of(body: JsonObject, *, obfuscated: bool = True) -> Iterator[JsonObject]:
    """Yield the events of a response that has come to its end, numbered from 0.

    Args:
        body: The response object.
        obfuscated: Whether deltas are filled up to one length.
    """
    for number, event in enumerate(_events(body)):
        if "delta" in event and obfuscated:
            event["obfuscation"] = "0" * (_PADDED_LENGTH - len(event["delta"]))
        in_order = dict(sorted({**event, "sequence_number": number}.items()))
        yield {"type": event["type"], **in_order}


def error_event(error: ApiError, *, number: int) -> JsonObject:
    """Return the event of a stream that cannot go on."""
    return {
        "type": "error",
        "code": error.code,
        "message": error.message,
        "param": error.param,
        "sequence_number": number,
    }


def _events(body: JsonObject) -> Iterator[JsonObject]:
    yield {"type": "response.created", "response": begun(body)}
    yield {"type": "response.in_progress", "response": begun(body)}
    for index, item in enumerate(body["output"]):
        yield {"type": "response.output_item.added", "item": _empty(item), "output_index": index}
        for event in _contents(item):
            yield {**event, "item_id": item["id"], "output_index": index}
        yield {"type": "response.output_item.done", "item": item, "output_index": index}
    yield {"type": _LAST[body["status"]], "response": body}


def _empty(item: JsonObject) -> JsonObject:
    """Return the item as it is when it begins."""
    status = {"status": "in_progress"} if "status" in item else {}
    if item["type"] == "message":
        return {**item, **status, "content": []}
    if item["type"] == "reasoning":
        content: JsonObject = {"content": []} if "content" in item else {}
        return {**item, **status, "summary": [], **content}
    streamed = _STREAMED_FIELD.get(item["type"])
    return {**item, **status, **({} if streamed is None else {streamed: ""})}


def _contents(item: JsonObject) -> Iterator[JsonObject]:
    if item["type"] == "reasoning":
        yield from _summary(item)
    if item["type"] in {"message", "reasoning"}:
        for index, part in enumerate(item.get("content", ())):
            for event in _part(part):
                yield {**event, "content_index": index}
    if item["type"] in _STREAMED_FIELD:
        yield from _field(item)


def _part(part: JsonObject) -> Iterator[JsonObject]:
    kind, name = f"response.{part['type']}", _PART_FIELD[part["type"]]
    logprobs: JsonObject = {"logprobs": []} if part["type"] == "output_text" else {}
    empty: JsonObject = {"annotations": []} if "annotations" in part else {}
    yield {"type": "response.content_part.added", "part": {**part, **empty, name: ""}}
    for piece in _WORDS.findall(part[name]):
        yield {"type": f"{kind}.delta", "delta": piece, **logprobs}
    yield {"type": f"{kind}.done", name: part[name], **logprobs}
    yield {"type": "response.content_part.done", "part": part}


def _summary(item: JsonObject) -> Iterator[JsonObject]:
    kind = "response.reasoning_summary"
    for index, part in enumerate(item["summary"]):
        at = {"summary_index": index}
        yield {"type": f"{kind}_part.added", "part": {**part, "text": ""}, **at}
        for piece in _WORDS.findall(part["text"]):
            yield {"type": f"{kind}_text.delta", "delta": piece, **at}
        yield {"type": f"{kind}_text.done", "text": part["text"], **at}
        yield {"type": f"{kind}_part.done", "part": part, **at}


def _field(item: JsonObject) -> Iterator[JsonObject]:
    name, kind = _STREAMED_FIELD[item["type"]], f"response.{_FIELD_EVENT[item['type']]}"
    for piece in _TOKENS.findall(item[name]):
        yield {"type": f"{kind}.delta", "delta": piece}
    called = {"name": item["name"]} if item["type"] == "function_call" else {}
    yield {"type": f"{kind}.done", name: item[name], **called}
