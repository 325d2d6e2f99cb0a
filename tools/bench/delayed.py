"""An ASGI application behind a set delay, with a log of when each request began and ended."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import asdict, dataclass
from typing import Any

ADMIN_PATH = "/bench"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer; `started` and `ended` in seconds of one clock."""

    method: str
    path: str
    started: float
    ended: float


class Delayed:
    """Wait before each request is served, as a distant server would seem to.

    `POST /bench` with `{"delay": seconds}` sets the delay, 0 at first. It answers with the exchanges
    since the last such request and with the CPU seconds of this process so far, and is not logged itself.

    Args:
        app: The application that answers.
        sleep: Waits for the delay.
    """

    def __init__(self, app: Application, sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep) -> None:
        self._app = app
        self._sleep = sleep
        self._delay = 0.0
        self._exchanges: list[Exchange] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"] == ADMIN_PATH:
            await self._administer(receive, send)
            return
        started = time.perf_counter()

        async def note_end(message: Message) -> None:
            # Noted before the end goes out, so that no request that it sets off can begin earlier.
            if message["type"] == "http.response.body" and not message.get("more_body"):
                exchange = Exchange(scope["method"], scope["path"], started, time.perf_counter())
                self._exchanges.append(exchange)
            await send(message)

        if self._delay:
            await self._sleep(self._delay)
        await self._app(scope, receive, note_end)

    async def _administer(self, receive: Receive, send: Send) -> None:
        self._delay = float(json.loads(await _body(receive))["delay"])
        exchanges, self._exchanges = self._exchanges, []
        answer = {"exchanges": [asdict(each) for each in exchanges], "cpu": time.process_time()}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
