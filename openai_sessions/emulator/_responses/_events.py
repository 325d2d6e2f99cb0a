"""The response object, and its server-sent events."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse

from openai_sessions.emulator._errors import ApiError, JsonObject
from openai_sessions.emulator._faults import Fault, close_early
from openai_sessions.emulator._responses._compaction import replaced_items
from openai_sessions.emulator._responses._settings import (
    PROMPT_MODEL,
    shown_moderation,
    shown_settings,
    tool_usage,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Receive, Scope, Send

    from openai_sessions.emulator._items import NewId
    from openai_sessions.emulator._responses._scripts import Answer


def response_ids(second: int) -> NewId:
    """Return a function that makes the ids of one response and its items.

    Recorded ids have 50 hex digits: 16 that are common to the response, two zeros, the second of creation
    (8 digits), and 24 others.
    """
    common = secrets.token_hex(8)
    return lambda prefix: f"{prefix}_{common}00{second:08x}{secrets.token_hex(12)}"


def response_body(
    request: JsonObject, *, response_id: str, second: int, seen: Iterable[JsonObject], answer: Answer
) -> JsonObject:
    """Return the response object.

    Args:
        request: The checked body of the request.
        response_id: The id of the response.
        second: When it was created and completed (Unix seconds).
        seen: The items that a model would be shown.
        answer: The output.
    """
    done, failed = answer.status == "completed", answer.status == "failed"
    conversation = {"conversation": {"id": request["conversation"]}} if "conversation" in request else {}
    return {
        "id": response_id,
        "object": "response",
        "created_at": second,
        "status": answer.status,
        "background": request.get("background", False),
        "billing": {"payer": "developer"},
        "completed_at": second if done else None,
        **conversation,
        "error": _FAILURE if failed else None,
        "frequency_penalty": request.get("frequency_penalty", 0.0),
        "incomplete_details": {"reason": "max_output_tokens"} if answer.status == "incomplete" else None,
        **_echoes(request),
        "output": list(answer.output),
        **shown_settings(request, seen=seen, output=answer.output),
        "usage": None if failed else usage_of(request, seen=seen, output=answer.output),
        "user": request.get("user"),
        "metadata": request.get("metadata", {}),
    }


_FAILURE = {
    "code": "server_error",
    "message": "The model failed, as the scripted reply says.",
}


def _echoes(request: JsonObject) -> JsonObject:
    return {
        "instructions": request.get("instructions"),
        "max_output_tokens": request.get("max_output_tokens"),
        "max_tool_calls": request.get("max_tool_calls"),
        "model": request.get("model", PROMPT_MODEL),
        "moderation": shown_moderation(request),
    }


def input_tokens(request: JsonObject, *, seen: Iterable[JsonObject]) -> int:
    """Return how many tokens the input of a request has.

    A word is a token, in the instructions, the items and the definitions of tools; an image is 85, as the API
    counts one of low detail. A compaction item counts as what it replaced, 50 at most: a summary is short
    whatever it replaces, and contains something.

    Args:
        request: The checked body of the request.
        seen: The items that a model would be shown.
    """
    items = list(seen)
    instructions = _words({"instructions": request.get("instructions")})
    tools = sum(len(json.dumps(tool).split()) for tool in request.get("tools", ()))
    return instructions + tools + _words(items) + _IMAGE_TOKENS * _images(items)


_IMAGE_TOKENS = 85


def _images(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_images, value))
    if isinstance(value, dict):
        return (value.get("type") == "input_image") + sum(map(_images, value.values()))
    return 0


def usage_of(request: JsonObject, *, seen: Iterable[JsonObject], output: Sequence[JsonObject]) -> JsonObject:
    """Return the `usage` of a request for the items that a model would be shown, and those it wrote."""
    read, written = input_tokens(request, seen=seen), _words(output)
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {
            "reasoning_tokens": _words([item for item in output if item["type"] == "reasoning"])
        },
        "total_tokens": read + written,
    }


_COUNTED = frozenset(
    {
        *("arguments", "code", "command", "commands", "diff", "input", "instructions", "logs", "output"),
        *("queries", "refusal", "stderr", "stdout", "text"),
    }
)
"""The fields whose texts are counted."""

_COMPACTION_TOKENS = 50


def _words(value: Any, name: str = "") -> int:
    if isinstance(value, str):
        return len(value.split()) if name in _COUNTED else 0
    if isinstance(value, list | tuple):
        return sum(_words(each, name) for each in value)
    if isinstance(value, dict):
        return _words_of_object(value)
    return 0


def _words_of_object(value: JsonObject) -> int:
    if value.get("type") == "compaction":
        return max(1, min(_words(replaced_items([value])), _COMPACTION_TOKENS))
    return sum(_words(each, key) for key, each in value.items())


class ResponseStream:
    """A streamed response. It is saved when the client reads the last event; earlier, nothing is stored.

    Args:
        body: The response object in its final state.
        delay: Seconds to wait after each event.
        obfuscated: Whether deltas are padded to the same length.
        save: Stores the response and adds its items to the conversation.
        release: Unlocks the conversation; may be called twice.

    Attributes:
        complete: All events of the response.
    """

    def __init__(
        self,
        body: JsonObject,
        *,
        delay: float,
        obfuscated: bool,
        save: Callable[[], object],
        release: Callable[[], object],
    ) -> None:
        self.delay = delay
        self.complete = tuple(events_of(body, obfuscated=obfuscated))
        self._save = save
        self._release = release

    async def paced(self) -> AsyncGenerator[JsonObject, None]:
        """Yield all events, each followed by the delay, and save nothing."""
        for event in self.complete:
            yield event
            await anyio.sleep(self.delay)

    async def events(self) -> AsyncGenerator[JsonObject, None]:
        """Yield all events; before the last one, save the response and unlock the conversation."""
        async with aclosing(self.paced()) as events:
            async for event in events:
                yield event if event is not self.complete[-1] else self._last()

    def _last(self) -> JsonObject:
        last = self.complete[-1]
        try:
            self.finish()
        except ApiError as error:
            return _error_event(error, number=last["sequence_number"])
        return last

    def finish(self) -> None:
        """Save the response and unlock the conversation.

        Raises:
            ApiError: The response cannot be saved any more.
        """
        try:
            self._save()
        finally:
            self._release()

    def close(self) -> None:
        """Unlock the conversation; closing twice does nothing."""
        self._release()


class EventSource(Protocol):
    """The events of a response for one client: a `ResponseStream`, or a background response it follows."""

    @property
    def complete(self) -> tuple[JsonObject, ...]:
        """All events that the client gets."""
        ...

    def paced(self) -> AsyncGenerator[JsonObject, None]:
        """Yield the events, and save nothing."""
        ...

    def events(self) -> AsyncGenerator[JsonObject, None]:
        """Yield the events, and save the response before the last one."""
        ...

    def finish(self) -> None:
        """Save the response."""
        ...

    def close(self) -> None:
        """End without saving the response, unless it is saved."""
        ...


class EventStream(StreamingResponse):
    """The HTTP response that sends the events of a response, until the client disconnects."""

    media_type = "text/event-stream"

    def __init__(self, content: EventSource, *, headers: Mapping[str, str]) -> None:
        super().__init__(_encoded_events(content), headers=headers)
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        except ClientDisconnect:
            pass  # no client is left to receive them
        finally:
            self._content.close()


class CutEventStream(StreamingResponse):
    """An event stream that ends early. In process, a `RemoteProtocolError` follows its events.

    Args:
        content: The events.
        fault: The fault that cuts them: one of `STREAM_CUTS`, or `truncated_body`.
        end: Saves or abandons the response; called before the last event that is sent, or if there is none,
            before the connection is closed.
        headers: The headers of the response.
    """

    media_type = EventStream.media_type

    def __init__(
        self, content: EventSource, fault: Fault, *, end: Callable[[], object], headers: Mapping[str, str]
    ) -> None:
        super().__init__(_cut_events(content, fault, end), headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send some of the events, then close the connection."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for chunk in self.body_iterator:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await close_early(scope, receive)


async def _encoded_events(content: EventSource) -> AsyncIterator[bytes]:
    async with aclosing(content.events()) as events:
        async for event in events:
            yield _encoded(event)


async def _cut_events(content: EventSource, fault: Fault, end: Callable[[], object]) -> AsyncIterator[bytes]:
    whole = _events_before(fault, len(content.complete))
    cuts_inside = whole < len(content.complete) and (fault.inside_event or fault.kind == "truncated_body")
    left = whole + cuts_inside
    if not left:
        end()
        return
    async with aclosing(content.paced()) as events:
        async for event in events:
            left -= 1
            if not left:
                end()
            chunk = _encoded(event)
            yield chunk if left or not cuts_inside else chunk[: len(chunk) // 2]
            if not left:
                return


def _events_before(fault: Fault, number: int) -> int:
    """Return how many of a number of events are sent whole."""
    most = number if fault.kind in {"truncated_body", "cut_mid_stream_after_commit"} else max(0, number - 1)
    return number // 2 if fault.after_events is None else min(fault.after_events, most)


def _encoded(event: JsonObject) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n".encode()


_PADDED_LENGTH = 16


def events_of(body: JsonObject, *, obfuscated: bool = True) -> Iterator[JsonObject]:
    """Yield the events of a finished response, numbered from 0. They lack its `billing`, as recorded.

    Args:
        body: The response object.
        obfuscated: Whether deltas are padded to the same length.
    """
    shown = {name: value for name, value in body.items() if name != "billing"}
    for number, event in enumerate(_events(shown)):
        if isinstance(event.get("delta"), str) and obfuscated:
            event["obfuscation"] = "0" * (_PADDED_LENGTH - len(event["delta"]))
        in_order = dict(sorted({**event, "sequence_number": number}.items()))
        yield {"type": event["type"], **in_order}


def _error_event(error: ApiError, *, number: int) -> JsonObject:
    return {
        "type": "error",
        "code": error.code,
        "message": error.message,
        "param": error.param,
        "sequence_number": number,
    }


def _events(body: JsonObject) -> Iterator[JsonObject]:
    if body["background"]:
        queued = {**_in_progress(body), "status": "queued"}
        yield {"type": "response.created", "response": queued}
        yield {"type": "response.queued", "response": queued}
    else:
        yield {"type": "response.created", "response": _in_progress(body)}
    yield {"type": "response.in_progress", "response": _in_progress(body)}
    for index, item in enumerate(body["output"]):
        yield {"type": "response.output_item.added", "item": _before(item), "output_index": index}
        for event in _item_events(item, body=body):
            yield {**event, **_id_in(event, item), "output_index": index}
        yield {"type": "response.output_item.done", "item": item, "output_index": index}
    yield {"type": _LAST_EVENT[body["status"]], "response": body}


def last_status(events: Sequence[JsonObject], *, before: str) -> str:
    """Return the status of a response after some of its events; `before` is that without any."""
    statuses = [event["response"]["status"] for event in events if "response" in event]
    return statuses[-1] if statuses else before


_LAST_EVENT = {
    "completed": "response.completed",
    "incomplete": "response.incomplete",
    "failed": "response.failed",
}
"""The last event of a stream, by the status of the response."""


def _in_progress(body: JsonObject) -> JsonObject:
    """Return the response object as it was before its first output."""
    return {
        **body,
        "status": "in_progress",
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "moderation": None,
        "output": [],
        "service_tier": "auto" if body["service_tier"] == "default" else body["service_tier"],
        "tool_usage": tool_usage(()),
        "usage": None,
    }


def _id_in(event: JsonObject, item: JsonObject) -> JsonObject:
    """Return the `item_id` of an event. The events of a shell's commands have none, as documented."""
    return {} if event["type"].startswith("response.shell_call_command.") else {"item_id": item["id"]}


_WORDS = re.compile(r"\s*\S+|\s+\Z")

_TOKENS = re.compile(r"\w+|\W+")

_WHOLE = re.compile(r"(?s).+")


@dataclass(frozen=True, slots=True)
class _Text:
    """A text of an item that is sent in deltas, followed by the whole of it.

    Attributes:
        prefix: The types of its events without "response." and their last word.
        path: The names of the fields that lead to it. The last one is its name in the last event.
        pieces: What a delta contains.
    """

    prefix: str
    path: tuple[str, ...]
    pieces: re.Pattern[str] = _TOKENS

    def events(self, item: JsonObject) -> Iterator[JsonObject]:
        """Yield its events; none for an item without it."""
        text: Any = item
        for name in self.path:
            text = text.get(name)
        if text is None:
            return
        for piece in self.pieces.findall(text):
            yield {"type": f"response.{self.prefix}.delta", "delta": piece}
        called = {"name": item["name"]} if item["type"] == "function_call" else {}
        yield {"type": f"response.{self.prefix}.done", self.path[-1]: text, **called}


_Step = str | _Text | Callable[[JsonObject, JsonObject], Iterator[JsonObject]]
"""An event by its type without "response.", a text, or a function of the item and its response."""


@dataclass(frozen=True, slots=True)
class _Streamed:
    """How an item of one type is streamed.

    Attributes:
        before: Its fields in `response.output_item.added`, by their paths, where they differ from the end.
        steps: What is sent until `response.output_item.done`.
        absent: Its fields that `response.output_item.added` lacks.
    """

    before: Mapping[str, Any]
    steps: tuple[_Step, ...] = ()
    absent: frozenset[str] = frozenset()


def _before(item: JsonObject) -> JsonObject:
    """Return the item as it was before its first content."""
    streamed = _STREAMED.get(item["type"], _AT_ONCE)
    started = {name: value for name, value in item.items() if name not in streamed.absent}
    for path, value in {"status": "in_progress", **streamed.before}.items():
        started = _with(started, path.split("."), value)
    return started


def _with(item: JsonObject, path: Sequence[str], value: Any) -> JsonObject:
    """Return a copy of an object with another value at a path, unless it has no such field."""
    name, *rest = path
    if name not in item:
        return item
    return {**item, name: _with(item[name], rest, value) if rest else value}


def _item_events(item: JsonObject, *, body: JsonObject) -> Iterator[JsonObject]:
    for step in _STREAMED.get(item["type"], _AT_ONCE).steps:
        if isinstance(step, _Text):
            yield from step.events(item)
        elif isinstance(step, str):
            yield from _status_events(step, item)
        else:
            yield from step(item, body)


def _status_events(step: str, item: JsonObject) -> Iterator[JsonObject]:
    """Yield the event of a step, unless the item ended before it."""
    ended = item.get("error") is not None or item.get("status", "completed") != "completed"
    if not (ended and step.endswith(".completed")):
        yield {"type": f"response.{step}"}
    elif item["type"].startswith("mcp_") and item.get("status") != "incomplete":
        yield {"type": f"response.{item['type']}.failed"}


_PART_TEXT = {"output_text": "text", "refusal": "refusal", "reasoning_text": "text"}
"""The field of a content part that is streamed in deltas."""


def _content_parts(item: JsonObject, _: JsonObject) -> Iterator[JsonObject]:
    for index, part in enumerate(item.get("content", ())):
        for event in _part_events(part):
            yield {**event, "content_index": index}


def _part_events(part: JsonObject) -> Iterator[JsonObject]:
    kind, name = f"response.{part['type']}", _PART_TEXT[part["type"]]
    logprobs: JsonObject = {"logprobs": []} if part["type"] == "output_text" else {}
    empty: JsonObject = {"annotations": []} if "annotations" in part else {}
    yield {"type": "response.content_part.added", "part": {**part, **empty, name: ""}}
    for text, following in _annotated(part[name], part.get("annotations", ())):
        for piece in _WORDS.findall(text):
            yield {"type": f"{kind}.delta", "delta": piece, **logprobs}
        for index, annotation in following:
            yield {"type": f"{kind}.annotation.added", "annotation": annotation, "annotation_index": index}
    yield {"type": f"{kind}.done", name: part[name], **logprobs}
    yield {"type": "response.content_part.done", "part": part}


def _annotated(
    text: str, annotations: Sequence[JsonObject]
) -> Iterator[tuple[str, list[tuple[int, JsonObject]]]]:
    """Yield the parts of a text, each with the annotations that follow it and their indices.

    A citation of a page or a file follows the text it is about; one of a file in a container comes last.
    """
    following: dict[int, list[tuple[int, JsonObject]]] = {}
    for index, annotation in enumerate(annotations):
        name = _ANNOTATED_UNTIL.get(annotation["type"], "")
        end = min(annotation.get(name, len(text)), len(text))
        following.setdefault(end, []).append((index, annotation))
    start = 0
    for end in sorted({*following, len(text)}):
        yield text[start:end], following.get(end, [])
        start = end


_ANNOTATED_UNTIL = {"url_citation": "end_index", "file_citation": "index", "file_path": "index"}
"""By the type of an annotation, the field that says where the text ends that it is about."""


def _summary_parts(item: JsonObject, _: JsonObject) -> Iterator[JsonObject]:
    kind = "response.reasoning_summary"
    for index, part in enumerate(item["summary"]):
        at = {"summary_index": index}
        yield {"type": f"{kind}_part.added", "part": {**part, "text": ""}, **at}
        for piece in _WORDS.findall(part["text"]):
            yield {"type": f"{kind}_text.delta", "delta": piece, **at}
        yield {"type": f"{kind}_text.done", "text": part["text"], **at}
        yield {"type": f"{kind}_part.done", "part": part, **at}


def _partial_images(item: JsonObject, body: JsonObject) -> Iterator[JsonObject]:
    """Yield as many partial images as the tool demands, and one without a demand; all are the image."""
    demanded = [tool.get("partial_images") for tool in body["tools"] if tool["type"] == "image_generation"]
    shown = {name: item[name] for name in _IMAGE_FACTS if name in item}
    for index in range(max([1, *filter(None, demanded)]) if item["result"] is not None else 0):
        yield {
            "type": "response.image_generation_call.partial_image",
            "partial_image_index": index,
            "partial_image_b64": item["result"],
            **shown,
        }


_IMAGE_FACTS = ("size", "quality", "background", "output_format")


def _shell_commands(item: JsonObject, _: JsonObject) -> Iterator[JsonObject]:
    for index, command in enumerate(item["action"]["commands"]):
        at = {"command_index": index}
        yield {"type": "response.shell_call_command.added", "command": "", **at}
        for event in _Text("shell_call_command", ("command",)).events({"type": "", "command": command}):
            yield {**event, **at}


def _shell_outputs(item: JsonObject, _: JsonObject) -> Iterator[JsonObject]:
    kind = "response.shell_call_output_content"
    for index, output in enumerate(item["output"]):
        at = {"command_index": index}
        written = {name: output[name] for name in ("stdout", "stderr") if output[name]}
        if written:
            yield {"type": f"{kind}.delta", "delta": written, **at}
        yield {"type": f"{kind}.done", "output": [output], **at}


_AT_ONCE = _Streamed({})
"""How items are streamed whose types have no events of their own."""

_STREAMED: Mapping[str, _Streamed] = {
    "apply_patch_call": _Streamed(
        {"operation.diff": ""}, (_Text("apply_patch_call_operation_diff", ("operation", "diff")),)
    ),
    "code_interpreter_call": _Streamed(
        {"code": "", "outputs": None},
        (
            "code_interpreter_call.in_progress",
            _Text("code_interpreter_call_code", ("code",)),
            "code_interpreter_call.interpreting",
            "code_interpreter_call.completed",
        ),
    ),
    "custom_tool_call": _Streamed({"input": ""}, (_Text("custom_tool_call_input", ("input",)),)),
    "file_search_call": _Streamed(
        {"queries": [], "results": None},
        ("file_search_call.in_progress", "file_search_call.searching", "file_search_call.completed"),
    ),
    "function_call": _Streamed({"arguments": ""}, (_Text("function_call_arguments", ("arguments",)),)),
    "image_generation_call": _Streamed(
        {},
        (
            "image_generation_call.in_progress",
            "image_generation_call.generating",
            _partial_images,
            "image_generation_call.completed",
        ),
        absent=frozenset({*_IMAGE_FACTS, "action", "error", "result", "revised_prompt", "svg_usage"}),
    ),
    "local_shell_call": _Streamed({"action.command": [], "action.env": {}}),
    "mcp_call": _Streamed(
        {"arguments": "", "error": None, "output": None},
        (
            "mcp_call.in_progress",
            _Text("mcp_call_arguments", ("arguments",), pieces=_WHOLE),
            "mcp_call.completed",
        ),
    ),
    "mcp_list_tools": _Streamed(
        {"tools": [], "error": None}, ("mcp_list_tools.in_progress", "mcp_list_tools.completed")
    ),
    "message": _Streamed({"content": []}, (_content_parts,)),
    "program": _Streamed({"code": ""}),
    "reasoning": _Streamed({"summary": [], "content": []}, (_summary_parts, _content_parts)),
    "shell_call": _Streamed({"action.commands": []}, (_shell_commands,)),
    "shell_call_output": _Streamed({"output": []}, (_shell_outputs,)),
    "tool_search_call": _Streamed({"arguments": {}}),
    "web_search_call": _Streamed(
        {"action": {"type": "search"}},
        ("web_search_call.in_progress", "web_search_call.searching", "web_search_call.completed"),
    ),
}
"""How the items of each type are streamed, as recorded; not recorded are failures of `mcp_list_tools`."""
