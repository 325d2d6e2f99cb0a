"""The ASGI application: routes, authentication, the request log, and the response to each request."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from openai_sessions.emulator._conversations import ApiRequest, ConversationOperations
from openai_sessions.emulator._errors import (
    ApiError,
    JsonObject,
    method_not_allowed,
    missing_key,
    not_emulated,
    unknown_url,
    unparsable_form,
    wrong_key,
)
from openai_sessions.emulator._faults import (
    FAULT_EFFECTS,
    LATE_KINDS,
    STREAM_CUTS,
    ApiResponse,
    Fault,
    FaultKind,
    FaultPlan,
    LateCommits,
    NoResponse,
    OperationName,
    Outcome,
    TruncatedResponse,
)
from openai_sessions.emulator._files import FileOperations
from openai_sessions.emulator._items import parse_body
from openai_sessions.emulator._responses._events import CutEventStream, EventSource, EventStream
from openai_sessions.emulator._responses._operations import (
    ResponseOperations,
    conversation_of,
    wants_stream,
)
from openai_sessions.emulator._store import owner_of

if TYPE_CHECKING:
    from starlette.requests import Request

Operation = Callable[[ApiRequest], JsonObject | bytes]

StreamOperation = Callable[[ApiRequest], EventSource]

Result = TypeVar("Result")

USER_HEADER = "x-ms-user-identity"
"""The header of Azure's Foundry that names the user whose data a request sees."""


def build_app(
    conversations: ConversationOperations,
    responses: ResponseOperations,
    files: FileOperations,
    handler: RequestHandler,
) -> Starlette:
    """Return the application that serves all operations under `/v1`."""
    conversation, response = "/v1/conversations/{conversation_id}", "/v1/responses/{response_id}"
    items, item = f"{conversation}/items", f"{conversation}/items/{{item_id}}"
    file = "/v1/files/{file_id}"
    table: list[tuple[str, str, OperationName, Operation]] = [
        ("POST", "/v1/conversations", "create_conversation", conversations.create_conversation),
        ("GET", conversation, "retrieve_conversation", conversations.retrieve_conversation),
        ("POST", conversation, "update_conversation", conversations.update_conversation),
        ("DELETE", conversation, "delete_conversation", conversations.delete_conversation),
        ("POST", items, "create_items", conversations.create_items),
        ("GET", items, "list_items", conversations.list_items),
        ("GET", item, "retrieve_item", conversations.retrieve_item),
        ("DELETE", item, "delete_item", conversations.delete_item),
        ("POST", "/v1/responses", "create_response", responses.create),
        ("GET", response, "retrieve_response", responses.retrieve),
        ("DELETE", response, "delete_response", responses.delete),
        ("POST", f"{response}/cancel", "cancel_response", responses.cancel),
        ("GET", f"{response}/input_items", "list_input_items", responses.list_input_items),
        ("POST", "/v1/responses/input_tokens", "count_input_tokens", responses.count_input_tokens),
        ("POST", "/v1/responses/compact", "compact_response", responses.compact),
        ("POST", "/v1/files", "create_file", files.create),
        ("GET", "/v1/files", "list_files", files.list_all),
        ("GET", file, "retrieve_file", files.retrieve),
        ("GET", f"{file}/content", "retrieve_file_content", files.content),
        ("DELETE", file, "delete_file", files.delete),
    ]
    if handler.is_foundry:
        table.append(("GET", "/v1/conversations", "list_conversations", conversations.list_conversations))
    streams: dict[OperationName, StreamOperation] = {
        "create_response": responses.stream,
        "retrieve_response": responses.follow,
    }
    routes = [
        Route(path, handler.endpoint(name, operation, stream=streams.get(name)), methods=[method])
        for method, path, name, operation in table
    ]
    routes.append(Route("/v1/responses", handler.web_socket, methods=["GET"]))
    app = Starlette(routes=routes, exception_handlers={404: handler.unrouted, 405: handler.unrouted})
    app.router.redirect_slashes = False
    return app


@dataclass(frozen=True, slots=True)
class EmulatedRequest:
    """A request in the emulator's log, without its headers: API keys are not kept.

    It is logged before its response is sent, or its connection is reset.

    Attributes:
        method: The HTTP method.
        path: The full path, `/v1/...`.
        query: All values of each query parameter, in order.
        body: The parsed JSON body, or the fields of a form, with the names of files; None if it was empty or
            neither.
        status: The HTTP status of the response; None if a fault prevented the response.
        operation: The operation, `create_items` for example; None if the URL and method match none.
        fault: The kind of the injected fault, if any.
        events: The number of events of a streamed response, those that a fault cut off included; None for any
            other response.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    body: Any
    status: int | None
    operation: str | None
    fault: str | None = None
    events: int | None = None


class RequestLog:
    """The requests in the order of their responses and faults; usable from any thread."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._requests: list[EmulatedRequest] = []

    def append(self, request: EmulatedRequest) -> None:
        """Add a request."""
        with self._mutex:
            self._requests.append(request)

    def snapshot(self) -> tuple[EmulatedRequest, ...]:
        """Return all requests."""
        with self._mutex:
            return tuple(self._requests)

    def clear(self) -> None:
        """Remove all requests."""
        with self._mutex:
            self._requests.clear()


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A completely received request; `operation` is None if no route matches."""

    request: Request
    operation: OperationName | None = None
    body: Any = None
    body_error: ApiError | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @property
    def conversation_id(self) -> str | None:
        """The conversation in the path, or else in the body."""
        in_path: str | None = self.request.path_params.get("conversation_id")
        return conversation_of(self.body) if in_path is None else in_path

    @property
    def query(self) -> dict[str, list[str]]:
        """All values of each query parameter."""
        params = self.request.query_params
        return {name: params.getlist(name) for name in params}

    @property
    def wants_stream(self) -> bool:
        """Whether it requests server-sent events: in the query of a GET, else in the body."""
        if self.request.method == "GET":
            return self.query.get("stream", ["false"])[-1] == "true"
        return wants_stream(self.body)

    def response_headers(self) -> dict[str, str]:
        """Return the headers of every response of the API."""
        return {
            "openai-version": "2020-10-01",
            "openai-processing-ms": str(round((time.monotonic() - self.started) * 1000)),
            "x-request-id": f"req_{secrets.token_hex(16)}",
        }


class RequestHandler:
    """Turns requests into calls of operations, and their outcomes or faults into responses.

    Args:
        api_keys: The keys accepted; None accepts any. Only their digests are kept.
        is_foundry: Whether to do what only Azure's Foundry does.
        log: The log to which each request is added.
        faults: The faults that requests meet.
        late: The scheduler of late commits.
    """

    def __init__(
        self,
        *,
        api_keys: Collection[str] | None,
        is_foundry: bool,
        log: RequestLog,
        faults: FaultPlan,
        late: LateCommits,
    ) -> None:
        self.is_foundry = is_foundry
        self._owners = None if api_keys is None else frozenset(owner_of(key) for key in api_keys)
        self._log = log
        self._faults = faults
        self._late = late

    def endpoint(
        self, name: OperationName, operation: Operation, *, stream: StreamOperation | None
    ) -> Callable[[Request], Any]:
        """Return the endpoint of an operation; `stream` serves requests for server-sent events."""

        async def respond(request: Request) -> Response:
            try:
                received = await _received(request, name)
            except ClientDisconnect:
                return Response()  # no client is left to receive it
            fault = self._faults.draw(name, received.conversation_id)
            if stream is not None and received.wants_stream:
                return self._respond_with_stream(fault, received, operation, stream)
            if fault is not None:
                return self._respond_with_fault(fault, received, operation)
            return self._respond(received, self._perform(received, operation))

        return respond

    async def unrouted(self, request: Request, error: Exception) -> Response:
        """Answer a request that no route matches: 404, or 405 for a wrong method."""
        wrong_method = isinstance(error, HTTPException) and error.status_code == 405
        describe = method_not_allowed if wrong_method else unknown_url
        return self._respond(ReceivedRequest(request), describe(request.method, request.scope["path"]))

    async def web_socket(self, request: Request) -> Response:
        """Refuse a handshake: the request that opens a WebSocket connection is a GET."""
        return self._respond(ReceivedRequest(request), not_emulated("responses over a WebSocket"))

    def _respond_with_stream(
        self, fault: Fault | None, received: ReceivedRequest, operation: Operation, stream: StreamOperation
    ) -> Response:
        if fault is not None and fault.kind not in {*STREAM_CUTS, "truncated_body"}:
            return self._respond_with_fault(fault, received, operation)
        kind = None if fault is None else fault.kind
        outcome = self._perform(received, stream)
        if isinstance(outcome, ApiError):
            response_class = TruncatedResponse if kind == "truncated_body" else ApiResponse
            return self._respond(received, outcome, response_class=response_class, fault=kind)
        self._add_to_log(received, status=200, fault=kind, events=len(outcome.complete))
        if fault is None:
            return EventStream(outcome, headers=received.response_headers())
        return CutEventStream(
            outcome, fault, end=self._end_of_cut(outcome, fault), headers=received.response_headers()
        )

    def _end_of_cut(self, stream: EventSource, fault: Fault) -> Callable[[], object]:
        """Return what becomes of a response whose stream is cut."""
        if fault.kind == "cut_mid_stream":
            return stream.close
        finish = partial(_finish, stream)
        if fault.kind == "cut_mid_stream_late_commit":
            return partial(self._late.schedule, finish, delay=fault.delay)
        return finish

    def _respond_with_fault(self, fault: Fault, received: ReceivedRequest, operation: Operation) -> Response:
        effect = FAULT_EFFECTS[fault.kind]
        perform = partial(self._perform, received, operation, stale=fault.kind == "stale_page")
        if fault.kind in LATE_KINDS:
            self._late.schedule(perform, delay=fault.delay)
        outcome = effect.outcome(fault, perform() if effect.served else {})
        return self._respond(received, outcome, response_class=effect.response_class, fault=fault.kind)

    def _perform(
        self, received: ReceivedRequest, operation: Callable[[ApiRequest], Result], *, stale: bool = False
    ) -> Result | ApiError:
        try:
            owner = self._authenticate(received.request)
            if received.body_error is not None:
                raise received.body_error
            path = received.request.path_params
            return operation(
                ApiRequest(owner, path, received.query, received.body, stale, files=received.files)
            )
        except ApiError as error:
            return error

    def _authenticate(self, request: Request) -> str:
        key = self._key(request)
        owner = owner_of(key)
        if self._owners is not None and owner not in self._owners:
            raise wrong_key()
        user = request.headers.get(USER_HEADER) if self.is_foundry else None
        return owner_of(key, user=user) if user else owner

    def _key(self, request: Request) -> str:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and key.strip():
            return key.strip()
        if self.is_foundry and request.headers.get("api-key"):
            return request.headers["api-key"]
        raise missing_key()

    def _respond(
        self,
        received: ReceivedRequest,
        outcome: Outcome,
        *,
        response_class: type[Response] = ApiResponse,
        fault: FaultKind | None = None,
    ) -> Response:
        """Log the request and return its response, an instance of `response_class`."""
        headers = received.response_headers()
        status, content = 200, outcome
        if isinstance(outcome, ApiError):
            status, content = outcome.status, outcome.body()
            headers.update(outcome.headers)
        elif isinstance(outcome, bytes):
            headers["content-type"] = "application/octet-stream"
        self._add_to_log(
            received, status=None if issubclass(response_class, NoResponse) else status, fault=fault
        )
        return response_class(content, status_code=status, headers=headers)

    def _add_to_log(
        self,
        received: ReceivedRequest,
        *,
        status: int | None,
        fault: FaultKind | None,
        events: int | None = None,
    ) -> None:
        self._log.append(
            EmulatedRequest(
                received.request.method,
                received.request.scope["path"],
                received.query,
                received.body,
                status,
                received.operation,
                fault,
                events,
            )
        )


def _finish(stream: EventSource) -> None:
    with suppress(ApiError):  # no client is left to be told
        stream.finish()


async def _received(request: Request, operation: OperationName) -> ReceivedRequest:
    raw = await request.body()
    try:
        if operation == "create_file":
            fields, files = await _form(request)
            return ReceivedRequest(request, operation, fields, files=files)
        return ReceivedRequest(request, operation, parse_body(raw) if raw else None)
    except ApiError as error:
        return ReceivedRequest(request, operation, body_error=error)


async def _form(request: Request) -> tuple[dict[str, str], dict[str, bytes]]:
    """Return the fields of a form, with the names of files in place of their contents, and the contents."""
    try:
        async with request.form() as form:
            uploads = {name: value for name, value in form.items() if isinstance(value, UploadFile)}
            texts = {name: value for name, value in form.items() if isinstance(value, str)}
            names = {name: upload.filename or "" for name, upload in uploads.items()}
            return {**texts, **names}, {name: await upload.read() for name, upload in uploads.items()}
    except HTTPException as error:
        raise unparsable_form(error.detail) from None
