"""The ASGI application: routes, keys, and how an answer goes out."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Collection
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
from openai_sessions.emulator._operations import Call, Operations
from openai_sessions.emulator._requests import EmulatedRequest, RequestLog
from openai_sessions.emulator._validation import parse_body

if TYPE_CHECKING:
    from starlette.requests import Request

Operation = Callable[[Call], JsonObject]


class Answering:
    """Turn requests into calls of operations, and their outcomes into answers.

    Only digests of keys are kept. With `api_keys=None` every key is accepted.
    """

    def __init__(self, *, api_keys: Collection[str] | None, log: RequestLog) -> None:
        self._owners = None if api_keys is None else frozenset(_digest(key) for key in api_keys)
        self._log = log

    def endpoint(self, operation: Operation) -> Callable[[Request], Any]:
        """Return the endpoint that answers with the outcome of the operation."""

        async def answer(request: Request) -> Response:
            started = time.monotonic()
            try:
                raw = await request.body()
            except ClientDisconnect:
                return Response()  # there is nobody left to answer
            body, outcome = self._outcome(request, raw=raw, operation=operation)
            return self._respond(request, body=body, outcome=outcome, started=started)

        return answer

    def _outcome(
        self, request: Request, *, raw: bytes, operation: Operation
    ) -> tuple[Any, JsonObject | ApiError]:
        body: Any = None
        try:
            owner = self._authenticate(request)
            body = parse_body(raw) if raw else None
            return body, operation(Call(owner, request.path_params, _query(request), body))
        except ApiError as error:
            return body, error

    async def unrouted(self, request: Request, error: Exception) -> Response:
        """Answer a request that no route takes: 404, or 405 where only the method is wrong."""
        wrong_method = isinstance(error, HTTPException) and error.status_code == 405
        describe = method_not_allowed if wrong_method else unknown_url
        outcome = describe(request.method, request.scope["path"])
        return self._respond(request, body=None, outcome=outcome, started=time.monotonic())

    def _authenticate(self, request: Request) -> str:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise missing_key()
        owner = _digest(key.strip())
        if self._owners is not None and owner not in self._owners:
            raise wrong_key()
        return owner

    def _respond(
        self, request: Request, *, body: Any, outcome: JsonObject | ApiError, started: float
    ) -> Response:
        status, content = (200, outcome) if isinstance(outcome, dict) else (outcome.status, outcome.body())
        self._log.append(
            EmulatedRequest(request.method, request.scope["path"], _query(request), body, status)
        )
        headers = {
            "openai-version": "2020-10-01",
            "openai-processing-ms": str(round((time.monotonic() - started) * 1000)),
            "x-request-id": f"req_{secrets.token_hex(16)}",
            **(outcome.headers if isinstance(outcome, ApiError) else {}),
        }
        return Response(
            json.dumps(content, indent=2), status_code=status, headers=headers, media_type="application/json"
        )


def build_app(operations: Operations, *, api_keys: Collection[str] | None, log: RequestLog) -> Starlette:
    """Return the application that serves the operations under `/v1`."""
    answering = Answering(api_keys=api_keys, log=log)
    conversations, conversation = "/v1/conversations", "/v1/conversations/{conversation_id}"
    items, item = f"{conversation}/items", f"{conversation}/items/{{item_id}}"
    table: tuple[tuple[str, str, Operation], ...] = (
        ("POST", conversations, operations.create_conversation),
        ("GET", conversation, operations.retrieve_conversation),
        ("POST", conversation, operations.update_conversation),
        ("DELETE", conversation, operations.delete_conversation),
        ("POST", items, operations.create_items),
        ("GET", items, operations.list_items),
        ("GET", item, operations.retrieve_item),
        ("DELETE", item, operations.delete_item),
    )
    routes = [
        Route(path, answering.endpoint(operation), methods=[method]) for method, path, operation in table
    ]
    app = Starlette(routes=routes, exception_handlers={404: answering.unrouted, 405: answering.unrouted})
    app.router.redirect_slashes = False
    return app


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _query(request: Request) -> dict[str, list[str]]:
    return {name: request.query_params.getlist(name) for name in request.query_params}
