"""The ASGI application: routes, keys, and how an answer goes out."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from openai_sessions.emulator._errors import (
    ApiError,
    JsonObject,
    method_not_allowed,
    missing_key,
    unknown_url,
    wrong_key,
)
from openai_sessions.emulator._fault_transport import JsonResponse, NoResponse
from openai_sessions.emulator._faults import Fault, FaultKind, FaultPlan, OperationName
from openai_sessions.emulator._late_commits import LateCommits
from openai_sessions.emulator._misbehaving import COURSES, Outcome
from openai_sessions.emulator._operations import Call, Operations
from openai_sessions.emulator._requests import EmulatedRequest, RequestLog
from openai_sessions.emulator._validation import parse_body

if TYPE_CHECKING:
    from starlette.requests import Request

Operation = Callable[[Call], JsonObject]


@dataclass(frozen=True, slots=True)
class Received:
    """A request that has come in whole; `operation` is None where no route takes it."""

    request: Request
    operation: OperationName | None = None
    body: Any = None
    unparsable: ApiError | None = None
    started: float = field(default_factory=time.monotonic)


class Answering:
    """Turn requests into calls of operations, and their outcomes into answers, or into faults.

    Only digests of keys are kept. With `api_keys=None` every key is accepted.
    """

    def __init__(
        self, *, api_keys: Collection[str] | None, log: RequestLog, faults: FaultPlan, late: LateCommits
    ) -> None:
        self._owners = None if api_keys is None else frozenset(_digest(key) for key in api_keys)
        self._log = log
        self._faults = faults
        self._late = late

    def endpoint(self, name: OperationName, operation: Operation) -> Callable[[Request], Any]:
        """Return the endpoint that answers with the outcome of the operation."""

        async def answer(request: Request) -> Response:
            try:
                received = _received(request, name, raw=await request.body())
            except ClientDisconnect:
                return Response()  # there is nobody left to answer
            fault = self._faults.draw(name, request.path_params.get("conversation_id"))
            if fault is not None:
                return self._misbehave(fault, received, operation)
            return self._respond(received, self._perform(received, operation))

        return answer

    async def unrouted(self, request: Request, error: Exception) -> Response:
        """Answer a request that no route takes: 404, or 405 where only the method is wrong."""
        wrong_method = isinstance(error, HTTPException) and error.status_code == 405
        describe = method_not_allowed if wrong_method else unknown_url
        return self._respond(Received(request), describe(request.method, request.scope["path"]))

    def _perform(self, received: Received, operation: Operation, *, stale: bool = False) -> Outcome:
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
        owner = _digest(key.strip())
        if self._owners is not None and owner not in self._owners:
            raise wrong_key()
        return owner

    def _misbehave(self, fault: Fault, received: Received, operation: Operation) -> Response:
        course = COURSES[fault.kind]
        perform = partial(self._perform, received, operation, stale=fault.kind == "stale_page")
        if fault.kind == "late_commit":
            self._late.schedule(perform, delay=fault.delay)
        outcome = course.answered(fault, perform() if course.performed else {})
        return self._respond(received, outcome, response=course.response, fault=fault.kind)

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
        headers = {
            "openai-version": "2020-10-01",
            "openai-processing-ms": str(round((time.monotonic() - received.started) * 1000)),
            "x-request-id": f"req_{secrets.token_hex(16)}",
            **(outcome.headers if isinstance(outcome, ApiError) else {}),
        }
        return response(content, status_code=status, headers=headers)

    def _remember(self, received: Received, *, status: int | None, fault: FaultKind | None) -> None:
        request = received.request
        path, query = request.scope["path"], _query(request)
        self._log.append(
            EmulatedRequest(request.method, path, query, received.body, status, received.operation, fault)
        )


def build_app(operations: Operations, answering: Answering) -> Starlette:
    """Return the application that serves the operations under `/v1`."""
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
    )
    routes = [
        Route(path, answering.endpoint(name, operation), methods=[method])
        for method, path, name, operation in table
    ]
    app = Starlette(routes=routes, exception_handlers={404: answering.unrouted, 405: answering.unrouted})
    app.router.redirect_slashes = False
    return app


def _received(request: Request, operation: OperationName, *, raw: bytes) -> Received:
    try:
        return Received(request, operation, parse_body(raw) if raw else None)
    except ApiError as error:
        return Received(request, operation, unparsable=error)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _query(request: Request) -> dict[str, list[str]]:
    return {name: request.query_params.getlist(name) for name in request.query_params}
