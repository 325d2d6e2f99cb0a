"""Messages of LangChain as items of a conversation, and back.

The content of what `ChatOpenAI` returns is a list of blocks, most of which are the items of the response.
They are stored as they are, and come back in the same form.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    InvalidToolCall,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

from openai_sessions._items.types import REQUIRED_ON_CREATE, Item
from openai_sessions.errors import InvalidItemError

logger = logging.getLogger("openai_sessions")

_ITEM_TYPES = REQUIRED_ON_CREATE.keys() - {"message", "reasoning"}
"""Types of blocks that are items."""

_TOOL_CALLS = ("tool_call", "invalid_tool_call", "tool_use")
"""Types of blocks that repeat the tool calls of their message."""

_ROLE = "__openai_role__"
"""Where `ChatOpenAI` looks for the role "developer" of a system message."""


def to_items(messages: Iterable[BaseMessage]) -> list[Item]:
    """Return the items of messages, in order. A block that has none is left out, with a warning in the log.

    Raises:
        InvalidItemError: A message cannot be stored.
    """
    items: list[Item] = []
    lost: set[str] = set()
    for index, message in enumerate(messages):
        try:
            items += _items_of(index, message, lost)
        except KeyError as error:
            raise InvalidItemError(index, f"one of its blocks has no {error.args[0]!r}") from error
    if lost:
        logger.warning("blocks that no item can hold were left out: %s", ", ".join(sorted(lost)))
    return items


def _items_of(index: int, message: BaseMessage, lost: set[str]) -> list[Item]:
    if isinstance(message, ToolMessage):
        return _output(message, lost)
    if isinstance(message, AIMessage):
        return _output_of_model(index, message, lost)
    return _message(_role_of(index, message), _blocks(message), lost)


def _role_of(index: int, message: BaseMessage) -> str:
    if isinstance(message, HumanMessage):
        return "user"
    if isinstance(message, SystemMessage):
        return str(message.additional_kwargs.get(_ROLE, "system"))
    if isinstance(message, ChatMessage) and message.role in ("user", "assistant", "system", "developer"):
        return message.role
    raise InvalidItemError(
        index,
        f"it is a {type(message).__name__}"
        + (f" with the role {message.role!r}" if isinstance(message, ChatMessage) else "")
        + ", which no item can hold: use HumanMessage, AIMessage, SystemMessage or ToolMessage",
    )


def _message(role: str, blocks: Iterable[Item], lost: set[str]) -> list[Item]:
    """Return a message of what is no item in blocks, and those that are."""
    items: list[Item] = []
    for block in blocks:
        part = _part(role, block)
        if block["type"] in _ITEM_TYPES:
            items.append(block)
        elif part is None:
            lost.add(block["type"])
        elif items and items[-1]["type"] == "message":
            items[-1]["content"].append(part)
        else:
            items.append({"type": "message", "role": role, "content": [part]})
    return items


def _blocks(message: BaseMessage) -> Iterator[Item]:
    """Yield the content of a message in LangChain's standard blocks, or as it is if it has no such block."""
    for block in message.content_blocks:
        yield _unpacked(block)


def _unpacked(block: Any) -> Item:
    return block["value"] if block["type"] == "non_standard" else dict(block)


def _part(role: str, block: Item) -> Item | None:
    """Return a block as a part of a message or of an output; None if the API has no such part."""
    kind, extras = block["type"], block.get("extras", {})
    if kind in ("text", "text-plain") and "text" in block:
        return {"type": "output_text" if role == "assistant" else "input_text", "text": block["text"]}
    if kind in ("input_text", "input_image", "input_file"):
        return block
    if kind not in ("image", "file"):
        return None
    if "file_id" in block:
        return {"type": f"input_{kind}", "file_id": block["file_id"]}
    field = "image_url" if kind == "image" else "file_url" if "url" in block else "file_data"
    url = block.get("url") or f"data:{block['mime_type']};base64,{block['base64']}"
    others = {**extras, **block}
    return {
        "type": f"input_{kind}",
        field: url,
        **{name: others[name] for name in ("detail", "filename") if name in others},
    }


def _output(message: ToolMessage, lost: set[str]) -> list[Item]:
    """Return the output of a tool call: an item in the content, or a text, or parts."""
    blocks = list(_blocks(message))
    if given := [block for block in blocks if block["type"] in _ITEM_TYPES]:
        return given
    output: str | list[Item]
    if isinstance(message.content, str):
        output = message.content
    else:
        parts = {index: _part("user", block) for index, block in enumerate(blocks)}
        lost |= {blocks[index]["type"] for index, part in parts.items() if part is None}
        output = [part for part in parts.values() if part is not None]
    return [{"type": "function_call_output", "call_id": message.tool_call_id, "output": output}]


def _output_of_model(index: int, message: AIMessage, lost: set[str]) -> list[Item]:
    """Return what a model has said, reasoned and called, in the order of the blocks; then other calls."""
    items: list[Item] = []
    content = [message.content] if isinstance(message.content, str) else message.content
    refusal = {"type": "refusal", "refusal": message.additional_kwargs.get("refusal")}
    for each in filter(None, [*content, refusal if refusal["refusal"] else None]):
        block = {"type": "text", "text": each} if isinstance(each, str) else _unpacked(each)
        if block["type"] in ("text", "output_text", "refusal"):
            _add_text(items, block, lost)
        elif block["type"] == "reasoning":
            _add_reasoning(items, block, lost)
        elif block["type"] in _ITEM_TYPES:
            items.append({key: value for key, value in block.items() if key != "index"})
        elif block["type"] not in _TOOL_CALLS:
            lost.add(block["type"])
    known = {item.get("call_id") for item in items}
    calls: list[ToolCall | InvalidToolCall] = [*message.tool_calls, *message.invalid_tool_calls]
    for call in calls:
        if call["id"] is None:
            raise InvalidItemError(index, "one of its tool calls has no id to answer it by")
        if call["id"] not in known:
            items.append(_function_call(call))
    return items


def _function_call(call: ToolCall | InvalidToolCall) -> Item:
    args = call["args"] or {}
    arguments = args if isinstance(args, str) else json.dumps(args, ensure_ascii=False, separators=(",", ":"))
    return {"type": "function_call", "call_id": call["id"], "name": call["name"], "arguments": arguments}


def _add_text(items: list[Item], block: Item, lost: set[str]) -> None:
    """Append a text to the message of the same id, or in a message of its own. The id is not stored."""
    if block["type"] == "refusal":
        part = {"type": "refusal", "refusal": block["refusal"]}
    else:
        annotations = [_annotation(given) for given in block.get("annotations") or ()]
        if None in annotations:
            lost.add("annotations")
        part = {"type": "output_text", "text": block["text"], "annotations": [*filter(None, annotations)]}
    identity = {name: block.get(name) for name in ("id", "phase")}
    if items and items[-1]["type"] == "message" and items[-1].items() >= identity.items():
        items[-1]["content"].append(part)
    else:
        items.append({"type": "message", "role": "assistant", "content": [part], **identity})


def _annotation(given: Mapping[str, Any]) -> Item | None:
    """Return an annotation as the API has it; None if it has none of the kind."""
    if given["type"] == "non_standard_annotation":
        return dict(given["value"])
    if given["type"] == "citation" and {"url", "start_index", "end_index"} <= given.keys():
        fields = {name: given[name] for name in ("url", "start_index", "end_index")}
        return {"type": "url_citation", "title": given.get("title", ""), **fields}
    known = ("url_citation", "file_citation", "container_file_citation", "file_path")
    return _renamed(given, "file_index", "index") if given["type"] in known else None


def _renamed(annotation: Mapping[str, Any], old: str, new: str) -> Item:
    """Return an annotation with another name for a field: LangChain uses `index` for something else."""
    return {new if name == old else name: value for name, value in annotation.items()}


def _add_reasoning(items: list[Item], block: Item, lost: set[str]) -> None:
    """Append reasoning of an OpenAI model; add it to the last item if LangChain has split that."""
    fields = {**block.get("extras", {}), **block}
    item = {name: fields[name] for name in ("id", "content", "encrypted_content") if fields.get(name)}
    if "encrypted_content" not in item and not str(item.get("id")).startswith("rs_"):
        lost.add("reasoning")
        return
    texts = [part["text"] for part in block["summary"]] if "summary" in block else [block.get("reasoning")]
    summary = [{"type": "summary_text", "text": text} for text in texts if text]
    if (
        "summary" not in block
        and items
        and items[-1]["type"] == "reasoning"
        and items[-1].get("id") == item.get("id")
    ):
        items[-1]["summary"] += summary
    else:
        items.append({"type": "reasoning", "summary": summary, **item})


def to_messages(items: Sequence[Mapping[str, Any]]) -> list[BaseMessage]:
    """Return the messages of items in replay form."""
    messages: list[BaseMessage] = []
    output: list[Item] = []
    for item in map(dict, items):
        if output and (not _is_output_of_model(item) or _begins_a_message(item, output)):
            messages.append(_ai_message(output))
            output = []
        if _is_output_of_model(item):
            output.append(item)
        else:
            messages.append(_other_message(item))
    return [*messages, _ai_message(output)] if output else messages


def _type_of(item: Item) -> str:
    return str(item.get("type", "message"))


_INPUT = ("mcp_approval_response", "apply_patch_call_output", "configuration_update")
"""Types of items that `ChatOpenAI` takes as blocks of a human message."""


def _is_output_of_model(item: Item) -> bool:
    if _type_of(item) == "message":
        return bool(item["role"] == "assistant")
    return not _type_of(item).endswith("_call_output") and _type_of(item) not in _INPUT


def _begins_a_message(item: Item, output: Sequence[Item]) -> bool:
    """Return whether an item begins another message: a response is reasoning, then a text, then calls."""
    ends = {"message", "function_call", "custom_tool_call"}
    return _type_of(item) in ("message", "reasoning") and not ends.isdisjoint(map(_type_of, output))


def _other_message(item: Item) -> BaseMessage:
    """Return the message of an item that no model has made."""
    kind = _type_of(item)
    if kind in _INPUT:
        return HumanMessage([item])
    if kind == "function_call_output":
        return ToolMessage(_content(item["output"]), tool_call_id=item["call_id"])
    if kind != "message":
        return ToolMessage([{"type": "non_standard", "value": item}], tool_call_id=item.get("call_id", ""))
    content = _content(item["content"])
    if item["role"] == "system":
        return SystemMessage(content)
    if item["role"] == "developer":
        return SystemMessage(content, additional_kwargs={_ROLE: "developer"})
    return HumanMessage(content)


def _content(content: str | Sequence[Item]) -> Any:
    """Return a text as it is, and parts as LangChain's standard blocks."""
    return content if isinstance(content, str) else [_block(part) for part in content]


def _block(part: Item) -> Item:
    kind = part["type"].removeprefix("input_")
    if kind not in ("text", "image", "file"):
        return part
    if kind == "text":
        return {"type": "text", "text": part["text"]}
    block: Item = {"type": kind}
    if part.get("file_id"):
        block["file_id"] = part["file_id"]
    else:
        block |= _source(part.get("image_url") or part.get("file_url") or part.get("file_data") or "")
    detail = {} if part.get("detail", "auto") == "auto" else {"detail": part["detail"]}
    name = {"filename": part["filename"]} if part.get("filename") else {}
    return {**block, "extras": {**detail, **name}} if detail or name else block


def _source(url: str) -> Item:
    kind, _, data = url.removeprefix("data:").partition(";base64,")
    return {"base64": data, "mime_type": kind} if url.startswith("data:") else {"url": url}


def _ai_message(output: Sequence[Item]) -> AIMessage:
    """Return the message of what a model has said and called.

    A text and function calls are a string and tool calls, which every model of LangChain takes; what else
    there may be are blocks, as `ChatOpenAI` has them.
    """
    calls = [_tool_call(item) for item in output if _type_of(item) in ("function_call", "custom_tool_call")]
    blocks: list[Any] = [block for item in output for block in _blocks_of(item)]
    texts = [block["text"] for block in blocks if block.keys() == {"type", "text"}]
    others = [block for block in blocks if block.keys() != {"type", "text"}]
    is_plain = len(texts) <= 1 and all(block["type"] == "function_call" for block in others)
    return AIMessage(
        "".join(texts) if is_plain else blocks,
        tool_calls=[call for call in calls if call["type"] == "tool_call"],
        invalid_tool_calls=[call for call in calls if call["type"] == "invalid_tool_call"],
        response_metadata={} if is_plain else {"model_provider": "openai"},
    )


def _blocks_of(item: Item) -> list[Item]:
    """Return the blocks of an item: itself, or the texts of a message."""
    if _type_of(item) != "message":
        return [item]
    parts = item["content"]
    if isinstance(parts, str):
        parts = [{"type": "output_text", "text": parts}]
    phase = {"phase": item["phase"]} if item.get("phase") else {}
    return [{**_text_block(part), **phase} for part in parts]


def _text_block(part: Item) -> Item:
    if part["type"] not in ("output_text", "input_text"):
        return part
    annotations = [
        _renamed(annotation, "index", "file_index") for annotation in part.get("annotations") or ()
    ]
    return {"type": "text", "text": part["text"], **({"annotations": annotations} if annotations else {})}


def _tool_call(item: Item) -> Any:
    """Return a call as LangChain has it; invalid if the arguments are no JSON object."""
    call = {"name": item["name"], "id": item["call_id"]}
    if item["type"] == "custom_tool_call":
        return {"type": "tool_call", "args": {"__arg1": item["input"]}, **call}
    try:
        args = json.loads(item["arguments"], strict=False)
    except ValueError as error:
        return {"type": "invalid_tool_call", "args": item["arguments"], "error": str(error), **call}
    if not isinstance(args, dict):
        return {"type": "invalid_tool_call", "args": item["arguments"], "error": "not a JSON object", **call}
    return {"type": "tool_call", "args": args, **call}
