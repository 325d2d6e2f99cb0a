"""The operations on responses: a reply, put out and added to the conversation when it is complete."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from openai_sessions.emulator._errors import ApiError, JsonObject
from openai_sessions.emulator._items import Addition, shown_item
from openai_sessions.emulator._operations import list_body
from openai_sessions.emulator._responses._body import response_body, response_ids
from openai_sessions.emulator._responses._errors import (
    previous_response_and_conversation,
    previous_response_not_found,
    unsupported_parameter,
)
from openai_sessions.emulator._responses._events import LAST_EVENTS, error_event, events_of
from openai_sessions.emulator._responses._input import prepare_input
from openai_sessions.emulator._responses._request import ResponseRequest
from openai_sessions.emulator._responses._schema import check_request
from openai_sessions.emulator._responses._store import KeptResponse, ResponseStore, page_of
from openai_sessions.emulator._validation import check_include, check_page

if TYPE_CHECKING:
    from openai_sessions.emulator._operations import Call
    from openai_sessions.emulator._responses._replies import Replies
    from openai_sessions.emulator._store import Store


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
