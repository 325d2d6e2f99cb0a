"""A server in process on which single requests are held up, cut, or answered by the test."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import openai

from tests.wire import HTTP_FAMILY

_OPERATIONS = {
    "create_conversation": ("POST", r"/conversations"),
    "delete_conversation": ("DELETE", r"/conversations/\w+"),
    "create_items": ("POST", r"/conversations/\w+/items"),
    "list_items": ("GET", r"/conversations/\w+/items"),
    "retrieve_item": ("GET", r"/conversations/\w+/items/\w+"),
    "delete_item": ("DELETE", r"/conversations/\w+/items/\w+"),
    "retrieve_conversation": ("GET", r"/conversations/\w+"),
    "compact_response": ("POST", r"/responses/compact"),
}

Forward = Callable[[], Awaitable[Any]]
Action = Callable[[Forward], Awaitable[Any]]
"""What happens to one request: it may forward it, wait, raise, or answer itself."""


class Stage(HTTP_FAMILY.AsyncBaseTransport):
    """Forward the requests of one client to an emulator, but for those that have an action.

    Other clients of the emulator, such as those that play another process, do not count.
    """

    def __init__(self, emulator: Any) -> None:
        self._inner = HTTP_FAMILY.ASGITransport(app=emulator)
        self._actions: dict[tuple[str, int | None], Action] = {}
        self._seen: Counter = Counter()
        self.client = openai.AsyncOpenAI(
            api_key="sk-emulator",
            base_url="http://emulator/v1",
            http_client=openai.DefaultAsyncHttpxClient(transport=self),
        )

    def at(self, operation: str, number: int | None, action: Action) -> None:
        """Let an action decide over the `number`-th coming request of an operation, from 0; None for each."""
        place = None if number is None else self._seen[operation] + number
        self._actions[operation, place] = action

    def forget(self) -> None:
        """Let all coming requests pass."""
        self._actions.clear()

    async def handle_async_request(self, request: Any) -> Any:
        """Answer one request."""
        operation = _operation_of(request)
        number = self._seen[operation]
        self._seen[operation] += 1
        action = self._actions.get((operation, number)) or self._actions.get((operation, None))

        async def forward() -> Any:
            return await self._inner.handle_async_request(request)

        return await (action(forward) if action else forward())


class Gate:
    """A place where work waits until the test opens it."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def before(self, forward: Forward) -> Any:
        """Wait, then forward the request."""
        await self.pause()
        return await forward()

    async def after(self, forward: Forward) -> Any:
        """Forward the request, and hold its answer up."""
        answer = await forward()
        await self.pause()
        return answer

    async def pause(self, _: float = 0) -> None:
        """Wait in the place of a sleep."""
        self.reached.set()
        await self.opened.wait()


async def cut(_: Forward) -> Any:
    """Cut the connection before the server has seen the request."""
    raise HTTP_FAMILY.ReadError("cut by the test")


async def cut_after_commit(forward: Forward) -> Any:
    """Cut the connection after the server has served the request."""
    await forward()
    raise HTTP_FAMILY.ReadError("cut by the test")


def answering(status: int, code: str | None, meanwhile: Callable[[], Awaitable[Any]] | None = None) -> Action:
    """Return an action that answers with an error, after something else has happened."""

    async def action(_: Forward) -> Any:
        if meanwhile is not None:
            await meanwhile()
        error = {"message": "no", "type": "invalid_request_error", "param": None, "code": code}
        return HTTP_FAMILY.Response(status, json={"error": error})

    return action


def throttled(seconds: int) -> Action:
    """Return an action that asks the client to come back later."""

    async def action(_: Forward) -> Any:
        return HTTP_FAMILY.Response(429, json={"error": {}}, headers={"retry-after": str(seconds)})

    return action


def redirecting(status: int) -> Action:
    """Return an action that sends the client elsewhere, as a gateway does."""

    async def action(_: Forward) -> Any:
        return HTTP_FAMILY.Response(status, headers={"location": "/v1/elsewhere"})

    return action


def after(something: Callable[[], Awaitable[Any]]) -> Action:
    """Return an action that forwards the request after something else has happened."""

    async def action(forward: Forward) -> Any:
        await something()
        return await forward()

    return action


def _operation_of(request: Any) -> str:
    path = request.url.path.removeprefix("/v1")
    for name, (method, pattern) in _OPERATIONS.items():
        if request.method == method and re.fullmatch(pattern, path):
            return name
    raise LookupError(f"{request.method} {path} is none of the API's operations")
