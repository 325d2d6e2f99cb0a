"""The server-sent events of a streamed response: decoding them, and making those that did not arrive."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from openai_sessions._items.types import Item

_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")

_LONGEST_END = 4

_LAST_EVENT = {
    "completed": "response.completed",
    "incomplete": "response.incomplete",
    "failed": "response.failed",
    "cancelled": "response.failed",
}
"""The last event of a stream, by the status of the response."""

_LAST_EVENTS = frozenset({*_LAST_EVENT.values(), "response.cancelled", "error"})

_FIRST_EVENTS = frozenset({"response.created", "response.queued", "response.in_progress"})

_STREAMED_FIELDS = {
    "function_call": ("arguments", "response.function_call_arguments"),
    "custom_tool_call": ("input", "response.custom_tool_call_input"),
}
"""The field of a call that is streamed in deltas, and the prefix of its events."""

_PART_TEXT = {"output_text": "text", "refusal": "refusal", "reasoning_text": "text"}
"""The field of a content part that is streamed in deltas."""

_INDEXES = ("output_index", "content_index", "summary_index")

Key = tuple[Any, ...]


class EventSplitter:
    """Splits the bytes of a stream into whole events."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, part: bytes) -> list[bytes]:
        """Return the events that are complete with this part, each with the blank line that ends it."""
        searched = max(0, len(self._buffer) - _LONGEST_END)
        self._buffer += part
        ends = [0, *(end.end() for end in _EVENT_END.finditer(self._buffer, searched))]
        events = [bytes(self._buffer[start:end]) for start, end in pairwise(ends)]
        del self._buffer[: ends[-1]]
        return events


def decoded_event(raw: bytes) -> Item | None:
    """Return the JSON object of an event; None for a comment, `[DONE]`, or data that is not an object."""
    lines = raw.decode(errors="replace").splitlines()
    data = "\n".join(line[5:].removeprefix(" ") for line in lines if line.startswith("data:"))
    try:
        event = json.loads(data)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def encoded_event(event: Item) -> bytes:
    """Return an event as it is sent."""
    data = json.dumps(event, separators=(",", ":"))
    return f"event: {event['type']}\ndata: {data}\n\n".encode()


class StreamProgress:
    """What a client has received of a streamed response.

    Attributes:
        response: The response object of the latest event that has one.
        is_over: Whether the last event has arrived.
        has_content: Whether an event other than those that only announce the response has arrived.
    """

    def __init__(self) -> None:
        self.response: Item = {}
        self.is_over = False
        self.has_content = False
        self._number = -1
        self._texts: dict[Key, str] = {}
        self._seen: set[Key] = set()

    def take(self, event: Item) -> None:
        """Record an event that the client receives."""
        kind = event.get("type")
        if isinstance(event.get("sequence_number"), int):
            self._number = event["sequence_number"]
        if isinstance(event.get("response"), dict):
            self.response = event["response"]
        self.is_over = self.is_over or kind in _LAST_EVENTS
        self.has_content = self.has_content or kind not in _FIRST_EVENTS
        key = _key(event)
        if isinstance(event.get("delta"), str):
            self._texts[key] = self._texts.get(key, "") + event["delta"]
        else:
            self._seen.add(key)

    def remaining(self, response: Item) -> Iterator[Item]:
        """Yield the events that the client has not received of a response that is finished.

        A text of which it has a part is continued in one delta.
        """
        for event in _events(response):
            key = _key(event)
            if key in self._seen:
                continue
            if "delta" in event:
                had = self._texts.get(key, "")
                event["delta"] = event["delta"][len(had) :] if event["delta"].startswith(had) else ""
                if not event["delta"]:
                    continue
            self._number += 1
            yield {**event, "sequence_number": self._number}


def _key(event: Item) -> Key:
    return (event.get("type"), *(event.get(name) for name in _INDEXES))


def _events(response: Item) -> Iterator[Item]:
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "completed_at": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(response["output"]):
        place = {"output_index": index}
        yield {"type": "response.output_item.added", "item": _without_content(item), **place}
        for event in _content_events(item):
            yield {**event, "item_id": item.get("id", ""), **place}
        yield {"type": "response.output_item.done", "item": item, **place}
    yield {"type": _LAST_EVENT[response["status"]], "response": response}


def _without_content(item: Item) -> Item:
    """Return the item as it was before its first content."""
    begun = {**item, "status": "in_progress"} if "status" in item else dict(item)
    kind = item.get("type")
    if kind in {"message", "reasoning"} and "content" in item:
        begun["content"] = []
    if kind == "reasoning":
        begun["summary"] = []
    if kind in _STREAMED_FIELDS:
        begun[_STREAMED_FIELDS[kind][0]] = ""
    return begun


def _content_events(item: Item) -> Iterator[Item]:
    kind = item.get("type")
    if kind == "reasoning":
        yield from _summary_events(item)
    if kind in {"message", "reasoning"}:
        for index, part in enumerate(item.get("content") or ()):
            for event in _part_events(part):
                yield {**event, "content_index": index}
    if kind in _STREAMED_FIELDS:
        name, prefix = _STREAMED_FIELDS[kind]
        text = item.get(name) or ""
        yield {"type": f"{prefix}.delta", "delta": text}
        called = {"name": item.get("name")} if kind == "function_call" else {}
        yield {"type": f"{prefix}.done", name: text, **called}


def _part_events(part: Item) -> Iterator[Item]:
    kind, name = f"response.{part.get('type')}", _PART_TEXT.get(part.get("type", ""))
    empty: Item = {"annotations": []} if "annotations" in part else {}
    yield {"type": "response.content_part.added", "part": {**part, **empty, **({name: ""} if name else {})}}
    if name:
        text = part.get(name) or ""
        logprobs: Item = {"logprobs": []} if kind == "response.output_text" else {}
        yield {"type": f"{kind}.delta", "delta": text, **logprobs}
        yield {"type": f"{kind}.done", name: text, **logprobs}
    yield {"type": "response.content_part.done", "part": part}


def _summary_events(item: Item) -> Iterator[Item]:
    kind = "response.reasoning_summary"
    for index, part in enumerate(item.get("summary") or ()):
        at = {"summary_index": index}
        yield {"type": f"{kind}_part.added", "part": {**part, "text": ""}, **at}
        text = part.get("text") or ""
        yield {"type": f"{kind}_text.delta", "delta": text, **at}
        yield {"type": f"{kind}_text.done", "text": text, **at}
        yield {"type": f"{kind}_part.done", "part": part, **at}
