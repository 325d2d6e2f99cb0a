"""The replies of the model: those scripted with `Emulator.reply`, and the default."""

from __future__ import annotations

import copy
import inspect
import json
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from openai_sessions.emulator._errors import ApiError, JsonObject, no_reply, reply_failed
from openai_sessions.emulator._items import NewId, prepare_items
from openai_sessions.emulator._schema import ITEM_TYPES, OUTPUT_PARTS


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """A request for a response, as passed to a reply function.

    It is a copy: changes to it have no effect.

    Attributes:
        body: The JSON body without nulls; `input` is a list of items, `conversation` an id.
        items: All items that a model would be shown, in stored form: those of the conversation or the
            previous response, then the input.
        conversation_id: The conversation, if any.
    """

    body: JsonObject
    items: tuple[JsonObject, ...]
    conversation_id: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of all messages of any role, oldest first."""
        return tuple(text for item in self.items for text in _texts(item))

    @property
    def user_text(self) -> str:
        """The text of the newest user message, its parts joined; empty without one."""
        for item in reversed(self.items):
            if item.get("role") == "user":
                return "".join(_texts(item))
        return ""


def _texts(item: JsonObject) -> list[str]:
    if item.get("type") != "message":
        return []
    return [part["text"] for part in item["content"] if "text" in part]


ReplyOutput = str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]
"""The output of a model: the text of a message, an item, or a list of items and texts."""

Reply = ReplyOutput | Callable[[ResponseRequest], ReplyOutput]
"""An output, or a function that returns one for a request."""

ReplyStatus = Literal["completed", "incomplete", "failed"]
"""The final status of a response."""

_STATUSES: tuple[ReplyStatus, ...] = get_args(ReplyStatus)


@dataclass(frozen=True, slots=True)
class Answer:
    """The output of one response, its status, and the seconds to wait after each event of its stream."""

    output: tuple[JsonObject, ...]
    status: ReplyStatus = "completed"
    delay: float = 0


class Replies:
    """The queue of scripted replies, and the default; usable from any thread."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._queue: list[ScriptedReply] = []
        self._used_up: set[str | None] = set()

    def add(self, reply: ScriptedReply) -> None:
        """Append a reply."""
        with self._mutex:
            self._queue.append(reply)

    def clear(self) -> None:
        """Remove all replies, and forget those that were used up."""
        with self._mutex:
            self._queue.clear()
            self._used_up.clear()

    def unused(self) -> int:
        """Return the number of requests that the replies can still answer; `times=None` counts as 0."""
        with self._mutex:
            return sum(reply.times or 0 for reply in self._queue)

    def answer(self, request: ResponseRequest, *, new_id: NewId) -> Answer:
        """Return the output of the first matching reply, or the default if no reply was ever added for it.

        Raises:
            ApiError: 400 if the matching replies are used up, the reply is invalid, or the default cannot
                answer the request.
        """
        reply = self._take(request.conversation_id)
        if reply is not None:
            return reply.answer(request, new_id=new_id)
        return Answer(output_items(default_reply(request), new_id=new_id))

    def _take(self, conversation_id: str | None) -> ScriptedReply | None:
        with self._mutex:
            for reply in self._queue:
                if reply.is_for(conversation_id):
                    self._count(reply)
                    return reply
            if self._used_up & {None, conversation_id}:
                raise no_reply("all replies scripted for it have been used")
        return None

    def _count(self, reply: ScriptedReply) -> None:
        if reply.times is None:
            return
        reply.times -= 1
        if not reply.times:
            self._queue.remove(reply)
            self._used_up.add(reply.conversation_id)


@dataclass(slots=True)
class ScriptedReply:
    """A reply and the requests it is for, as `Emulator.reply` documents."""

    reply: Reply
    conversation_id: str | None = field(default=None, kw_only=True)
    times: int | None = field(default=1, kw_only=True)
    status: ReplyStatus = field(default="completed", kw_only=True)
    delay: float = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if self.times is not None and self.times < 1:
            raise ValueError(f"times must be at least 1, or None for all requests, not {self.times}.")
        if self.status not in _STATUSES:
            raise ValueError(f"Unknown status {self.status!r}; the statuses are {', '.join(_STATUSES)}.")
        if self.delay < 0:
            raise ValueError(f"delay must be at least 0 seconds, not {self.delay}.")
        if inspect.iscoroutinefunction(self.reply):
            raise ValueError("A reply function must be a plain function, not a coroutine function.")
        if not callable(self.reply):
            self._checked(self.reply, new_id=lambda prefix: f"{prefix}_0")

    def is_for(self, conversation_id: str | None) -> bool:
        """Return whether the reply matches a request of the conversation."""
        return self.conversation_id in {None, conversation_id}

    def answer(self, request: ResponseRequest, *, new_id: NewId) -> Answer:
        """Return the output for the request.

        Raises:
            ApiError: 400 if the reply function raises or returns invalid output.
        """
        if not callable(self.reply):
            return Answer(self._checked(self.reply, new_id=new_id), self.status, self.delay)
        try:
            output = self._checked(self.reply(copy.deepcopy(request)), new_id=new_id)
        except Exception as error:
            raise reply_failed(error) from error
        return Answer(output, self.status, self.delay)

    def _checked(self, output: ReplyOutput, *, new_id: NewId) -> tuple[JsonObject, ...]:
        items = output_items(output, new_id=new_id)
        if not items and self.status == "completed":
            raise ValueError("A completed reply needs at least one item; this one has none.")
        if self.status == "incomplete" and items and "status" in items[-1]:
            return (*items[:-1], {**items[-1], "status": "incomplete"})
        return items


def default_reply(request: ResponseRequest) -> str:
    """Return the outputs of the preceding tool calls, or an echo of the user's last message.

    Raises:
        ApiError: 400 if the request demands a tool call or JSON, which only a test can choose.
    """
    choice = request.body.get("tool_choice")
    if choice == "required" or (isinstance(choice, dict) and choice.get("type") != "allowed_tools"):
        raise no_reply("its tool_choice demands a tool call, whose arguments only a test can choose")
    if request.body.get("text", {}).get("format", {}).get("type", "text") != "text":
        raise no_reply("its text.format demands JSON, which only a test can choose")
    outputs = _newest_outputs(request.items)
    if outputs:
        return "\n".join(outputs)
    return f"You said: {request.user_text}" if request.user_text else "You said nothing."


_TOOL_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})


def _newest_outputs(items: tuple[JsonObject, ...]) -> list[str]:
    outputs: list[str] = []
    for item in reversed(items):
        if item["type"] not in _TOOL_OUTPUTS:
            break
        outputs.insert(0, _output_text(item["output"]))
    return outputs


def _output_text(output: Any) -> str:
    return output if isinstance(output, str) else "".join(part.get("text", "") for part in output)


_CALLS_BY_ID = frozenset(
    {
        "apply_patch_call",
        "computer_call",
        "custom_tool_call",
        "function_call",
        "local_shell_call",
        "shell_call",
    }
)
"""The calls that an application answers by their `call_id`."""

OUTPUT_TYPES = (
    "message",
    *sorted(_CALLS_BY_ID),
    "code_interpreter_call",
    "compaction",
    "file_search_call",
    "image_generation_call",
    "mcp_approval_request",
    "mcp_call",
    "mcp_list_tools",
    "reasoning",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
)
"""The types of items in the output of a model."""


def output_items(reply: Any, *, new_id: NewId) -> tuple[JsonObject, ...]:
    """Return the items of a reply in stored form.

    Args:
        reply: The text of a message, an item, or a list of items and texts. Missing fields are filled in:
            `id`, `call_id`, the role and parts of a message, `"{}"` for arguments, an empty summary.
            Arguments may be a mapping.
        new_id: Returns a new id with the given prefix.

    Raises:
        ValueError: The reply has another type, or one of its items is not valid output of a model.
    """
    alone = isinstance(reply, str | Mapping)
    if not alone and not isinstance(reply, Sequence):
        raise ValueError(f"A reply must be a text, an item or a list of items, not {_type_name(reply)}.")
    items = [
        _completed(each, new_id=new_id, name="The reply" if alone else f"Item {index} of the reply")
        for index, each in enumerate([reply] if alone else reply)
    ]
    try:
        return prepare_items(items, new_id=new_id).items
    except ApiError as error:
        raise ValueError(f"The reply is not valid output of a model: {error.message}") from error


def _completed(given: Any, *, new_id: NewId, name: str) -> JsonObject:
    if isinstance(given, str):
        given = {"type": "message", "content": given}
    if not isinstance(given, Mapping):
        raise ValueError(f"{name} must be a text or an item, not {_type_name(given)}.")  # noqa: TRY004 - as documented
    try:
        item: JsonObject = json.loads(json.dumps(dict(given)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is not JSON: {error}.") from error
    item.setdefault("type", "message" if "content" in item else None)
    if item["type"] not in OUTPUT_TYPES:
        types = ", ".join(OUTPUT_TYPES)
        raise ValueError(f"{name} has the type {item['type']!r}; the output types of a model are {types}.")
    if item["type"] == "message":
        return _completed_message(item, new_id=new_id, name=name)
    return _completed_item(item, new_id=new_id)


def _completed_message(item: JsonObject, *, new_id: NewId, name: str) -> JsonObject:
    if item.setdefault("role", "assistant") != "assistant":
        raise ValueError(f"{name} is a message with the role {item['role']!r}; use 'assistant'.")
    if isinstance(item.get("content"), str):
        item["content"] = [{"type": "output_text", "text": item["content"]}]
    for part in item.get("content") or ():
        if not isinstance(part, dict) or part.get("type") not in OUTPUT_PARTS:
            raise ValueError(f"{name} has a part of another type than {' or '.join(OUTPUT_PARTS)}.")
    item.setdefault("id", new_id("msg"))
    return item


def _completed_item(item: JsonObject, *, new_id: NewId) -> JsonObject:
    item_type = item["type"]
    item.setdefault("id", new_id(ITEM_TYPES[item_type].prefix))
    if item_type in _CALLS_BY_ID:
        item.setdefault("call_id", f"call_{secrets.token_hex(12)}")
    if item_type == "function_call":
        arguments = item.get("arguments", {})
        compact = json.dumps(arguments, separators=(",", ":")) if isinstance(arguments, dict) else arguments
        item["arguments"] = compact
    if item_type == "reasoning":
        item.setdefault("summary", [])
    return item


def _type_name(value: object) -> str:
    return "None" if value is None else type(value).__name__
