"""What the model answers: by script, or by default."""

from __future__ import annotations

import copy
import inspect
import json
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from openai_sessions.emulator._errors import ApiError, JsonObject, no_reply, reply_failed
from openai_sessions.emulator._items import NewId, prepare_items
from openai_sessions.emulator._schema import ITEM_TYPES, OUTPUT_PARTS

if TYPE_CHECKING:
    from openai_sessions.emulator._errors import JsonObject
    from openai_sessions.emulator._items import NewId


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """One request for a response, as a function given to `Emulator.reply` sees it.

    It is a copy: changing it changes nothing.

    Attributes:
        body: The JSON body without its nulls; `input` is a list of items, `conversation` an id.
        items: All that a model would be shown: the items of the conversation, or those of the previous
            response, then the input of this request, in the form in which a conversation lists items.
        conversation_id: The conversation it belongs to, if any.
    """

    body: JsonObject
    items: tuple[JsonObject, ...]
    conversation_id: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of all messages, whoever wrote them, oldest first."""
        return tuple(text for item in self.items for text in _texts(item))

    @property
    def user_text(self) -> str:
        """The text of the user's newest message, its parts joined; empty where there is none."""
        for item in reversed(self.items):
            if item.get("role") == "user":
                return "".join(_texts(item))
        return ""


def _texts(item: JsonObject) -> list[str]:
    if item.get("type") != "message":
        return []
    return [part["text"] for part in item["content"] if "text" in part]


_CALLS_OF_THE_APPLICATION = frozenset(
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
    *sorted(_CALLS_OF_THE_APPLICATION),
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
"""The types of items that a model puts out."""


def output_items(reply: Any, *, new_id: NewId) -> tuple[JsonObject, ...]:
    """Return the output that a reply stands for, in the form in which items are listed.

    Args:
        reply: The text of a message; an item; or a list of items and texts. What an item lacks is filled in:
            its id, its `call_id`, the role and parts of a message, `"{}"` for arguments, an empty summary.
            Arguments may be a mapping.
        new_id: Makes a fresh id from a prefix.

    Raises:
        ValueError: The reply is of another form, or names its first item that no model puts out.
    """
    alone = isinstance(reply, str | Mapping)
    if not alone and not isinstance(reply, Sequence):
        raise ValueError(f"A reply is a text, an item or a list of items, not {_kind(reply)}.")
    items = [
        _completed(each, new_id=new_id, name="The reply" if alone else f"Item {index} of the reply")
        for index, each in enumerate([reply] if alone else reply)
    ]
    try:
        return prepare_items(items, new_id=new_id).items
    except ApiError as error:
        raise ValueError(f"The reply cannot be put out: {error.message}") from error


def _completed(given: Any, *, new_id: NewId, name: str) -> JsonObject:
    if isinstance(given, str):
        given = {"type": "message", "content": given}
    if not isinstance(given, Mapping):
        raise ValueError(f"{name} is {_kind(given)}, not a text or an item.")  # noqa: TRY004 - as promised
    try:
        item: JsonObject = json.loads(json.dumps(dict(given)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is not JSON: {error}.") from error
    item.setdefault("type", "message" if "content" in item else None)
    if item["type"] not in OUTPUT_TYPES:
        raise ValueError(f"{name} has the type {item['type']!r}; a model puts out {', '.join(OUTPUT_TYPES)}.")
    return _filled(item, new_id=new_id, name=name)


def _filled(item: JsonObject, *, new_id: NewId, name: str) -> JsonObject:
    item_type = item["type"]
    if item_type == "message":
        return _message(item, new_id=new_id, name=name)
    item.setdefault("id", new_id(ITEM_TYPES[item_type].prefix))
    if item_type in _CALLS_OF_THE_APPLICATION:
        item.setdefault("call_id", f"call_{secrets.token_hex(12)}")
    if item_type == "function_call":
        arguments = item.get("arguments", {})
        compact = json.dumps(arguments, separators=(",", ":")) if isinstance(arguments, dict) else arguments
        item["arguments"] = compact
    if item_type == "reasoning":
        item.setdefault("summary", [])
    return item


def _message(item: JsonObject, *, new_id: NewId, name: str) -> JsonObject:
    if item.setdefault("role", "assistant") != "assistant":
        raise ValueError(f"{name} is a message of {item['role']!r}; a model writes as 'assistant'.")
    if isinstance(item.get("content"), str):
        item["content"] = [{"type": "output_text", "text": item["content"]}]
    for part in item.get("content") or ():
        if not isinstance(part, dict) or part.get("type") not in OUTPUT_PARTS:
            raise ValueError(f"{name} has a part that is none of {', '.join(OUTPUT_PARTS)}.")
    item.setdefault("id", new_id("msg"))
    return item


def _kind(value: object) -> str:
    return "None" if value is None else f"of the type {type(value).__name__}"


_TOOL_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})


def default_reply(request: ResponseRequest) -> str:
    """Return the outputs of the tools just called, or else what the user said last.

    Raises:
        ApiError: 400 where the request asks for what only a test can make up: a call, or JSON.
    """
    choice = request.body.get("tool_choice")
    if choice == "required" or (isinstance(choice, dict) and choice.get("type") != "allowed_tools"):
        raise no_reply("its tool_choice asks for a call, whose arguments only a test can choose")
    if request.body.get("text", {}).get("format", {}).get("type", "text") != "text":
        raise no_reply("its text.format asks for JSON, which only a test can choose")
    outputs = _newest_outputs(request.items)
    if outputs:
        return "\n".join(outputs)
    return f"You said: {request.user_text}" if request.user_text else "You said nothing."


def _newest_outputs(items: tuple[JsonObject, ...]) -> list[str]:
    outputs: list[str] = []
    for item in reversed(items):
        if item["type"] not in _TOOL_OUTPUTS:
            break
        outputs.insert(0, _text(item["output"]))
    return outputs


def _text(output: Any) -> str:
    return output if isinstance(output, str) else "".join(part.get("text", "") for part in output)


ReplyOutput = str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]
"""What a model says: the text of a message, an item, or a list of items and texts."""

Reply = ReplyOutput | Callable[[ResponseRequest], ReplyOutput]
"""An output, or a function that makes one for each request."""

ReplyStatus = Literal["completed", "incomplete", "failed"]

_STATUSES: tuple[ReplyStatus, ...] = get_args(ReplyStatus)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request is answered with; the delay is in seconds."""

    output: tuple[JsonObject, ...]
    status: ReplyStatus = "completed"
    delay: float = 0


@dataclass(slots=True)
class ScriptedReply:
    """A reply, and which requests it is for: how is told by `Emulator.reply`."""

    reply: Reply
    conversation_id: str | None = field(default=None, kw_only=True)
    times: int | None = field(default=1, kw_only=True)
    status: ReplyStatus = field(default="completed", kw_only=True)
    delay: float = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if self.times is not None and self.times < 1:
            raise ValueError(f"A reply needs times >= 1, or None for all requests, not {self.times}.")
        if self.status not in _STATUSES:
            raise ValueError(f"Unknown status of a reply {self.status!r}; there are {', '.join(_STATUSES)}.")
        if self.delay < 0:
            raise ValueError(f"The delay of a reply cannot be negative: {self.delay}.")
        if inspect.iscoroutinefunction(self.reply):
            raise ValueError("A reply that is a function must be a plain one, not a coroutine function.")
        if not callable(self.reply):
            self._checked(self.reply, new_id=lambda prefix: f"{prefix}_0")

    def is_for(self, conversation_id: str | None) -> bool:
        """Tell whether a request of the conversation may have it."""
        return self.conversation_id in {None, conversation_id}

    def answer(self, request: ResponseRequest, *, new_id: NewId) -> Answer:
        """Return the answer to the request.

        Raises:
            ApiError: 400 for a function that raised, or returned what cannot be put out.
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
            raise ValueError("A reply that completes needs at least one item; this one has none.")
        if self.status == "incomplete" and items and "status" in items[-1]:
            return (*items[:-1], {**items[-1], "status": "incomplete"})
        return items


class Replies:
    """Hold the scripted replies, from any thread: a request gets the first one that is for it."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: list[ScriptedReply] = []
        self._used_up: set[str | None] = set()

    def add(self, reply: ScriptedReply) -> None:
        """Put a reply behind the others."""
        with self._mutex:
            self._waiting.append(reply)

    def clear(self) -> None:
        """Forget all replies, also those that were used up."""
        with self._mutex:
            self._waiting.clear()
            self._used_up.clear()

    def unused(self) -> int:
        """Return how many more requests the replies are for, those for all requests aside."""
        with self._mutex:
            return sum(reply.times or 0 for reply in self._waiting)

    def answer(self, request: ResponseRequest, *, new_id: NewId) -> Answer:
        """Return the answer to the request: a scripted one, or the default where there never was a script.

        Raises:
            ApiError: 400 where the scripted replies are used up, the one for it cannot be put out, or no
                default can be made up.
        """
        reply = self._take(request.conversation_id)
        if reply is not None:
            return reply.answer(request, new_id=new_id)
        return Answer(output_items(default_reply(request), new_id=new_id))

    def _take(self, conversation_id: str | None) -> ScriptedReply | None:
        with self._mutex:
            for reply in self._waiting:
                if reply.is_for(conversation_id):
                    self._count(reply)
                    return reply
            if self._used_up & {None, conversation_id}:
                raise no_reply("all that were scripted for it have been used")
        return None

    def _count(self, reply: ScriptedReply) -> None:
        if reply.times is None:
            return
        reply.times -= 1
        if not reply.times:
            self._waiting.remove(reply)
            self._used_up.add(reply.conversation_id)
