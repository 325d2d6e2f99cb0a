"""What the emulator remembers of the requests that it has met."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from openai_sessions.emulator._conversations import Call, Operations
from openai_sessions.emulator._errors import (
    ApiError,
    JsonObject,
    method_not_allowed,
    missing_key,
    unknown_url,
    wrong_key,
)
from openai_sessions.emulator._faults import (
    COURSES,
    Fault,
    FaultKind,
    FaultPlan,
    JsonResponse,
    LateCommits,
    NoResponse,
    OperationName,
    Outcome,
)
from openai_sessions.emulator._items import parse_body
from openai_sessions.emulator._responses._events import STREAMED_FORMS, EventStream, TruncatedEventStream
from openai_sessions.emulator._responses._operations import (
    Responses,
    ResponseStream,
    conversation_of,
    wants_stream,
)
from openai_sessions.emulator._store import owner_of

if TYPE_CHECKING:
    from starlette.requests import Request


@dataclass(frozen=True, slots=True)
class EmulatedRequest:
    """One request, without its headers: no key is kept.

    It is remembered before its answer goes out, and before its connection is cut.

    Attributes:
        method: The HTTP method.
        path: The full path, `/v1/...`.
        query: Every value of each query parameter, in order.
        body: The parsed JSON body; None where there was none or it was not JSON.
        status: The HTTP status answered; None where a fault left the request without an answer.
        operation: Which of the API's operations it asked for, `create_items` for example; None for a URL or
            a method that is none of theirs.
        fault: The kind of the injected fault that it met, if any.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    body: Any
    status: int | None
    operation: str | None
    fault: str | None = None


class RequestLog:
    """Collect requests from any thread, in the order in which they were answered or met a fault."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._requests: list[EmulatedRequest] = []

    def append(self, request: EmulatedRequest) -> None:
        """Remember one more request."""
        with self._mutex:
            self._requests.append(request)

    def snapshot(self) -> tuple[EmulatedRequest, ...]:
        """Return all requests so far."""
        with self._mutex:
            return tuple(self._requests)

    def clear(self) -> None:
        """Forget all requests so far."""
        with self._mutex:
            self._requests.clear()


Operation = Callable[[Call], JsonObject]

StreamingOperation = Callable[[Call], ResponseStream]

Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class Received:
    """A request that has come in whole; `operation` is None where no route takes it."""

    request: Request
    operation: OperationName | None = None
    body: Any = None
    unparsable: ApiError | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def conversation_id(self) -> str | None:
        """The conversation that the path names, or else the body."""
        named: str | None = self.request.path_params.get("conversation_id")
        return conversation_of(self.body) if named is None else named


class Answering:
    """Turn requests into calls of operations, and their outcomes into answers, or into faults.

    Only digests of keys are kept. With `api_keys=None` every key is accepted.
    """

    def __init__(
        self, *, api_keys: Collection[str] | None, log: RequestLog, faults: FaultPlan, late: LateCommits
    ) -> None:
        self._owners = None if api_keys is None else frozenset(owner_of(key) for key in api_keys)
        self._log = log
        self._faults = faults
        self._late = late

    def endpoint(
        self, name: OperationName, operation: Operation, *, streamed: StreamingOperation | None = None
    ) -> Callable[[Request], Any]:
        """Return the endpoint that answers with the outcome of the operation, as a stream where asked to."""

        async def answer(request: Request) -> Response:
            try:
                received = _received(request, name, raw=await request.body())
            except ClientDisconnect:
                return Response()  # there is nobody left to answer
            fault = self._faults.draw(name, received.conversation_id)
            if streamed is not None and wants_stream(received.body):
                return self._stream(fault, received, operation, streamed)
            if fault is not None:
                return self._misbehave(fault, received, operation)
            return self._respond(received, self._perform(received, operation))

        return answer

    def _stream(
        self, fault: Fault | None, received: Received, operation: Operation, streamed: StreamingOperation
    ) -> Response:
        if fault is not None and fault.kind != "cut_mid_stream":
            return self._misbehave(fault, received, operation, forms=STREAMED_FORMS)
        kind = None if fault is None else fault.kind
        outcome = self._perform(received, streamed)
        if isinstance(outcome, ApiError):
            return self._respond(received, outcome, fault=kind)
        if fault is not None:
            return self._respond(received, outcome.abandon(), response=TruncatedEventStream, fault=kind)
        self._remember(received, status=200, fault=None)
        return EventStream(outcome, headers=_headers(received))

    async def unrouted(self, request: Request, error: Exception) -> Response:
        """Answer a request that no route takes: 404, or 405 where only the method is wrong."""
        wrong_method = isinstance(error, HTTPException) and error.status_code == 405
        describe = method_not_allowed if wrong_method else unknown_url
        return self._respond(Received(request), describe(request.method, request.scope["path"]))

    def _perform(
        self, received: Received, operation: Callable[[Call], Done], *, stale: bool = False
    ) -> Done | ApiError:
        request = received.request
        try:
            owner = self._authenticate(request)
            if received.unparsable is not None:
                raise received.unparsable
            return operation(Call(owner, request.path_params, _query(request), received.body, stale))
        except ApiError as error:
            return error

    def _authenticate(self, request: Request) -> str:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise missing_key()
        owner = owner_of(key.strip())
        if self._owners is not None and owner not in self._owners:
            raise wrong_key()
        return owner

    def _misbehave(
        self,
        fault: Fault,
        received: Received,
        operation: Operation,
        *,
        forms: Mapping[type[Response], type[Response]] = MappingProxyType({}),
    ) -> Response:
        """Answer as the fault has it; `forms` are other forms of answers of success than the usual ones."""
        course = COURSES[fault.kind]
        perform = partial(self._perform, received, operation, stale=fault.kind == "stale_page")
        if fault.kind == "late_commit":
            self._late.schedule(perform, delay=fault.delay)
        outcome = course.answered(fault, perform() if course.performed else {})
        usual = course.response
        response = usual if isinstance(outcome, ApiError) else forms.get(usual, usual)
        return self._respond(received, outcome, response=response, fault=fault.kind)

    def _respond(
        self,
        received: Received,
        outcome: Outcome,
        *,
        response: type[Response] = JsonResponse,
        fault: FaultKind | None = None,
    ) -> Response:
        status, content = (200, outcome) if isinstance(outcome, dict) else (outcome.status, outcome.body())
        self._remember(received, status=None if issubclass(response, NoResponse) else status, fault=fault)
        more = outcome.headers if isinstance(outcome, ApiError) else {}
        return response(content, status_code=status, headers={**_headers(received), **more})

    def _remember(self, received: Received, *, status: int | None, fault: FaultKind | None) -> None:
        request = received.request
        path, query = request.scope["path"], _query(request)
        self._log.append(
            EmulatedRequest(request.method, path, query, received.body, status, received.operation, fault)
        )


def build_app(operations: Operations, responses: Responses, answering: Answering) -> Starlette:
    """Return the application that serves the operations under `/v1`."""
    response = "/v1/responses/{response_id}"
    conversations, conversation = "/v1/conversations", "/v1/conversations/{conversation_id}"
    items, item = f"{conversation}/items", f"{conversation}/items/{{item_id}}"
    table: tuple[tuple[str, str, OperationName, Operation], ...] = (
        ("POST", conversations, "create_conversation", operations.create_conversation),
        ("GET", conversation, "retrieve_conversation", operations.retrieve_conversation),
        ("POST", conversation, "update_conversation", operations.update_conversation),
        ("DELETE", conversation, "delete_conversation", operations.delete_conversation),
        ("POST", items, "create_items", operations.create_items),
        ("GET", items, "list_items", operations.list_items),
        ("GET", item, "retrieve_item", operations.retrieve_item),
        ("DELETE", item, "delete_item", operations.delete_item),
        ("GET", response, "retrieve_response", responses.retrieve),
        ("DELETE", response, "delete_response", responses.delete),
        ("GET", f"{response}/input_items", "list_input_items", responses.list_input_items),
    )
    create = answering.endpoint("create_response", responses.create, streamed=responses.stream)
    routes = [
        Route("/v1/responses", create, methods=["POST"]),
        *(
            Route(path, answering.endpoint(name, operation), methods=[method])
            for method, path, name, operation in table
        ),
    ]
    app = Starlette(routes=routes, exception_handlers={404: answering.unrouted, 405: answering.unrouted})
    app.router.redirect_slashes = False
    return app


def _received(request: Request, operation: OperationName, *, raw: bytes) -> Received:
    try:
        return Received(request, operation, parse_body(raw) if raw else None)
    except ApiError as error:
        return Received(request, operation, unparsable=error)


def _headers(received: Received) -> dict[str, str]:
    return {
        "openai-version": "2020-10-01",
        "openai-processing-ms": str(round((time.monotonic() - received.started) * 1000)),
        "x-request-id": f"req_{secrets.token_hex(16)}",
    }


def _query(request: Request) -> dict[str, list[str]]:
    return {name: request.query_params.getlist(name) for name in request.query_params}
