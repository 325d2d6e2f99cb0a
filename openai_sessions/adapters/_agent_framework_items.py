"""Messages of Microsoft's Agent Framework as items of a conversation, and back."""

from __future__ import annotations

import json
import logging
import mimetypes
from collections.abc import Iterable, Sequence
from typing import Any

from agent_framework import Annotation, Content, Message

from openai_sessions._items.types import Item

logger = logging.getLogger("openai_sessions")

_REFUSAL = {"core": {"model_output_kind": "refusal"}, "model_output_kind": "refusal"}
"""How the framework marks a text as the refusal of a model."""

_KEPT_ELSEWHERE = ("function_approval_request", "function_approval_response", "usage")
"""Contents without an item: the session keeps approvals that are open, and the response its usage."""


def to_items(messages: Iterable[Message]) -> list[Item]:
    """Return the items of messages, in order. What has none is left out, with a warning in the log."""
    items: list[Item] = []
    lost: set[str] = set()
    for message in messages:
        items += _items_of(message, lost)
    if lost:
        logger.warning("contents that no item can hold were left out: %s", ", ".join(sorted(lost)))
    return items


def _items_of(message: Message, lost: set[str]) -> list[Item]:
    items: list[Item] = []
    for content in message.contents:
        part = _part(message.role, content)
        if part is None:
            _add_item(items, content, lost)
        elif items and items[-1]["type"] == "message":
            items[-1]["content"].append(part)
        else:
            items.append({"type": "message", "role": message.role, "content": [part]})
    return items


def _part(role: str, content: Content) -> Item | None:
    """Return a content as a part of a message; None if it is none."""
    if content.type == "text" and role != "assistant":
        return {"type": "input_text", "text": content.text}
    if content.type == "text" and content.additional_properties.get("model_output_kind") == "refusal":
        return {"type": "refusal", "refusal": content.text}
    if content.type == "text":
        return {"type": "output_text", "text": content.text, "annotations": _citations(content)}
    return None if role == "assistant" else _data_part(content)


def _citations(content: Content) -> list[Item]:
    """Return the citations of web pages in a text, one for each place."""
    return [
        {
            "type": "url_citation",
            "url": citation.get("url"),
            "title": citation.get("title") or "",
            "start_index": place.get("start_index"),
            "end_index": place.get("end_index"),
        }
        for citation in content.annotations or ()
        if citation.get("url") and not citation.get("file_id")
        for place in citation.get("annotated_regions") or ()
        if place.keys() >= {"start_index", "end_index"}
    ]


def _data_part(content: Content) -> Item | None:
    """Return an image or a file as a part of input; None for any other content, such as audio."""
    kind = (content.media_type or "").partition("/")[0]
    if content.type == "hosted_file":
        return {"type": "input_image" if kind == "image" else "input_file", "file_id": content.file_id}
    if content.type not in ("data", "uri") or kind in ("audio", "video"):
        return None
    if kind == "image":
        detail = content.additional_properties.get("openai", {}).get("image_detail", "auto")
        return {"type": "input_image", "image_url": content.uri, "detail": detail}
    name = {"filename": content.name} if content.name else {}
    return {"type": "input_file", "file_data" if content.type == "data" else "file_url": content.uri, **name}


def _add_item(items: list[Item], content: Content, lost: set[str]) -> None:
    """Append the item of a content, or add the content to the last item, or note what is lost of it."""
    if content.type == "text_reasoning" and (content.id or "").startswith("rs_"):
        _add_reasoning(items, content)
    elif content.type == "function_call" and not content.hosted:
        called = {
            "call_id": content.call_id,
            "name": content.name,
            "arguments": _json(content.arguments or {}),
        }
        items.append({"type": "function_call", **called})
    elif content.type == "function_result":
        output = _output(content, lost)
        items.append({"type": "function_call_output", "call_id": content.call_id, "output": output})
    elif content.function_call is not None and content.function_call.hosted:
        items.append(_approval(content, content.function_call))
    elif content.type not in _KEPT_ELSEWHERE:
        lost.add(content.type)


def _add_reasoning(items: list[Item], content: Content) -> None:
    """Append a reasoning item, or add to the last one: the framework has a content for each summary."""
    if not items or items[-1].get("id") != content.id:
        items.append({"type": "reasoning", "id": content.id, "summary": []})
    if content.protected_data:
        items[-1]["encrypted_content"] = content.protected_data
    if content.additional_properties.get("reasoning_text") is True:
        items[-1].setdefault("content", []).append({"type": "reasoning_text", "text": content.text})
    elif content.text:
        items[-1]["summary"].append({"type": "summary_text", "text": content.text})


def _output(content: Content, lost: set[str]) -> str | list[Item]:
    """Return the output of a function: its text, or parts if it has others."""
    parts = [(item.type, _part("user", item)) for item in content.items or ()]
    lost |= {kind for kind, part in parts if part is None}
    if len(parts) > 1 or any(kind != "text" for kind, _ in parts):
        return [part for _, part in parts if part is not None] or ""
    return "" if content.result is None else _json(content.result)


def _json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _approval(content: Content, call: Content) -> Item:
    """Return what asks whether the provider may call a tool of an MCP server, or the answer to it."""
    if content.type == "function_approval_response":
        return {
            "type": "mcp_approval_response",
            "approval_request_id": content.id,
            "approve": content.approved,
        }
    called = {"server_label": call.server_name, "name": call.name, "arguments": _json(call.arguments or {})}
    return {"type": "mcp_approval_request", "id": content.id, **called}


def to_messages(items: Iterable[tuple[Item, str]]) -> list[Message]:
    """Return the messages of items with their ids. An item that the framework cannot hold is left out."""
    messages: list[Message] = []
    for item, item_id in items:
        contents = _contents(item, item_id, messages)
        if not contents:
            logger.info(
                "an item of type %s was left out: Agent Framework has no content for it", item["type"]
            )
        elif messages and _continues(messages[-1], item):
            messages[-1].contents += contents
        else:
            messages.append(Message(_role(item), contents))
    return messages


def _role(item: Item) -> str:
    """Return the role of the message that an item begins."""
    roles = {"function_call_output": "tool", "mcp_approval_response": "user"}
    return str(item.get("role") or roles.get(item["type"], "assistant"))


def _continues(message: Message, item: Item) -> bool:
    """Return whether an item belongs to the message before it: outputs together, reasoning, text, calls."""
    if message.role != _role(item) or message.role not in ("assistant", "tool"):
        return False
    if message.role == "tool" or item.get("type", "message") not in ("message", "reasoning"):
        return True
    return all(content.type == "text_reasoning" for content in message.contents)


def _contents(item: Item, item_id: str, earlier: Sequence[Message]) -> list[Content]:
    """Return the contents of an item; none if the framework has none for it."""
    call_id = item.get("call_id", "")
    match item.get("type", "message"):
        case "message":
            return _texts_and_data(item["content"])
        case "reasoning":
            return _reasoning(item, item_id)
        case "function_call":
            return [Content.from_function_call(call_id, item["name"], arguments=item["arguments"])]
        case "function_call_output":
            output = item["output"] if isinstance(item["output"], str) else _texts_and_data(item["output"])
            return [Content.from_function_result(call_id, result=output)]
        case "mcp_approval_request" | "mcp_approval_response":
            return _approvals(item, earlier)
    return []


def _texts_and_data(parts: str | Sequence[Item]) -> list[Content]:
    if isinstance(parts, str):
        return [Content.from_text(parts)]
    return [_content(part) for part in parts]


def _content(part: Item) -> Content:
    if part["type"] == "refusal":
        return Content.from_text(part["refusal"], additional_properties=_REFUSAL)
    if "text" in part:
        return Content.from_text(part["text"], annotations=_annotations(part))
    kind = "image/*" if part["type"] == "input_image" else "application/octet-stream"
    if part.get("file_id"):
        return Content.from_hosted_file(part["file_id"], media_type=kind if "image" in kind else None)
    uri = part.get("image_url") or part.get("file_data") or part.get("file_url") or ""
    media_type = None if uri.startswith("data:") else mimetypes.guess_type(uri.partition("?")[0])[0] or kind
    detail = part.get("detail", "auto")
    properties = {} if detail == "auto" else {"openai": {"image_detail": detail}}
    return Content.from_uri(
        uri, media_type=media_type, name=part.get("filename"), additional_properties=properties
    )


def _annotations(part: Item) -> list[Annotation] | None:
    """Return the citations of web pages in a text as the framework has them; None if there are none."""
    return [
        {
            "type": "citation",
            "title": citation["title"],
            "url": citation["url"],
            "annotated_regions": [
                {
                    "type": "text_span",
                    "start_index": citation["start_index"],
                    "end_index": citation["end_index"],
                }
            ],
        }
        for citation in part.get("annotations") or ()
        if citation["type"] == "url_citation"
    ] or None


def _reasoning(item: Item, item_id: str) -> list[Content]:
    """Return a content for each text, or an empty one; the first has what is encrypted."""
    marked: list[tuple[str, dict[str, Any]]] = [
        *((part["text"], {"reasoning_text": True}) for part in item.get("content") or ()),
        *((part["text"], {}) for part in item.get("summary") or ()),
    ]
    contents = [
        Content.from_text_reasoning(id=item_id, text=text, additional_properties=properties)
        for text, properties in marked or [("", {})]
    ]
    contents[0].protected_data = item.get("encrypted_content")
    return contents


def _approvals(item: Item, earlier: Sequence[Message]) -> list[Content]:
    """Return a request to call a tool of an MCP server, or the answer, which has the call of the request."""
    if item["type"] == "mcp_approval_request":
        call = Content.from_function_call(
            item["id"],
            item["name"],
            arguments=item["arguments"],
            hosted=True,
            server_name=item["server_label"],
        )
        return [Content.from_function_approval_request(item["id"], call)]
    requests = (content for message in earlier for content in message.contents)
    return [
        request.to_function_approval_response(item["approve"])
        for request in requests
        if request.type == "function_approval_request" and request.id == item["approval_request_id"]
    ]
