"""A client whose server is a Python function, for exchanges that no well-behaved server makes."""

from __future__ import annotations

import importlib
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import parse_qs

import openai

from openai_sessions import RequestSettings, RetryPolicy

HTTP_FAMILY = importlib.import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__.split(".")[0])
"""The HTTP library under the installed openai: httpx, or httpx2."""


@dataclass(frozen=True)
class Call:
    """One request as it went out; `path` is relative to /v1."""

    method: str
    path: str
    query: dict[str, list[str]] = field(default_factory=dict)
    body: Any = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


FAST = RetryPolicy(initial_wait=0.001, max_wait=0.004, settle_after=0.002)
"""A policy whose waits do not hold up a test."""


def arguments(**given: Any) -> dict[str, Any]:
    """Return the arguments of a session, where those of `RequestSettings` may be given flat."""
    names = {field.name for field in fields(RequestSettings)}
    requests = {name: given.pop(name) for name in names & given.keys()}
    return {**given, "requests": RequestSettings(**requests)}


Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]
"""Status, body (JSON, or bytes as they are), and headers."""


_numbers = itertools.count()
"""Each server has a name of its own: what is known of a conversation is kept by its address and id."""


class Wire:
    """An `AsyncOpenAI` whose requests are answered by `answer(call)`, and kept in `calls`.

    `answer` may return an `Answer`, raise an exception of the HTTP library, or be a coroutine function.
    """

    def __init__(self, answer: Callable[[Call], Any]) -> None:
        self._answer = answer
        self.calls: list[Call] = []
        self.client = openai.AsyncOpenAI(
            api_key="sk-wire",
            base_url=f"http://wire-{next(_numbers)}.test/v1",
            http_client=openai.DefaultAsyncHttpxClient(transport=HTTP_FAMILY.MockTransport(self._handle)),
        )

    def __str__(self) -> str:
        return "\n".join(map(str, self.calls))

    async def _handle(self, request: Any) -> Any:
        call = Call(
            request.method,
            request.url.path.removeprefix("/v1"),
            parse_qs(request.url.query.decode()),
            json.loads(request.content) if request.content else None,
        )
        self.calls.append(call)
        answer = self._answer(call)
        status, body, *headers = (await answer) if hasattr(answer, "__await__") else answer
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return HTTP_FAMILY.Response(status, content=content, headers=headers[0] if headers else None)


def page(*ids: str, has_more: bool = False, **envelope: Any) -> tuple[int, Any]:
    """Return a list page of user messages whose texts are their ids."""
    data = [
        {
            "id": i,
            "type": "message",
            "role": "user",
            "status": "completed",
            "content": [{"type": "input_text", "text": i}],
        }
        for i in ids
    ]
    ends = {"first_id": ids[0], "last_id": ids[-1]} if ids else {"first_id": None, "last_id": None}
    return 200, {"object": "list", "data": data, "has_more": has_more, **ends, **envelope}


def stored(call: Call, *ids: str) -> tuple[int, Any]:
    """Return the response to an append: the items of the request under these ids."""
    status, envelope = page(*ids)
    data = [
        {"type": "message", **item, "id": item_id}
        for item_id, item in zip(ids, call.body["items"], strict=True)
    ]
    return status, {**envelope, "data": data}


def error(status: int, code: str | None = None, message: str = "no", **headers: str) -> Answer:
    """Return an error as the API words it."""
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
    return status, body, {name.replace("_", "-"): value for name, value in headers.items()}


def not_found() -> Answer:
    """Return the 404 of an unknown conversation or item."""
    return error(404)
