"""Response objects, and their events as a stream."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import anyio
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from openai_sessions.emulator._errors import JsonObject
from openai_sessions.emulator._faults import TruncatedResponse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Receive, Scope, Send

    from openai_sessions.emulator._errors import ApiError, JsonObject
    from openai_sessions.emulator._items import NewId
    from openai_sessions.emulator._responses._operations import ResponseStream
    from openai_sessions.emulator._responses._scripts import Answer


_TIERS = {"auto": "default", "fast": "priority"}
"""What the service makes of a requested tier, where it is another one."""

_FUNCTION_DEFAULTS = {"description": None, "parameters": None, "strict": True}

_COUNTED = frozenset({"text", "refusal", "arguments", "input", "output", "instructions"})

_NO_IMAGES = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "total_tokens": 0,
}

_FAILURE = {
    "code": "server_error",
    "message": "The model failed, as the test that scripted the reply wants it.",
}


def response_ids(second: int) -> NewId:
    """Return a maker of ids for one response and its items, which have one beginning in common.

    Recorded ids are 50 hex digits: 16 that belong together, two zeros, the second, and 24 others.
    """
    family = secrets.token_hex(8)
    return lambda prefix: f"{prefix}_{family}00{second:08x}{secrets.token_hex(12)}"


def response_body(
    request: JsonObject, *, response_id: str, second: int, seen: Iterable[JsonObject], answer: Answer
) -> JsonObject:
    """Return the response object.

    Args:
        request: The checked body of the request.
        response_id: The id of the response.
        second: When it was created and ended, in seconds since the epoch.
        seen: The items that a model would have been shown.
        answer: What it answered.
    """
    done, failed = answer.status == "completed", answer.status == "failed"
    conversation = {"conversation": {"id": request["conversation"]}} if "conversation" in request else {}
    return {
        "id": response_id,
        "object": "response",
        "created_at": second,
        "status": answer.status,
        "background": False,
        "billing": {"payer": "developer"},
        "completed_at": second if done else None,
        **conversation,
        "error": _FAILURE if failed else None,
        "frequency_penalty": request.get("frequency_penalty", 0.0),
        "incomplete_details": {"reason": "max_output_tokens"} if answer.status == "incomplete" else None,
        **_echoes(request),
        "output": list(answer.output),
        **_settings(request),
        "usage": None if failed else _usage(request, seen=seen, output=answer.output),
        "user": request.get("user"),
        "metadata": request.get("metadata", {}),
    }


def begun(body: JsonObject) -> JsonObject:
    """Return the response object as it was before anything was put out."""
    return {
        **body,
        "status": "in_progress",
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "output": [],
        "service_tier": "auto" if body["service_tier"] == "default" else body["service_tier"],
        "usage": None,
    }


def _echoes(request: JsonObject) -> JsonObject:
    return {
        "instructions": request.get("instructions"),
        "max_output_tokens": request.get("max_output_tokens"),
        "max_tool_calls": request.get("max_tool_calls"),
        "model": request["model"],
        "moderation": None,
    }


def _settings(request: JsonObject) -> JsonObject:
    tier = request.get("service_tier", "auto")
    options = (
        {"prompt_cache_options": request["prompt_cache_options"]} if "prompt_cache_options" in request else {}
    )
    return {
        "parallel_tool_calls": request.get("parallel_tool_calls", True),
        "presence_penalty": request.get("presence_penalty", 0.0),
        "previous_response_id": request.get("previous_response_id"),
        "prompt_cache_key": request.get("prompt_cache_key"),
        **options,
        "prompt_cache_retention": request.get("prompt_cache_retention", "in_memory"),
        "reasoning": {"context": None, "effort": None, "summary": None, **request.get("reasoning", {})},
        "safety_identifier": request.get("safety_identifier"),
        "service_tier": _TIERS.get(tier, tier),
        "store": request.get("store", True),
        "temperature": request.get("temperature", 1.0),
        "text": {"format": {"type": "text"}, "verbosity": "medium", **request.get("text", {})},
        "tool_choice": request.get("tool_choice", "auto"),
        "tool_usage": {"image_gen": _NO_IMAGES, "web_search": {"num_requests": 0}},
        "tools": [_tool(tool) for tool in request.get("tools", ())],
        "top_logprobs": request.get("top_logprobs", 0),
        "top_p": request.get("top_p", 1.0),
        "truncation": request.get("truncation", "disabled"),
    }


def _tool(tool: JsonObject) -> JsonObject:
    return {"type": "function", **_FUNCTION_DEFAULTS, **tool} if tool["type"] == "function" else tool


def _usage(request: JsonObject, *, seen: Iterable[JsonObject], output: Iterable[JsonObject]) -> JsonObject:
    read = _words({"instructions": request.get("instructions")}) + _words(list(seen))
    written = _words(list(output))
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }


def _words(value: Any, name: str = "") -> int:
    if isinstance(value, str):
        return len(value.split()) if name in _COUNTED else 0
    if isinstance(value, list):
        return sum(_words(each, name) for each in value)
    if isinstance(value, dict):
        return sum(_words(each, key) for key, each in value.items())
    return 0


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


_EVENT_STREAM = "text/event-stream"


class EventStream(StreamingResponse):
    """The events of a response. When the other side leaves before the last one, it is not completed."""

    media_type = _EVENT_STREAM

    def __init__(self, content: ResponseStream, *, headers: Mapping[str, str]) -> None:
        super().__init__(_paced(content), headers=headers)
        self._stream = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, as long as somebody listens."""
        try:
            await super().__call__(scope, receive, send)
        except ClientDisconnect:
            pass  # there is nobody left to answer
        finally:
            self._stream.close()


class TruncatedEventStream(TruncatedResponse):
    """Half of a stream, and then the end of the connection. In process it is a `RemoteProtocolError`."""

    media_type = _EVENT_STREAM

    def render(self, content: JsonObject) -> bytes:
        """Return the events of a response object."""
        return b"".join(map(_encoded, events_of(content)))


STREAMED_FORMS: Mapping[type[Response], type[Response]] = MappingProxyType(
    {TruncatedResponse: TruncatedEventStream}
)
"""What answers of success become for a request that asks for a stream."""


def _encoded(event: JsonObject) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n".encode()


async def _paced(stream: ResponseStream) -> AsyncIterator[bytes]:
    for event in stream.events():
        yield _encoded(event)
        await anyio.sleep(stream.delay)
