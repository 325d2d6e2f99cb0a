"""The page for people at `/`: files as they stand in the folder `page`, and the data that they ask for.

Everything else of the server is for programs. The data are made for a page that asks again and again: a small
`state` that changes when anything has, and then only what is new.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openai_sessions.cli._page_titles import Titles
from openai_sessions.cli._recent import NumberedRequest, RecentRequests
from openai_sessions.cli._viewers import Viewers
from openai_sessions.emulator import Contents

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
        if not self._contents.holds(conversation_id, api_key=key):
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
