"""Where a server listens: one address, resolved once, and whether only this machine reaches it."""

from __future__ import annotations

import hmac
import ipaddress
import json
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openai_sessions.cli._errors import CommandError
from openai_sessions.emulator import Contents, EmulatedRequest, Emulator, StoredConversation
from openai_sessions.emulator._server import listening


@dataclass(frozen=True, slots=True)
class Address:
    """A numeric address of this machine."""

    family: socket.AddressFamily
    host: str

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine reach it."""
        return is_loopback(self.host)

    def url(self, port: int) -> str:
        """Return the URL of the server, without a slash at its end."""
        reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        host = f"[{reachable}]" if self.family == socket.AF_INET6 else reachable
        return f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Tell whether a host is a numeric address of loopback."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def resolve(host: str) -> Address:
    """Return the one address that is judged and then bound, so that a name cannot change in between.

    Raises:
        CommandError: The host has no address.
    """
    try:
        found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise CommandError(f"No address was found for {host}.", exit_code=2) from error
    addresses = [Address(family, str(where[0])) for family, _, _, _, where in found]
    return min(addresses, key=lambda address: address.family != socket.AF_INET)


def listen(address: Address, port: int) -> socket.socket:
    """Return a socket that listens there.

    Raises:
        CommandError: The port is taken, or the address is not this machine's.
    """
    try:
        return listening(address.host, port)
    except OSError as error:
        reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
        raise CommandError(f"Port {port} of {address.host}: {reason}.", exit_code=1) from error


KEPT = 200
"""How many requests are kept."""


@dataclass(frozen=True, slots=True)
class NumberedRequest:
    """A request, the how manieth it is, and when it was noted in seconds since the epoch."""

    number: int
    at: float
    request: EmulatedRequest


class RecentRequests:
    """Take the requests that an emulator remembers out of it, tell of each, and keep the newest.

    Args:
        emulator: The emulator, which would remember every request for as long as it runs.
        tell: Called with each request, once and in order.
        clock: Gives the seconds since the epoch.
    """

    def __init__(
        self,
        emulator: Emulator,
        tell: Callable[[EmulatedRequest], None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._emulator = emulator
        self._tell = tell
        self._clock = clock
        self._number = 0
        self._kept: deque[NumberedRequest] = deque(maxlen=KEPT)

    def collect(self) -> None:
        """Take over what the emulator has met since the last time."""
        requests = self._emulator.requests
        self._emulator.forget_requests()  # nothing can come in between: both run in one event loop
        for request in requests:
            self._number += 1
            self._kept.append(NumberedRequest(self._number, self._clock(), request))
            self._tell(request)

    @property
    def number(self) -> int:
        """How many there were in all."""
        return self._number

    def after(self, number: int) -> list[NumberedRequest]:
        """Return those kept that came after the request of this number, oldest first."""
        return [kept for kept in self._kept if kept.number > number]


LENGTH = 120

_LOOKED_AT = 5
"""How many of the first items are looked at."""

_REMEMBERED = 2_000


class Titles:
    """Read titles from contents, and remember them: items never change, they only come and go."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._read_once = lru_cache(maxsize=_REMEMBERED)(self._read)

    def of(self, conversation: StoredConversation) -> str | None:
        """Return the beginning of the first message of a user, or of the first message; None without any."""
        return self._read_once(
            conversation.id, conversation.first_position, min(conversation.item_count, _LOOKED_AT)
        )

    def _read(self, conversation_id: str, first_position: int | None, count: int) -> str | None:  # noqa: ARG002 - what it depends on
        items = [
            json.loads(held.json)
            for held in self._contents.items(conversation_id, max_items=count, max_characters=1_000_000)
        ]
        by_users = [item for item in items if item.get("role") == "user"]
        for item in (*by_users, *items):
            words = _text_of(item)[: 10 * LENGTH].split()
            if words:
                return " ".join(words)[:LENGTH]
        return None


def _text_of(item: dict[str, Any]) -> str:
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return " ".join(text for text in texts if isinstance(text, str))


class Viewers(Protocol):
    """Decide what a request for the page's data may see."""

    shows_requests: bool
    """Whether the requests of programs may be shown to all who see anything."""

    def key_of(self, request: Request) -> str | None:
        """Return the key whose conversations may be shown; None for those of all.

        Raises:
            HTTPException: Nothing may be shown.
        """
        ...


class LocalViewers:
    """Let everyone on this machine see everything.

    A page of a foreign site that has its own name point to this machine is on this machine too: it is told
    by the name in its `Host` header, which must be a numeric address of loopback or a name known.

    Args:
        names: The names beside `localhost` by which this server is asked for.
    """

    shows_requests = True

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = {"localhost", *(name.lower() for name in names)}

    def key_of(self, request: Request) -> None:
        """Return None, for all conversations."""
        host = _without_port(request.headers.get("host", ""))
        if host not in self._names and not is_loopback(host):
            raise HTTPException(403, "Conversations are shown only to those who ask 127.0.0.1 or localhost.")


class KeyViewers:
    """Let those with a key see what this key sees.

    Args:
        api_keys: The keys.
    """

    def __init__(self, api_keys: Collection[str]) -> None:
        self._api_keys = [key.strip() for key in api_keys]
        self.shows_requests = len(set(self._api_keys)) == 1  # they are not told apart by key

    def key_of(self, request: Request) -> str:
        """Return the bearer key of the request."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            for known in self._api_keys:
                if hmac.compare_digest(known.encode(), given.strip().encode()):
                    return known
        raise HTTPException(
            401,
            "Conversations are shown to those with an API key of this server.",
            headers={"www-authenticate": "Bearer"},
        )


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit():
        host = name
    return host.strip("[]").lower()


FILES = Path(__file__).parent / "page"

MAX_CONVERSATIONS = 10_000

MAX_ITEMS = 200

MAX_CHARACTERS = 1_000_000
"""How much one answer holds at most; an item that is longer is an answer of its own."""

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def build_page(contents: Contents, *, recent: RecentRequests, viewers: Viewers) -> ASGIApp:
    """Return the application of the page.

    Args:
        contents: What it shows.
        recent: The requests it lists.
        viewers: Who may see them; the files themselves are for everyone.
    """
    data = _Data(contents, recent, viewers)
    routes = [
        Route("/", _index, methods=["GET"]),
        Route("/page/data/state", data.state, methods=["GET"]),
        Route("/page/data/conversations", data.conversations, methods=["GET"]),
        Route("/page/data/conversations/{conversation_id}/items", data.items, methods=["GET"]),
        Route("/page/data/requests", data.requests, methods=["GET"]),
        Mount("/page", StaticFiles(directory=FILES)),
    ]
    return _Guarded(Starlette(routes=routes, exception_handlers={HTTPException: _explain}))


async def _index(_: Request) -> Response:
    return FileResponse(FILES / "index.html")


async def _explain(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for no other
    return _answer({"error": error.detail}, status=error.status_code, headers=error.headers)


class _Guarded:
    """Add the headers that keep what is shown from doing anything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_guarded)


class _Data:
    """Answer what the page asks for."""

    def __init__(self, contents: Contents, recent: RecentRequests, viewers: Viewers) -> None:
        self._contents = contents
        self._recent = recent
        self._viewers = viewers
        self._titles = Titles(contents)
        self._server = secrets.token_hex(8)

    async def state(self, request: Request) -> Response:
        """What changes when anything has changed: of this server, of what it holds, and of its requests."""
        self._viewers.key_of(request)
        return _answer(
            {
                "server": self._server,
                "contents": self._contents.version(),
                "requests": self._recent.number if self._viewers.shows_requests else None,
            }
        )

    async def conversations(self, request: Request) -> Response:
        """Return the newest conversations, `limit` of them."""
        key = self._viewers.key_of(request)
        limit = _number(request, "limit", largest=MAX_CONVERSATIONS)
        held = self._contents.conversations(api_key=key, limit=limit + 1)
        listed = [
            {
                "id": each.id,
                "title": self._titles.of(each),
                "created_at": each.created_at,
                "metadata": each.metadata,
                "item_count": each.item_count,
            }
            for each in held[:limit]
        ]
        return _answer({"conversations": listed, "more": len(held) > limit})

    async def items(self, request: Request) -> Response:
        """Return the items behind the position `after`.

        The page tells in `have` how many it has up to there. When some of them are gone, `kept` names those
        that are not.
        """
        key = self._viewers.key_of(request)
        conversation_id = request.path_params["conversation_id"]
        if not self._contents.has_conversation(conversation_id, api_key=key):
            raise HTTPException(404, "There is no such conversation, or it was deleted.")
        after = _number(request, "after")
        kept = self._contents.positions(conversation_id, to=after)
        new = self._contents.items(
            conversation_id, after=after, max_items=MAX_ITEMS, max_characters=MAX_CHARACTERS
        )
        return _answer(
            {
                "items": [{"position": each.position, "json": each.json} for each in new],
                "kept": None if len(kept) == _number(request, "have") else kept,
            }
        )

    async def requests(self, request: Request) -> Response:
        """Return the requests behind the number `after`, oldest first."""
        self._viewers.key_of(request)
        if not self._viewers.shows_requests:
            raise HTTPException(403, "With several keys no requests are shown: they are not kept apart.")
        after = _number(request, "after")
        return _answer({"requests": [_listed(each) for each in self._recent.after(after)]})


def _listed(numbered: NumberedRequest) -> dict[str, Any]:
    request = numbered.request
    return {
        "number": numbered.number,
        "at": numbered.at,
        "method": request.method,
        "path": request.path,
        "operation": request.operation,
        "status": request.status,
        "fault": request.fault,
    }


def _answer(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    # Escaped down to ASCII: half a surrogate pair is JSON, but not UTF-8.
    return Response(json.dumps(content), status, headers, media_type="application/json")


def _number(request: Request, name: str, *, largest: int = 2**63 - 1) -> int:
    text = request.query_params.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= largest):
        raise HTTPException(400, f"{name} must be a whole number up to {largest}.")
    return int(text)
