"""The body of a request for a response: its fields, and what is checked of them.

Which fields there are is told by the openai package (3.54); that null stands for an absent field, save in
`model` and `input`, that `max_output_tokens` begins at 16, and the errors of a missing or empty `input`, by
published measurements of the API (August 2026).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from openai_sessions.emulator._conversations import list_body
from openai_sessions.emulator._errors import (
    ApiError,
    JsonObject,
    call_missing,
    duplicate_item,
    invalid_id,
    item_not_found,
    missing_parameter,
    nothing_to_answer,
    output_missing,
    previous_response_and_conversation,
    previous_response_not_found,
    response_not_found,
    unsupported_parameter,
)
from openai_sessions.emulator._items import (
    Addition,
    NewId,
    PageRequest,
    check_body,
    check_include,
    check_metadata,
    check_page,
    check_range,
    prepare_items,
    shown_item,
)
from openai_sessions.emulator._responses._events import (
    LAST_EVENTS,
    error_event,
    events_of,
    response_body,
    response_ids,
)
from openai_sessions.emulator._responses._scripts import ResponseRequest
from openai_sessions.emulator._schema import (
    FLAG,
    FREE_ARRAY,
    FREE_OBJECT,
    TEXT,
    TEXTS,
    Null,
    Shape,
    Value,
    conform_object,
    kind_of,
    wrong_type,
)
from openai_sessions.emulator._store import Page, Store

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence

    from openai_sessions.emulator._conversations import Call
    from openai_sessions.emulator._responses._scripts import Replies
    from openai_sessions.emulator._store import Store


_INTEGER = Value(("integer",))

_NUMBER = Value(("number",))

_OBJECTS = Value(("array",), elements=FREE_OBJECT)

_TIERS = ("auto", "default", "fast", "flex", "priority", "scale", "ultrafast")

_OPTIONAL: Mapping[str, Value] = {
    **dict.fromkeys(("background", "parallel_tool_calls", "store", "stream"), FLAG),
    **dict.fromkeys(("max_output_tokens", "max_tool_calls", "top_logprobs"), _INTEGER),
    **dict.fromkeys(("frequency_penalty", "presence_penalty", "temperature", "top_p"), _NUMBER),
    **dict.fromkeys(("previous_response_id", "prompt_cache_key", "safety_identifier", "user"), TEXT),
    **dict.fromkeys(
        ("access_programs", "background_options", "image", "metadata", "moderation"), FREE_OBJECT
    ),
    **dict.fromkeys(("prompt", "prompt_cache_options", "reasoning", "stream_options", "text"), FREE_OBJECT),
    "context_management": FREE_ARRAY,
    "conversation": Value(("string", "object"), shape=Shape(required={"id": TEXT})),
    "include": TEXTS,
    "instructions": TEXT,
    "prompt_cache_retention": Value(("string",), choices=("in_memory", "in-memory", "24h")),
    "service_tier": Value(("string",), choices=_TIERS),
    "tool_choice": Value(("string", "object"), choices=("none", "auto", "required")),
    "tools": _OBJECTS,
    "truncation": Value(("string",), choices=("auto", "disabled")),
}

_REQUEST = Shape(
    required={"model": Value(("string",), may_be_empty=False)},
    optional={name: value.nullable(null=Null.ABSENT) for name, value in _OPTIONAL.items()},
)

_KNOWN = ("input", *_REQUEST.required, *_REQUEST.optional)

_BOUNDS: Mapping[str, tuple[float, float]] = {
    "frequency_penalty": (-2, 2),
    "max_output_tokens": (16, float("inf")),
    "max_tool_calls": (1, float("inf")),
    "presence_penalty": (-2, 2),
    "temperature": (0, 2),
    "top_logprobs": (0, 20),
    "top_p": (0, 1),
}

_UNSUPPORTED = ("background", "moderation", "prompt")
"""What the emulator cannot do, and says so rather than do something else."""


def check_request(body: Any) -> JsonObject:
    """Return the body without nulls, its `input` as a list of items and its `conversation` as an id.

    Raises:
        ApiError: 400 for an unknown field, a missing or an ill-typed one, or one that asks for what the
            emulator does not do.
    """
    body = check_body(body, known=_KNOWN)
    if "model" in body and body["model"] is None:
        raise wrong_type(None, kinds=("string",), path="model")
    fields = {name: value for name, value in body.items() if name != "input"}
    request = conform_object(fields, to=_REQUEST, path="")
    for name in _UNSUPPORTED:
        if request.get(name):
            raise unsupported_parameter(name)
    _check_bounds(request)
    _check_tools(request.get("tools", ()))
    check_include({"include": request.get("include", [])})
    check_metadata(request.get("metadata"))
    if "conversation" in request:
        request["conversation"] = _checked_conversation(request["conversation"])
    return {**request, "input": _checked_input(body)}


def wants_stream(body: Any) -> bool:
    """Tell whether the body of a request asks for server-sent events."""
    return isinstance(body, dict) and body.get("stream") is True


def conversation_of(body: Any) -> str | None:
    """Return the id of the conversation that the unchecked body of a request names, if it names one."""
    named = body.get("conversation") if isinstance(body, dict) else None
    conversation_id = named.get("id") if isinstance(named, dict) else named
    return conversation_id if isinstance(conversation_id, str) else None


def _checked_conversation(named: str | JsonObject) -> str:
    conversation_id = str(named["id"] if isinstance(named, dict) else named)
    if not conversation_id.startswith("conv"):
        raise invalid_id("conversation", value=conversation_id, expectation="begins with 'conv'")
    return conversation_id


def _checked_input(body: JsonObject) -> list[Any]:
    if "input" not in body:
        raise missing_parameter("input")
    given = body["input"]
    if not isinstance(given, str | list):
        raise wrong_type(given, kinds=("string", "array"), path="input")
    if not given:
        if body.get("conversation") is None and body.get("previous_response_id") is None:
            raise nothing_to_answer()
        return []
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def _check_bounds(request: JsonObject) -> None:
    for name, (minimum, maximum) in _BOUNDS.items():
        if (value := request.get(name)) is not None:
            kind = "integer" if _OPTIONAL[name] is _INTEGER else "decimal"
            check_range(name, value, minimum=minimum, maximum=maximum, kind=kind)


def _check_tools(tools: Sequence[JsonObject]) -> None:
    for index, tool in enumerate(tools):
        path = f"tools[{index}]"
        _check_text(tool, "type", path=path)
        if tool["type"] in {"function", "custom"}:
            _check_text(tool, "name", path=path)


def _check_text(value: JsonObject, name: str, *, path: str) -> None:
    if name not in value:
        raise missing_parameter(f"{path}.{name}")
    if kind_of(value[name]) != "string":
        raise wrong_type(value[name], kinds=("string",), path=f"{path}.{name}")


_CALLS = {"function_call": "function call", "custom_tool_call": "custom tool call"}

_OUTPUTS = {"function_call_output": "function call", "custom_tool_call_output": "custom tool call"}
"""The types that belong together by their `call_id`, and how errors name them."""


def prepare_input(
    items: Sequence[Any], *, history: Sequence[JsonObject], new_id: NewId, accept_unknown_types: bool
) -> Addition:
    """Check the input of a response and bring it into the form in which items are listed.

    Args:
        items: The items of the request.
        history: What comes before them: all items of the conversation, or those of the previous response.
        new_id: Makes a fresh id from a prefix.
        accept_unknown_types: Whether items of other types than the public document's are taken as they come.

    Raises:
        ApiError: 400 for an item that is refused, one whose id is there already, a call without its output or
            an output without its call; 404 for a reference to what is not in the history.
    """
    try:
        addition = prepare_items(items, new_id=new_id, accept_unknown_types=accept_unknown_types)
    except ApiError as error:
        raise error.renamed("items", "input") from None
    _check_ids(addition, history=history)
    _check_calls([*history, *addition.items])
    return addition


def _check_ids(addition: Addition, *, history: Sequence[JsonObject]) -> None:
    known = {item["id"] for item in history}
    for referenced in addition.referenced:
        if referenced not in known:
            raise item_not_found(referenced)
    for item in addition.items:
        if item["id"] in known:
            raise duplicate_item(item["id"]).renamed("items", "input")
        known.add(item["id"])


def _check_calls(items: Iterable[JsonObject]) -> None:
    """Refuse what the API refuses: an output must follow its call, and every call must have one."""
    waiting: dict[tuple[str, Any], None] = {}
    called: set[tuple[str, Any]] = set()
    for item in items:
        call_id = item.get("call_id")
        if item["type"] in _CALLS:
            call = (_CALLS[item["type"]], call_id)
            called.add(call)
            waiting[call] = None
        elif item["type"] in _OUTPUTS:
            call = (_OUTPUTS[item["type"]], call_id)
            if call not in called:
                raise call_missing(call_id, kind=call[0])
            waiting.pop(call, None)
    for kind, call_id in waiting:
        raise output_missing(call_id, kind=kind)


_SCHEMA = """
CREATE TABLE IF NOT EXISTS responses (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    body TEXT NOT NULL,
    seen TEXT NOT NULL,
    input_items TEXT NOT NULL
);
"""

_ALL = PageRequest(limit=2**31, ascending=True)


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """A response, the items that it was made from, and those of them that its own request brought."""

    body: JsonObject
    seen: tuple[JsonObject, ...]
    input_items: tuple[JsonObject, ...]

    @property
    def history(self) -> tuple[JsonObject, ...]:
        """What a response that follows it begins with."""
        return (*self.seen, *self.body["output"])


class ResponseStore:
    """Keep responses; each key sees its own, and an unknown one raises the 404 of the API."""

    def __init__(self, store: Store) -> None:
        self._store = store
        with store.exclusive() as connection:
            connection.executescript(_SCHEMA)

    @contextmanager
    def held(self, conversation_id: str, *, owner: str) -> Iterator[tuple[JsonObject, ...]]:
        """Hold the conversation inside the block, and give its items: nobody else writes to it.

        Raises:
            ApiError: On entering, 404 for an unknown conversation, 400 for one that another writer holds.
        """
        with ExitStack() as stack:
            with self._store.writing(conversation_id):
                page = self._store.page(conversation_id, owner=owner, request=_ALL)
                stack.enter_context(self._store.locked(conversation_id))
            yield page.items

    def save(
        self, response: KeptResponse, *, owner: str, conversation_id: str | None, addition: Addition
    ) -> None:
        """Store the response if it is to be stored, and append to the conversation, both or neither."""
        with self._store.writing(None) as connection:
            if conversation_id is not None:
                self._store.conversation(conversation_id, owner=owner)
                self._store.append(conversation_id, addition)
            if response.body["store"]:
                self._insert(connection, response, owner=owner)

    def find(self, response_id: str, *, owner: str) -> KeptResponse | None:
        """Return the response, None for one that is unknown."""
        with self._store.exclusive() as connection:
            row = connection.execute(
                "SELECT body, seen, input_items FROM responses WHERE id = ? AND owner = ?",
                (response_id, owner),
            ).fetchone()
        if row is None:
            return None
        body, seen, input_items = map(json.loads, row)
        return KeptResponse(body, tuple(seen), tuple(input_items))

    def response(self, response_id: str, *, owner: str) -> KeptResponse:
        """Return the response; an unknown one raises the 404 of the API."""
        found = self.find(response_id, owner=owner)
        if found is None:
            raise response_not_found(response_id)
        return found

    def delete(self, response_id: str, *, owner: str) -> None:
        """Forget the response; what it added to a conversation stays there."""
        with self._store.writing(None) as connection:
            deleted = connection.execute(
                "DELETE FROM responses WHERE id = ? AND owner = ?", (response_id, owner)
            )
            if not deleted.rowcount:
                raise response_not_found(response_id)

    @staticmethod
    def _insert(connection: sqlite3.Connection, response: KeptResponse, *, owner: str) -> None:
        row = (json.dumps(response.body), json.dumps(response.seen), json.dumps(response.input_items))
        connection.execute(
            "INSERT INTO responses (id, owner, body, seen, input_items) VALUES (?, ?, ?, ?, ?)",
            (response.body["id"], owner, *row),
        )


def page_of(items: Sequence[JsonObject], request: PageRequest) -> Page:
    """Return the page of a list that is asked for.

    Raises:
        ApiError: 404 for a cursor that is none of the items.
    """
    ordered = list(items) if request.ascending else list(reversed(items))
    start = 0
    if request.after is not None:
        ids = [item["id"] for item in ordered]
        if request.after not in ids:
            raise item_not_found(request.after)
        start = ids.index(request.after) + 1
    shown = ordered[start:]
    return Page(tuple(shown[: request.limit]), has_more=len(shown) > request.limit)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A response that nobody has been told of yet, and what is written when it is complete."""

    kept: KeptResponse
    shown: JsonObject
    owner: str
    conversation_id: str | None
    addition: Addition
    delay: float
    obfuscated: bool


class ResponseStream:
    """A response on its way out: it is complete when its last event is asked for, and never if it is not.

    Attributes:
        delay: The seconds to wait after each event.
    """

    def __init__(self, draft: _Draft, *, complete: Callable[[], object], close: Callable[[], object]) -> None:
        self.delay = draft.delay
        self._draft = draft
        self._complete = complete
        self._close = close

    def events(self) -> Iterator[JsonObject]:
        """Yield all events; the response is completed, and the conversation free, before the last one."""
        for event in events_of(self._draft.shown, obfuscated=self._draft.obfuscated):
            if event["type"] in LAST_EVENTS:
                try:
                    self._complete()
                except ApiError as error:
                    yield error_event(error, number=event["sequence_number"])
                    return
                finally:
                    self._close()
            yield event

    def abandon(self) -> JsonObject:
        """Let it end before it is complete, and return the response object that it would have come to."""
        self._close()
        return self._draft.shown

    def close(self) -> None:
        """Let go of the conversation; once more is no error."""
        self._close()


class Responses:
    """Answer each operation on responses by script; what is refused raises `ApiError`."""

    def __init__(self, store: Store, replies: Replies, *, accept_unknown_types: bool = False) -> None:
        self._store = ResponseStore(store)
        self._replies = replies
        self._accept_unknown_types = accept_unknown_types

    def create(self, call: Call) -> JsonObject:
        """POST /responses, answered as a whole."""
        with self._drafted(call) as draft:
            self._complete(draft)
        return draft.shown

    def stream(self, call: Call) -> ResponseStream:
        """POST /responses with `stream`; the conversation is held until the stream is closed."""
        stack = ExitStack()
        draft = stack.enter_context(self._drafted(call))
        return ResponseStream(draft, complete=partial(self._complete, draft), close=stack.close)

    def retrieve(self, call: Call) -> JsonObject:
        """GET /responses/{id}."""
        if call.query.get("stream", ["false"])[-1] == "true":
            raise unsupported_parameter("stream")
        include = check_include(call.query)
        body = self._store.response(call.path["response_id"], owner=call.owner).body
        return _shown(body, include=include)

    def delete(self, call: Call) -> JsonObject:
        """DELETE /responses/{id}."""
        response_id = call.path["response_id"]
        self._store.delete(response_id, owner=call.owner)
        return {"id": response_id, "object": "response", "deleted": True}

    def list_input_items(self, call: Call) -> JsonObject:
        """GET /responses/{id}/input_items: what its own request brought, without what came before."""
        include = check_include(call.query)
        kept = self._store.response(call.path["response_id"], owner=call.owner)
        return list_body(page_of(kept.input_items, check_page(call.query)), include=include)

    @contextmanager
    def _drafted(self, call: Call) -> Iterator[_Draft]:
        request = check_request(call.body)
        conversation_id = request.get("conversation")
        previous_id = request.get("previous_response_id")
        if conversation_id is not None and previous_id is not None:
            raise previous_response_and_conversation()
        with (
            nullcontext(self._chained(previous_id, owner=call.owner))
            if conversation_id is None
            else self._store.held(conversation_id, owner=call.owner)
        ) as history:
            yield self._draft(request, history=history, owner=call.owner)

    def _chained(self, previous_id: str | None, *, owner: str) -> tuple[JsonObject, ...]:
        if previous_id is None:
            return ()
        previous = self._store.find(previous_id, owner=owner)
        if previous is None:
            raise previous_response_not_found(previous_id)
        return previous.history

    def _draft(self, request: JsonObject, *, history: tuple[JsonObject, ...], owner: str) -> _Draft:
        second = int(time.time())
        new_id = response_ids(second)
        given = prepare_input(
            request["input"],
            history=history,
            new_id=new_id,
            accept_unknown_types=self._accept_unknown_types,
        )
        seen = (*history, *given.items)
        conversation_id = request.get("conversation")
        answer = self._replies.answer(ResponseRequest(request, seen, conversation_id), new_id=new_id)
        body = response_body(request, response_id=new_id("resp"), second=second, seen=seen, answer=answer)
        complete = answer.status == "completed"
        return _Draft(
            kept=KeptResponse(body, seen, given.items),
            shown=_shown(body, include=frozenset(request.get("include", ()))),
            owner=owner,
            conversation_id=conversation_id if complete else None,
            addition=replace(given, items=(*given.items, *answer.output)),
            delay=answer.delay,
            obfuscated=request.get("stream_options", {}).get("include_obfuscation") is not False,
        )

    def _complete(self, draft: _Draft) -> None:
        self._store.save(
            draft.kept,
            owner=draft.owner,
            conversation_id=draft.conversation_id,
            addition=draft.addition,
        )


def _shown(body: JsonObject, *, include: frozenset[str]) -> JsonObject:
    return {**body, "output": [shown_item(item, include=include) for item in body["output"]]}
