"""Which requests a server on this machine answers: those for its own name, and from no other site's page.

A website that a developer visits can send requests to loopback addresses: across origins, or, with a name of
its own that resolves to loopback (DNS rebinding), as if both were of one origin. The first have a foreign
`Origin` header, the second a foreign `Host` header. Programs send no `Origin`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from openai_sessions.emulator import EmulatedRequest


class OwnNamesOnly:
    """Pass requests for the names of this server on to an application, and answer others with 403.

    Args:
        app: The application.
        host: A name that is accepted beside `localhost` and loopback addresses.
        remedy: What to do to serve other names.
        on_refused: Called with each refused request.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        remedy: str,
        on_refused: Callable[[EmulatedRequest], None] = lambda _: None,
    ) -> None:
        self._app = app
        self._names = {"localhost", host.lower()}
        self._remedy = remedy
        self._on_refused = on_refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        problem = self._why_foreign(Headers(scope=scope))
        if problem is None:
            await self._app(scope, receive, send)
            return
        self._on_refused(EmulatedRequest(scope["method"], scope["path"], {}, None, 403, None))
        message = (
            f"The request was refused: {problem}. Use 127.0.0.1, localhost or the name given as --host; "
            f"{self._remedy}."
        )
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
        response = JSONResponse({"error": error}, 403, headers={"x-content-type-options": "nosniff"})
        await response(scope, receive, send)

    def _why_foreign(self, headers: Headers) -> str | None:
        host = headers.get("host", "").lower()
        origin = headers.get("origin")
        name = _without_port(host)
        if name not in self._names and not is_loopback(name):
            return f"{host!r} is not a name of this server"
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            return f"it comes from a page of another site ({origin!r})"
        return None


def is_loopback(host: str) -> bool:
    """Return whether a host is a numeric loopback address."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit():
        host = name
    return host.strip("[]")
