"""The operations on responses: from an authenticated request to the response object, or to its stream.

Sources: the fields of a request are those of the openai package (3.54). Published measurements of the API
(August 2026) show that null counts as a missing field, except in `model` and `input`, that the minimum of
`max_output_tokens` is 16, and the errors for a missing or empty `input`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from openai_sessions.emulator._conversations import list_body
from openai_sessions.emulator._errors import (
    ApiError,
    JsonObject,
    approval_missing,
    approval_request_missing,
    background_without_store,
    call_missing,
    duplicate_item,
    following_missing,
    invalid_id,
    missing_parameter,
    no_input,
    not_cancellable,
    not_found,
    not_streamable,
    output_missing,
    previous_response_and_conversation,
    previous_response_not_found,
    still_running,
)
from openai_sessions.emulator._items import (
    Addition,
    NewId,
    PageRequest,
    check_body,
    check_include,
    check_integer,
    check_metadata,
    check_page,
    prepare_items,
    shown_item,
)
from openai_sessions.emulator._responses._background import BackgroundRun, StoredResponse
from openai_sessions.emulator._responses._compaction import (
    compact_threshold,
    compacted,
    compaction_item,
    replaceable,
    since_compaction,
)
from openai_sessions.emulator._responses._events import (
    ResponseStream,
    input_tokens,
    response_body,
    response_ids,
    usage_of,
)
from openai_sessions.emulator._responses._formats import check_format
from openai_sessions.emulator._responses._scripts import ResponseRequest
from openai_sessions.emulator._schema import (
    ITEM_TYPES,
    OUTPUT_TYPES,
    REQUESTS,
    conform_object,
    wrong_type,
)
from openai_sessions.emulator._store import page_of

if TYPE_CHECKING:
    import sqlite3

    from openai_sessions.emulator._conversations import ApiRequest
    from openai_sessions.emulator._responses._background import BackgroundResponses
    from openai_sessions.emulator._responses._events import EventSource
    from openai_sessions.emulator._responses._scripts import Answer, Replies
    from openai_sessions.emulator._store import Store


class ResponseOperations:
    """The operations on responses; a refused request raises `ApiError`."""

    def __init__(
        self,
        store: ResponseStore,
        replies: Replies,
        background: BackgroundResponses,
        *,
        accept_unknown_types: bool = False,
    ) -> None:
        self._store = store
        self._replies = replies
        self._background = background
        self._accept_unknown_types = accept_unknown_types

    def create(self, request: ApiRequest) -> JsonObject:
        """POST /responses."""
        if _in_background(request.body):
            return self._started(request).queued
        with self._drafted(request) as draft:
            self._save(draft)
        return draft.shown

    def stream(self, request: ApiRequest) -> EventSource:
        """POST /responses with `stream`; the conversation is locked until the response ends."""
        if _in_background(request.body):
            return self._started(request).follow(after=-1)
        _, stream = self._opened(request)
        return stream

    def retrieve(self, request: ApiRequest) -> JsonObject:
        """GET /responses/{id}."""
        include = check_include(request.query)
        return _shown(self._current(request).body, include=include)

    def follow(self, request: ApiRequest) -> EventSource:
        """GET /responses/{id} with `stream`: the events of a background response."""
        after = check_integer(request.query, "starting_after")
        stored = self._current(request)
        if not stored.body["background"]:
            raise not_streamable("background=true")
        run = self._background.find(request.response_id, owner=request.owner)
        if run is None or not run.is_streamed:
            raise not_streamable("stream=true or the stream TTL has expired")
        obfuscated = request.query.get("include_obfuscation", ["true"])[-1] != "false"
        return run.follow(after=-1 if after is None else after, obfuscated=obfuscated)

    def cancel(self, request: ApiRequest) -> JsonObject:
        """POST /responses/{id}/cancel; a cancelled response can be cancelled again."""
        run = self._background.find(request.response_id, owner=request.owner)
        if run is not None:
            run.cancel()
        body = self._store.response(request.response_id, owner=request.owner).body
        if not body["background"]:
            raise not_cancellable("synchronous")
        if body["status"] != "cancelled":
            raise not_cancellable(body["status"])
        return body

    def delete(self, request: ApiRequest) -> JsonObject:
        """DELETE /responses/{id}."""
        run = self._background.find(request.response_id, owner=request.owner)
        if run is not None and run.state() is not None:
            raise still_running()
        self._store.delete(request.response_id, owner=request.owner)
        self._background.forget(request.response_id, owner=request.owner)
        return {"id": request.response_id, "object": "response", "deleted": True}

    def list_input_items(self, request: ApiRequest) -> JsonObject:
        """GET /responses/{id}/input_items: the input of its own request, without earlier items."""
        include = check_include(request.query)
        stored = self._current(request)
        return list_body(page_of(stored.input_items, check_page(request.query)), include=include)

    def count_input_tokens(self, request: ApiRequest) -> JsonObject:
        """POST /responses/input_tokens: the `usage.input_tokens` of a response to the same input."""
        body = check_count(request.body)
        history = self._history(body, owner=request.owner)
        given = prepare_input(
            body["input"],
            history=history,
            new_id=response_ids(int(time.time())),
            accept_unknown_types=self._accept_unknown_types,
        )
        tokens = input_tokens(body, seen=(*since_compaction(history), *given.items))
        return {"object": "response.input_tokens", "input_tokens": tokens}

    def compact(self, request: ApiRequest) -> JsonObject:
        """POST /responses/compact: the messages of the user, and one item that replaces all others."""
        body = check_compaction(request.body)
        history = self._history(body, owner=request.owner)
        second = int(time.time())
        new_id = response_ids(second)
        given = prepare_input(
            body["input"],
            history=history,
            new_id=new_id,
            accept_unknown_types=self._accept_unknown_types,
        )
        seen = (*history, *given.items)
        output = compacted(seen, new_id=new_id)
        return {
            "id": new_id("resp"),
            "object": "response.compaction",
            "created_at": second,
            "output": list(output),
            "usage": usage_of(body, seen=seen, output=output[-1:]),
        }

    def _history(self, body: JsonObject, *, owner: str) -> tuple[JsonObject, ...]:
        """Return the items before the input of a request, without a lock."""
        conversation_id, previous_id = conversation_and_previous(body)
        if conversation_id is None:
            return self._chained(previous_id, owner=owner)
        return self._store.items(conversation_id, owner=owner)

    def _current(self, request: ApiRequest) -> StoredResponse:
        """Return the response as it is stored, or as it is while it runs in the background."""
        run = self._background.find(request.response_id, owner=request.owner)
        state = None if run is None else run.state()
        if run is None or state is None:
            return self._store.response(request.response_id, owner=request.owner)
        return replace(run.stored, body=state)

    def _opened(self, request: ApiRequest) -> tuple[_Draft, ResponseStream]:
        stack = ExitStack()
        draft = stack.enter_context(self._drafted(request))
        return draft, ResponseStream(
            draft.shown,
            delay=draft.delay,
            obfuscated=draft.obfuscated,
            save=partial(self._save, draft),
            release=stack.close,
        )

    def _started(self, request: ApiRequest) -> BackgroundRun:
        draft, stream = self._opened(request)
        return self._background.start(
            BackgroundRun(
                draft.stored,
                stream,
                store=partial(self._store_alone, draft),
                is_streamed=wants_stream(request.body),
                responses=self._background,
            ),
            owner=request.owner,
        )

    def _store_alone(self, draft: _Draft, body: JsonObject) -> None:
        """Store another end of the response, which adds nothing to its conversation."""
        stored = replace(draft.stored, body=body)
        self._store.save(stored, owner=draft.owner, conversation_id=None, addition=draft.addition)

    @contextmanager
    def _drafted(self, request: ApiRequest) -> Iterator[_Draft]:
        body = check_request(request.body)
        conversation_id, previous_id = conversation_and_previous(body)
        with (
            nullcontext(self._chained(previous_id, owner=request.owner))
            if conversation_id is None
            else self._store.locked(conversation_id, owner=request.owner)
        ) as history:
            yield self._draft(body, history=history, owner=request.owner)

    def _chained(self, previous_id: str | None, *, owner: str) -> tuple[JsonObject, ...]:
        if previous_id is None:
            return ()
        previous = self._store.find(previous_id, owner=owner)
        if previous is None:
            raise previous_response_not_found(previous_id)
        return previous.history

    def _draft(self, body: JsonObject, *, history: tuple[JsonObject, ...], owner: str) -> _Draft:
        second = int(time.time())
        new_id = response_ids(second)
        given = prepare_input(
            body["input"], history=history, new_id=new_id, accept_unknown_types=self._accept_unknown_types
        )
        seen = (*since_compaction(history), *given.items)
        conversation_id = body.get("conversation")
        answer = self._answered(body, seen=seen, conversation_id=conversation_id, new_id=new_id)
        response = response_body(body, response_id=new_id("resp"), second=second, seen=seen, answer=answer)
        return _Draft(
            stored=StoredResponse(response, (*history, *given.items), given.items),
            shown=_shown(response, include=frozenset(body.get("include", ()))),
            owner=owner,
            conversation_id=conversation_id if answer.status == "completed" else None,
            addition=replace(given, items=(*given.items, *answer.output)),
            delay=answer.delay,
            obfuscated=body.get("stream_options", {}).get("include_obfuscation") is not False,
        )

    def _answered(
        self, body: JsonObject, *, seen: tuple[JsonObject, ...], conversation_id: str | None, new_id: NewId
    ) -> Answer:
        """Return the answer to what a model is shown, with a compaction item if that exceeds the threshold.

        The item is the first of the output if the input exceeds it, and the last if the answer does, unless
        that ends with a call, whose output is to follow.
        """
        threshold = compact_threshold(body)
        if threshold is None:
            return self._replies.answer(ResponseRequest(body, seen, conversation_id), new_id=new_id)
        tokens = input_tokens(body, seen=seen)
        before: tuple[JsonObject, ...] = ()
        shown = seen
        if tokens > threshold:
            replaced, kept = replaceable(seen)
            before = (compaction_item(replaced, new_id=new_id),)
            shown = (*before, *kept)
        answer = self._replies.answer(ResponseRequest(body, shown, conversation_id), new_id=new_id)
        after: tuple[JsonObject, ...] = ()
        is_over = tokens + input_tokens({}, seen=answer.output) > threshold
        if is_over and not before and answer.output and answer.output[-1]["type"] == "message":
            after = (compaction_item((*seen, *answer.output), new_id=new_id),)
        return replace(answer, output=(*before, *answer.output, *after))

    def _save(self, draft: _Draft) -> None:
        self._store.save(
            draft.stored,
            owner=draft.owner,
            conversation_id=draft.conversation_id,
            addition=draft.addition,
        )


def _shown(response: JsonObject, *, include: frozenset[str]) -> JsonObject:
    return {**response, "output": [_shown_output(item, include=include) for item in response["output"]]}


def _shown_output(item: JsonObject, *, include: frozenset[str]) -> JsonObject:
    """Return an item of the output: unlike a listed item, a file search without results has the field."""
    shown = shown_item(item, include=include)
    return {"results": None, **shown} if item["type"] == "file_search_call" else shown


@dataclass(frozen=True, slots=True)
class _Draft:
    """A response that is not saved yet, and what saving it adds to the conversation."""

    stored: StoredResponse
    shown: JsonObject
    owner: str
    conversation_id: str | None
    addition: Addition
    delay: float
    obfuscated: bool


_REQUEST = REQUESTS["response"]

_KNOWN = ("input", *_REQUEST.required, *_REQUEST.optional)


def check_request(body: Any) -> JsonObject:
    """Return the body without nulls, with `input` as a list of items and `conversation` as an id.

    Raises:
        ApiError: 400 for an unknown, missing or wrongly typed field.
    """
    body = check_body(body, known=_KNOWN)
    if "model" in body and body["model"] is None:
        raise wrong_type(None, kinds=("string",), path="model")
    fields = {name: value for name, value in body.items() if name != "input"}
    request = conform_object(fields, to=_REQUEST, path="")
    if "model" not in request and "prompt" not in request:
        raise missing_parameter("model")
    if request.get("background") and request.get("store") is False:
        raise background_without_store()
    check_format(request)
    check_metadata(request.get("metadata"))
    if "conversation" in request:
        request["conversation"] = _checked_conversation(request["conversation"])
    return {**request, "input": _checked_input(body)}


_COUNTED = ("input", *REQUESTS["count"].optional)
"""The parameters of a request for a count. The API documents all of them as optional."""


def check_count(body: Any) -> JsonObject:
    """Return the body of a request for a count, as `check_request` returns that of a response.

    Raises:
        ApiError: 400 for an unknown, missing or wrongly typed field.
    """
    given = {name: value for name, value in check_body(body, known=_COUNTED).items() if value is not None}
    alone = {name: given.pop(name) for name in list(given) if name not in _KNOWN}
    conform_object(alone, to=REQUESTS["count"], path="")
    checked = check_request({"model": "any", "input": "none", **given})  # which a response must have
    return checked if "input" in given else {**checked, "input": []}


_COMPACTED = ("input", *REQUESTS["compaction"].required, *REQUESTS["compaction"].optional)
"""The parameters of a request for a compaction."""


def check_compaction(body: Any) -> JsonObject:
    """Return the body of a request for a compaction, as `check_request` returns that of a response.

    Raises:
        ApiError: 400 for an unknown, missing or wrongly typed field, or a request without any items.
    """
    given = {name: value for name, value in check_body(body, known=_COMPACTED).items() if value is not None}
    return check_request({"input": [], **given})


def conversation_and_previous(body: JsonObject) -> tuple[str | None, str | None]:
    """Return the ids of the conversation and of the previous response in a checked body: one at most."""
    conversation_id, previous_id = body.get("conversation"), body.get("previous_response_id")
    if conversation_id is not None and previous_id is not None:
        raise previous_response_and_conversation()
    return conversation_id, previous_id


def _checked_conversation(given: str | JsonObject) -> str:
    conversation_id = str(given["id"] if isinstance(given, dict) else given)
    if not conversation_id.startswith("conv"):
        raise invalid_id("conversation", value=conversation_id, expectation="begins with 'conv'")
    return conversation_id


def _checked_input(body: JsonObject) -> list[Any]:
    has_prompt = body.get("prompt") is not None
    if "input" not in body and not has_prompt:
        raise missing_parameter("input")
    given = body.get("input", [])
    if not isinstance(given, str | list):
        raise wrong_type(given, kinds=("string", "array"), path="input")
    if not given:
        if not has_prompt and body.get("conversation") is None and body.get("previous_response_id") is None:
            raise no_input()
        return []
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def wants_stream(body: Any) -> bool:
    """Return whether an unchecked body requests server-sent events."""
    return isinstance(body, dict) and body.get("stream") is True


def _in_background(body: Any) -> bool:
    """Return whether an unchecked body requests a background response."""
    return isinstance(body, dict) and body.get("background") is True


def conversation_of(body: Any) -> str | None:
    """Return the conversation id in an unchecked body, if any."""
    given = body.get("conversation") if isinstance(body, dict) else None
    conversation_id = given.get("id") if isinstance(given, dict) else given
    return conversation_id if isinstance(conversation_id, str) else None


def prepare_input(
    items: Sequence[Any], *, history: Sequence[JsonObject], new_id: NewId, accept_unknown_types: bool
) -> Addition:
    """Check the input of a response and return its items in stored form.

    Args:
        items: The items of the request.
        history: The earlier items: those of the conversation, or of the previous response.
        new_id: Returns a new id with the given prefix.
        accept_unknown_types: Whether items of unknown types are accepted as given.

    Raises:
        ApiError: 400 for an invalid item, a known id, a call without its output, an output without its call,
            the same of approvals, or reasoning without what follows it; 404 for a reference to an unknown
            item.
    """
    try:
        completed = [_completed(item, new_id) for item in items]
        addition = prepare_items(completed, new_id=new_id, accept_unknown_types=accept_unknown_types)
    except ApiError as error:
        raise error.renamed("items", "input") from None
    _check_ids(addition, history=history)
    seen = [*history, *addition.items]
    _check_calls(seen)
    _check_approvals(seen)
    _check_reasoning(seen)
    return addition


def _completed(item: Any, new_id: NewId) -> Any:
    """Return an item with what the input of a response may leave out: the items of a conversation may not.

    That is the id of a local shell's output, and the status and the image of a call.
    """
    item_type = item.get("type") if isinstance(item, dict) else None
    if item_type == "local_shell_call_output" and "id" not in item:
        return {**item, "id": new_id(ITEM_TYPES[item_type].prefix)}
    if not isinstance(item_type, str) or not item_type.endswith("_call") or item_type not in ITEM_TYPES:
        return item
    required = ITEM_TYPES[item_type].shape.required
    defaults = {name: value for name, value in _CALL_DEFAULTS.items() if name in required}
    given = {name: value for name, value in item.items() if name != "status" or value is not None}
    return {**defaults, **given}


_CALL_DEFAULTS = {"status": "completed", "result": None}


def _check_ids(addition: Addition, *, history: Sequence[JsonObject]) -> None:
    known = {item["id"] for item in history}
    for referenced in addition.referenced:
        if referenced not in known:
            raise not_found("Item", referenced)
    for item in addition.items:
        if item["id"] in known:
            raise duplicate_item(item["id"]).renamed("items", "input")
        known.add(item["id"])


_CALLS = {
    "function_call": "function call",
    "custom_tool_call": "custom tool call",
    "computer_call": "computer call",
    "local_shell_call": "local shell call",
    "shell_call": "shell call",
    "apply_patch_call": "apply patch call",
    "tool_search_call": "tool search call",
}
"""The calls that need an output with their `call_id`, and their names in errors."""

_OUTPUTS = {
    "tool_search_output": "tool_search_call",
    **{f"{call}_output": call for call in _CALLS if call != "tool_search_call"},
}
"""The types of outputs, with those of their calls."""


def _check_calls(items: Iterable[JsonObject]) -> None:
    """Check, as the API does, that each output follows its call and that each call has an output."""
    waiting: dict[tuple[str, Any], None] = {}
    called: set[tuple[str, Any]] = set()
    for item in items:
        item_type = item["type"]
        if item_type in _CALLS:
            call = (item_type, item.get("call_id"))
            called.add(call)
            if not _is_hosted(item):
                waiting[call] = None
        elif item_type in _OUTPUTS and not _is_hosted(item):
            # The API documents the output of a local shell with the id of its call instead.
            call_id = item.get("call_id", item["id"])
            answered = [call for call in _answerable(item_type, call_id) if call in called]
            if not answered:
                raise call_missing(call_id, kind=_CALLS[_OUTPUTS[item_type]])
            waiting.pop(answered[0], None)
    for item_type, call_id in waiting:
        raise output_missing(call_id, kind=_CALLS[item_type])


def _answerable(item_type: str, call_id: Any) -> tuple[tuple[str, Any], ...]:
    """Return the calls that an output may answer: that of a function, a tool search by the client too."""
    others = (("tool_search_call", call_id),) if item_type == "function_call_output" else ()
    return ((_OUTPUTS[item_type], call_id), *others)


def _is_hosted(item: JsonObject) -> bool:
    """Return whether the API makes the output: of a search by the API, or of a shell in a container."""
    if item["type"] in {"tool_search_call", "tool_search_output"}:
        return item.get("execution") != "client"
    environment = item.get("environment") or {}
    return bool(item["type"] == "shell_call" and environment.get("type", "local") != "local")


def _check_approvals(items: Iterable[JsonObject]) -> None:
    """Check that each approval answers a request, and that each request is answered."""
    waiting: dict[str, None] = {}
    for item in items:
        if item["type"] == "mcp_approval_request":
            waiting[item["id"]] = None
        elif item["type"] == "mcp_approval_response":
            if item["approval_request_id"] not in waiting:
                raise approval_request_missing(item["approval_request_id"])
            del waiting[item["approval_request_id"]]
    if waiting:
        raise approval_missing(tuple(waiting))


def _check_reasoning(items: Sequence[JsonObject]) -> None:
    """Check that output of the model follows its reasoning."""
    for item, following in zip_longest(items, items[1:]):
        if item["type"] == "reasoning" and not _is_output(following):
            raise following_missing(item["id"])


def _is_output(item: JsonObject | None) -> bool:
    return item is not None and item["type"] in OUTPUT_TYPES and item.get("role", "assistant") == "assistant"


_SCHEMA = """
CREATE TABLE IF NOT EXISTS responses (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    body TEXT NOT NULL,
    seen TEXT NOT NULL,
    input_items TEXT NOT NULL
);
"""

_ALL_ITEMS = PageRequest(limit=2**31, ascending=True)


class ResponseStore:
    """The stored responses, in the database of a `Store`; each key sees its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        with store.exclusive() as connection:
            connection.executescript(_SCHEMA)

    def items(self, conversation_id: str, *, owner: str) -> tuple[JsonObject, ...]:
        """Return the items of the conversation; an unknown one raises the API's 404."""
        return self._store.page(conversation_id, owner=owner, request=_ALL_ITEMS).items

    @contextmanager
    def locked(self, conversation_id: str, *, owner: str) -> Iterator[tuple[JsonObject, ...]]:
        """Lock the conversation for other writers inside the block, and yield its items.

        Raises:
            ApiError: On entering, 404 for an unknown conversation, 400 for one that is locked already.
        """
        with ExitStack() as stack:
            with self._store.writing(conversation_id):
                items = self.items(conversation_id, owner=owner)
                stack.enter_context(self._store.locked(conversation_id))
            yield items

    def save(
        self, response: StoredResponse, *, owner: str, conversation_id: str | None, addition: Addition
    ) -> None:
        """Store the response unless `store` is false, and append to the conversation: both or neither."""
        with self._store.writing(None) as connection:
            if conversation_id is not None:
                self._store.conversation(conversation_id, owner=owner)
                self._store.append(conversation_id, addition)
            if response.body["store"]:
                self._insert(connection, response, owner=owner)

    def find(self, response_id: str, *, owner: str) -> StoredResponse | None:
        """Return the response, or None if it is unknown."""
        with self._store.exclusive() as connection:
            row = connection.execute(
                "SELECT body, seen, input_items FROM responses WHERE id = ? AND owner = ?",
                (response_id, owner),
            ).fetchone()
        if row is None:
            return None
        body, seen, input_items = map(json.loads, row)
        return StoredResponse(body, tuple(seen), tuple(input_items))

    def response(self, response_id: str, *, owner: str) -> StoredResponse:
        """Return the response; an unknown one raises the API's 404."""
        found = self.find(response_id, owner=owner)
        if found is None:
            raise not_found("Response", response_id)
        return found

    def all(self) -> tuple[JsonObject, ...]:
        """Return the responses of all keys, oldest first."""
        with self._store.exclusive() as connection:
            rows = connection.execute("SELECT body FROM responses ORDER BY rowid").fetchall()
        return tuple(json.loads(body) for (body,) in rows)

    def delete(self, response_id: str, *, owner: str) -> None:
        """Delete the response, but not the items it added to a conversation."""
        with self._store.writing(None) as connection:
            deleted = connection.execute(
                "DELETE FROM responses WHERE id = ? AND owner = ?", (response_id, owner)
            )
            if not deleted.rowcount:
                raise not_found("Response", response_id)

    @staticmethod
    def _insert(connection: sqlite3.Connection, response: StoredResponse, *, owner: str) -> None:
        row = (json.dumps(response.body), json.dumps(response.seen), json.dumps(response.input_items))
        connection.execute(
            "INSERT INTO responses (id, owner, body, seen, input_items) VALUES (?, ?, ?, ?, ?)",
            (response.body["id"], owner, *row),
        )
