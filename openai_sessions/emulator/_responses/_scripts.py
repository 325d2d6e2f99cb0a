"""The replies of the model: those scripted with `Emulator.reply`, and the default."""

from __future__ import annotations

import copy
import inspect
import json
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Literal, get_args

from openai_sessions.emulator._errors import ApiError, JsonObject, no_reply, reply_failed
from openai_sessions.emulator._items import NewId, prepare_items
from openai_sessions.emulator._responses._compaction import replaced_items
from openai_sessions.emulator._responses._formats import check_texts, format_of, least_text
from openai_sessions.emulator._responses._hosted import hosted_call
from openai_sessions.emulator._schema import ITEM_TYPES, OUTPUT_PARTS, OUTPUT_TYPES


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
    def compacted_items(self) -> tuple[JsonObject, ...]:
        """The items that the compaction items of this emulator replaced, oldest first."""
        return replaced_items(self.items)

    @property
    def user_text(self) -> str:
        """The text of the newest user message, its parts joined; empty without one."""
        for item in reversed(self.items):
            if item.get("role") == "user":
                return "".join(_texts(item))
        return ""

    @property
    def tool_outputs(self) -> tuple[tuple[str, str], ...]:
        """The names of the tools whose outputs end the items, each with the text of its output, in order.

        Outputs of functions and custom tools count; empty after any other item.
        """
        names = {item["call_id"]: item["name"] for item in self.items if item["type"] in _TOOL_CALLS}
        outputs = takewhile(lambda item: item["type"] in _TOOL_OUTPUTS, reversed(self.items))
        newest = [(names.get(item["call_id"], ""), _output_text(item["output"])) for item in outputs]
        return tuple(reversed(newest))


_TOOL_CALLS = frozenset({"function_call", "custom_tool_call"})

_TOOL_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})


def _output_text(output: Any) -> str:
    return output if isinstance(output, str) else "".join(part.get("text", "") for part in output)


def _texts(item: JsonObject) -> list[str]:
    if item.get("type") != "message":
        return []
    return [part["text"] for part in item["content"] if "text" in part]


ReplyOutput = str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]
"""The output of a model: the text of a message, an item, or a list of items and texts."""


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error response in place of output: nothing is stored.

    Clients of openai repeat a request that gets a 408, 409, 429 or 5xx, and each time it uses a reply.

    Args:
        message: The message.
        status: The HTTP status, from 400 to 599.
        code: The code, such as `context_length_exceeded`.
        type: The type; None for `server_error` from 500 on, and `invalid_request_error` below.

    Raises:
        ValueError: The status is out of range.
    """

    message: str
    status: int = field(default=400, kw_only=True)
    code: str | None = field(default=None, kw_only=True)
    type: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not 400 <= self.status <= 599:
            raise ValueError(f"status must be from 400 to 599, not {self.status}.")


Reply = ReplyOutput | ErrorReply | Callable[[ResponseRequest], ReplyOutput | ErrorReply]
"""An output or an error, or a function that returns one for a request."""

ReplyCondition = Callable[[ResponseRequest], bool]
"""A function that returns whether a reply is for a request."""

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
        self._used_up: list[ReplyTarget] = []

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
            ApiError: 400 if the matching replies are used up, the reply or a condition is invalid, or the
                default cannot answer the request; or the error that the reply is.
        """
        reply = self._take(request)
        if reply is not None:
            return reply.answer(request, new_id=new_id)
        return Answer(output_items(default_reply(request), new_id=new_id))

    def _take(self, request: ResponseRequest) -> ScriptedReply | None:
        """Return the first matching reply and count its use. Conditions are called without the mutex."""
        with self._mutex:
            queued = tuple(self._queue)
        for reply in queued:
            if reply.target.includes(request) and self._use(reply):
                return reply
        with self._mutex:
            used_up = tuple(self._used_up)
        if any(target.includes(request) for target in used_up):
            raise no_reply("all replies scripted for it have been used")
        return None

    def _use(self, reply: ScriptedReply) -> bool:
        """Count a use; return False if other requests have used up or cleared the reply meanwhile."""
        with self._mutex:
            if reply not in self._queue:
                return False
            if reply.times is not None:
                reply.times -= 1
            if reply.times == 0:
                self._queue.remove(reply)
                if reply.target not in self._used_up:
                    self._used_up.append(reply.target)
            return True


@dataclass(frozen=True, slots=True)
class ReplyTarget:
    """The requests that a reply is for."""

    conversation_id: str | None = None
    when: ReplyCondition | None = None

    def includes(self, request: ResponseRequest) -> bool:
        """Return whether the reply is for the request.

        Raises:
            ApiError: 400 if the condition raises.
        """
        if self.conversation_id not in {None, request.conversation_id}:
            return False
        if self.when is None:
            return True
        try:
            return bool(self.when(copy.deepcopy(request)))
        except Exception as error:
            raise reply_failed(error) from error


@dataclass(slots=True, eq=False)
class ScriptedReply:
    """A reply and the requests it is for, as `Emulator.reply` documents."""

    reply: Reply
    target: ReplyTarget = field(default=ReplyTarget(), kw_only=True)
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
        if isinstance(self.reply, ErrorReply):
            if self.status != "completed" or self.delay:
                raise ValueError(
                    "status and delay are those of output, and an error has none: leave them out."
                )
            return
        if inspect.iscoroutinefunction(self.reply) or inspect.iscoroutinefunction(self.target.when):
            raise ValueError(
                "A reply function or condition must be a plain function, not a coroutine function."
            )
        if not callable(self.reply):
            self._checked(self.reply, new_id=lambda prefix: f"{prefix}_0")

    def answer(self, request: ResponseRequest, *, new_id: NewId) -> Answer:
        """Return the output for the request.

        Raises:
            ApiError: The error that the reply is; 400 if the reply function raises or returns invalid output,
                or the reply is not in the format that the request demands.
        """
        try:
            reply = self.reply(copy.deepcopy(request)) if callable(self.reply) else self.reply
            if not isinstance(reply, ErrorReply):
                items = self._checked(reply, new_id=new_id)
                if self.status == "completed":
                    check_texts(items, demanded=format_of(request.body))
                return Answer(items, self.status, self.delay)
        except Exception as error:
            raise reply_failed(error) from error
        raise _api_error(reply)

    def _checked(self, output: ReplyOutput, *, new_id: NewId) -> tuple[JsonObject, ...]:
        items = output_items(output, new_id=new_id)
        if not items and self.status == "completed":
            raise ValueError("A completed reply needs at least one item; this one has none.")
        if self.status == "incomplete" and items and "status" in items[-1]:
            return (*items[:-1], {**items[-1], "status": "incomplete"})
        return items


def _api_error(reply: ErrorReply) -> ApiError:
    kind = reply.type or ("server_error" if reply.status >= 500 else "invalid_request_error")
    return ApiError(reply.message, status=reply.status, kind=kind, code=reply.code)


def default_reply(request: ResponseRequest) -> ReplyOutput:
    """Return the outputs of the preceding tool calls, or an echo of the user's last message.

    If the request demands JSON, it is the least that fits. A call of a hosted tool that the request demands
    comes before it.

    Raises:
        ApiError: 400 if the request demands the call of another tool, or JSON that only a test can choose.
    """
    call = _demanded_call(request)
    return _default_text(request) if call is None else [call, _default_text(request)]


def _default_text(request: ResponseRequest) -> str:
    demanded = format_of(request.body)
    if demanded["type"] == "text":
        return _echo(request)
    try:
        return least_text(demanded)
    except ValueError as error:
        raise no_reply(f"its text.format demands JSON that only a test can choose: {error}") from None


def _demanded_call(request: ResponseRequest) -> JsonObject | None:
    choice = request.body.get("tool_choice")
    chosen = choice.get("type") if isinstance(choice, dict) else None
    if choice != "required" and chosen in {None, "allowed_tools"}:
        return None
    call = hosted_call(chosen, query=request.user_text)
    if call is None:
        raise no_reply("its tool_choice demands a tool call, whose arguments only a test can choose")
    return call


def _echo(request: ResponseRequest) -> str:
    if request.tool_outputs:
        return "\n".join(text for _, text in request.tool_outputs)
    return f"You said: {request.user_text}" if request.user_text else "You said nothing."


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


def output_items(reply: Any, *, new_id: NewId) -> tuple[JsonObject, ...]:
    """Return the items of a reply in stored form.

    Args:
        reply: The text of a message, an item, or a list of items and texts. Missing fields are filled in:
            `id`, `call_id`, the role and parts of a message, `"{}"` for arguments, an empty summary, and in
            calls of hosted tools `completed` for the status, a new container, and no results. Arguments may
            be a mapping.
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
    item.setdefault("id", new_id(ITEM_TYPES[item_type].new_prefix))
    if item_type in _CALLS_BY_ID:
        item.setdefault("call_id", f"call_{secrets.token_hex(12)}")
    if item_type == "code_interpreter_call":
        item.setdefault("container_id", f"cntr_{secrets.token_hex(24)}")
    if item_type == "mcp_call":
        item.setdefault("status", "completed" if item.get("error") is None else "failed")
    if isinstance(item.get("arguments"), dict) and item_type in _CALLS_WITH_TEXT:
        item["arguments"] = json.dumps(item["arguments"], separators=(",", ":"))
    return {**_DEFAULTS.get(item_type, {}), **item}


_CALLS_WITH_TEXT = frozenset({"function_call", "mcp_approval_request", "mcp_call"})
"""The calls whose arguments are a JSON text."""

_COMPLETED: JsonObject = {"status": "completed"}

_DEFAULTS: Mapping[str, JsonObject] = {
    "apply_patch_call": _COMPLETED,
    "code_interpreter_call": {**_COMPLETED, "code": None, "outputs": []},
    "computer_call": {**_COMPLETED, "pending_safety_checks": []},
    "file_search_call": {**_COMPLETED, "queries": []},
    "function_call": {"arguments": "{}"},
    "image_generation_call": {**_COMPLETED, "result": None},
    "local_shell_call": _COMPLETED,
    "mcp_approval_request": {"arguments": "{}"},
    "mcp_call": {"approval_request_id": None, "arguments": "{}", "error": None, "output": None},
    "program_output": _COMPLETED,
    "reasoning": {"summary": []},
    "web_search_call": _COMPLETED,
}
"""By the type of an item, fields that the API always shows, and that a script may leave out."""


def _type_name(value: object) -> str:
    return "None" if value is None else type(value).__name__
