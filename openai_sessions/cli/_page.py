"""The web page of `serve` and `view`: its files, the JSON that it polls, and who may see that of `serve`."""

from __future__ import annotations

import hmac
import json
import secrets
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

from openai_sessions.emulator import Contents, EmulatedRequest, Emulator, StoredConversation

FILES = Path(__file__).parent / "page"

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


class PageData(Protocol):
    """The JSON endpoints that the page needs."""

    async def state(self, request: Request) -> Response:
        """Return what changes with the data, which the page polls."""
        ...

    async def conversations(self, request: Request) -> Response:
        """Return the list of conversations."""
        ...

    async def items(self, request: Request) -> Response:
        """Return items of the conversation in the path parameter `conversation_id`."""
        ...


def build_page(data: PageData, *more: Route) -> ASGIApp:
    """Return the ASGI application of the page.

    Args:
        data: The endpoints of the data.
        *more: Further endpoints, under `/page/data/`.
    """
    routes = [
        Route("/", _index, methods=["GET"]),
        Route("/page/data/state", data.state, methods=["GET"]),
        Route("/page/data/conversations", data.conversations, methods=["GET"]),
        Route("/page/data/conversations/{conversation_id:path}/items", data.items, methods=["GET"]),
        *more,
        Mount("/page", StaticFiles(directory=FILES)),
    ]
    return with_headers(Starlette(routes=routes, exception_handlers={HTTPException: _error_response}))


async def _index(_: Request) -> Response:
    return FileResponse(FILES / "index.html")


async def _error_response(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for no other
    return json_response({"error": error.detail}, status=error.status_code, headers=error.headers)


def with_headers(app: ASGIApp) -> ASGIApp:
    """Add the headers that forbid scripts, frames and requests to other servers."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await app(scope, receive, send_with_headers)

    return guarded


class Authorization:
    """Decides which conversations a request may see.

    With API keys, a request sees those of its bearer key. Without, it sees all of them.

    Args:
        api_keys: The keys that the server accepts; empty for any.

    Attributes:
        shows_requests: Whether requests may be listed. With several keys they may not, because requests are
            not recorded per key.
    """

    def __init__(self, api_keys: Collection[str] = ()) -> None:
        self._api_keys = [key.strip() for key in api_keys]
        self.shows_requests = len(set(self._api_keys)) <= 1

    def key_of(self, request: Request) -> str | None:
        """Return the key whose conversations the request may see; None for all conversations.

        Raises:
            HTTPException: The request has no valid key: 401.
        """
        if not self._api_keys:
            return None
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            for known in self._api_keys:
                if hmac.compare_digest(known.encode(), given.strip().encode()):
                    return known
        raise HTTPException(
            401, "An API key of this server is required.", headers={"www-authenticate": "Bearer"}
        )


MAX_CONVERSATIONS = 10_000
"""Conversations in one response."""

MAX_ITEMS = 200
"""Items in one response."""

MAX_CHARACTERS = 1_000_000
"""Characters in one response; a longer item has a response of its own."""


class EmulatorData:
    """The conversations of an emulator for the page.

    Args:
        contents: The conversations that the page shows.
        recent: The requests that the page lists.
        authorization: Who may read them; the page's own files are public.
    """

    def __init__(self, contents: Contents, recent: RecentRequests, authorization: Authorization) -> None:
        self._contents = contents
        self._recent = recent
        self._authorization = authorization
        self._titles = Titles(contents)
        self._server = secrets.token_hex(8)

    async def state(self, request: Request) -> Response:
        """Return versions of the server, its conversations and its requests, which the page polls."""
        self._authorization.key_of(request)
        return json_response(
            {
                "server": self._server,
                "contents": self._contents.version(),
                "requests": self._recent.number if self._authorization.shows_requests else None,
            }
        )

    async def conversations(self, request: Request) -> Response:
        """Return the newest conversations, at most `limit`."""
        key = self._authorization.key_of(request)
        limit = number_in(request, "limit", largest=MAX_CONVERSATIONS)
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
        return json_response({"conversations": listed, "more": len(held) > limit})

    async def items(self, request: Request) -> Response:
        """Return the items after the position `after`.

        The page sends in `have` how many items it has up to there. If some of them were deleted, `kept`
        contains the positions of the others.
        """
        key = self._authorization.key_of(request)
        conversation_id = request.path_params["conversation_id"]
        if not self._contents.has_conversation(conversation_id, api_key=key):
            raise HTTPException(404, "This conversation was not found.")
        after = number_in(request, "after")
        kept = self._contents.positions(conversation_id, to=after)
        new = self._contents.items(
            conversation_id, after=after, max_items=MAX_ITEMS, max_characters=MAX_CHARACTERS
        )
        return json_response(
            {
                "items": [{"position": each.position, "json": each.json} for each in new],
                "kept": None if len(kept) == number_in(request, "have") else kept,
            }
        )

    async def requests(self, request: Request) -> Response:
        """Return the requests after the number `after`, oldest first."""
        self._authorization.key_of(request)
        if not self._authorization.shows_requests:
            raise HTTPException(403, "Requests are not recorded per key: with several keys none are shown.")
        after = number_in(request, "after")
        return json_response({"requests": [_request_as_json(each) for each in self._recent.after(after)]})


def _request_as_json(numbered: NumberedRequest) -> dict[str, Any]:
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


def json_response(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with JSON."""
    # json.dumps escapes all but ASCII: half a surrogate pair is valid JSON, but cannot be encoded as UTF-8.
    return Response(json.dumps(content), status, headers, media_type="application/json")


def number_in(request: Request, name: str, *, largest: int = 2**63 - 1) -> int:
    """Return a whole number in the query of a request, 0 without it.

    Raises:
        HTTPException: It is not a whole number up to `largest`: 400.
    """
    text = request.query_params.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= largest):
        raise HTTPException(400, f"{name} must be a whole number up to {largest}.")
    return int(text)


_MAX_TITLE = 120
"""Characters of a title."""

_ITEMS_READ = 5
"""How many of the first items may give the title."""


class Titles:
    """Titles of conversations, cached. Items never change; a change of the first items changes the cache key.

    Args:
        contents: The conversations.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._cached = lru_cache(maxsize=2_000)(self._read)

    def of(self, conversation: StoredConversation) -> str | None:
        """Return the beginning of the first user message, or of the first message; None without messages."""
        return self._cached(
            conversation.id, conversation.first_position, min(conversation.item_count, _ITEMS_READ)
        )

    def _read(self, conversation_id: str, first_position: int | None, count: int) -> str | None:  # noqa: ARG002 - part of the cache key
        items = [
            json.loads(held.json)
            for held in self._contents.items(conversation_id, max_items=count, max_characters=1_000_000)
        ]
        user_messages = [item for item in items if item.get("role") == "user"]
        for item in (*user_messages, *items):
            words = _message_text(item)[: 10 * _MAX_TITLE].split()
            if words:
                return " ".join(words)[:_MAX_TITLE]
        return None


def _message_text(item: dict[str, Any]) -> str:
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return " ".join(text for text in texts if isinstance(text, str))


KEPT = 200
"""How many requests the page lists."""


@dataclass(frozen=True, slots=True)
class NumberedRequest:
    """A request with its sequence number and the time it was received (Unix seconds)."""

    number: int
    at: float
    request: EmulatedRequest


class RecentRequests:
    """The newest requests of a server, taken out of the emulator's log, which would grow without end.

    Args:
        emulator: The emulator.
        on_request: Called with each request, once and in order.
        clock: Returns the time in Unix seconds.
    """

    def __init__(
        self,
        emulator: Emulator,
        on_request: Callable[[EmulatedRequest], None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._emulator = emulator
        self._on_request = on_request
        self._clock = clock
        self._number = 0
        self._kept: deque[NumberedRequest] = deque(maxlen=KEPT)

    def collect(self) -> None:
        """Take the requests out of the emulator's log."""
        requests = self._emulator.requests
        self._emulator.forget_requests()  # loses none: both lines run in one event loop, without an await
        for request in requests:
            self.add(request)

    def add(self, request: EmulatedRequest) -> None:
        """Add a request, which may be one that the emulator did not receive."""
        self._number += 1
        self._kept.append(NumberedRequest(self._number, self._clock(), request))
        self._on_request(request)

    @property
    def number(self) -> int:
        """The number of requests since the start."""
        return self._number

    def after(self, number: int) -> list[NumberedRequest]:
        """Return the kept requests after this sequence number, oldest first."""
        return [kept for kept in self._kept if kept.number > number]
