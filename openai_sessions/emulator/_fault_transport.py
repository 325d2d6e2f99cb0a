"""Answers that go wrong: real ones on a socket, the client library's errors in process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from openai_sessions.emulator._client import http_family
from openai_sessions.emulator._errors import JsonObject

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from openai_sessions.emulator._connection import Connection

_PAGE = b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body><h1>Welcome</h1></body></html>\n"


class JsonResponse(Response):
    """A whole answer in the layout of the API."""

    media_type = "application/json"

    def render(self, content: JsonObject) -> bytes:
        """Return the body."""
        return json.dumps(content, indent=2).encode()


class HtmlResponse(Response):
    """A page of HTML whatever the content, as from a proxy in between."""

    media_type = "text/html"

    def render(self, content: JsonObject) -> bytes:  # noqa: ARG002 - it is what gets lost
        """Return the body."""
        return _PAGE


class TruncatedResponse(JsonResponse):
    """Half of an answer. In process it is a `RemoteProtocolError`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send half of the body under the length of the whole."""
        connection = _connection(scope)
        if connection is None:
            raise http_family().RemoteProtocolError("the emulator ended the body too early")
        half = self.body[: len(self.body) // 2]
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": half, "more_body": True})
        connection.end()
        await _disconnected(receive)


class NoResponse(JsonResponse):
    """No answer at all."""


class ResetResponse(NoResponse):
    """The connection is reset. In process it is a `ReadError`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - see above
        """Reset the connection."""
        connection = _connection(scope)
        if connection is None:
            raise http_family().ReadError("the emulator cut the connection")
        connection.reset()
        await _disconnected(receive)


class StalledResponse(NoResponse):
    """The connection stays, and is silent. In process it is a `ReadTimeout` at once."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - see above
        """Wait for the other side to leave."""
        connection = _connection(scope)
        if connection is None:
            raise http_family().ReadTimeout("the emulator does not answer")
        connection.stall()
        await _disconnected(receive)


def _connection(scope: Scope) -> Connection | None:
    state: dict[str, Any] = scope.get("state", {})
    return state.get("connection")


async def _disconnected(receive: Receive) -> None:
    # Returning before the server has noticed would make it send a 500 of its own. The request has been
    # received whole, so that nothing but its end can come.
    await receive()
