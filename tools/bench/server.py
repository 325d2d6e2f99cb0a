"""The emulator in a process of its own, with a delay before each request and a log of the requests."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
import time
import urllib.parse
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from openai_sessions.emulator import Emulator

ADMIN_PATH = "/bench"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_ROOT = Path(__file__).parents[2]
_ITEMS = "/items"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its response; `started` and `ended` are seconds of one clock."""

    method: str
    path: str
    started: float
    ended: float


@dataclass(frozen=True, slots=True)
class Noted:
    """The log of the server since the last call; `cpu` is in seconds since its process started."""

    exchanges: tuple[Exchange, ...]
    cpu: float


class Server:
    """An emulator with a delay in a second process, which exits when its standard input ends."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.bench.server"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.base_url = self._process.stdout.readline().strip() if self._process.stdout else ""
        if not self.base_url:
            raise RuntimeError(f"the server exited with {self._process.wait()}")

    def delay(self, seconds: float) -> Noted:
        """Set the delay of each request, in seconds, and return the log until now."""
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.base_url).netloc, timeout=60)
        try:
            connection.request("POST", ADMIN_PATH, json.dumps({"delay": seconds}))
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return Noted(tuple(Exchange(**each) for each in answer["exchanges"]), answer["cpu"])

    def close(self) -> None:
        """Stop the process."""
        self._process.communicate()


def depth(exchanges: Iterable[Exchange]) -> int:
    """Return the length of the longest chain of exchanges, each started after the previous one ended."""
    length, reached = 0, float("-inf")
    for exchange in sorted(exchanges, key=lambda each: each.ended):
        if exchange.started >= reached:
            length, reached = length + 1, exchange.ended
    return length


def depth_of_each(exchanges: Iterable[Exchange]) -> int | None:
    """Return the greatest depth within one conversation; None if a conversation was created.

    The path of a create request does not name the conversation, so its chain is unknown.
    """
    chains: defaultdict[str, list[Exchange]] = defaultdict(list)
    for exchange in exchanges:
        conversation, _, _ = exchange.path.partition(_ITEMS)
        if conversation.endswith("/conversations"):
            return None
        chains[conversation].append(exchange)
    return max(map(depth, chains.values()), default=0)


class Delayed:
    """ASGI middleware that delays each request, as a distant server would, and logs it.

    `POST /bench` with `{"delay": seconds}` sets the delay, which is 0 at first. The response contains the
    exchanges since the last such request and the CPU seconds of this process; it is not logged itself.

    Args:
        app: The application.
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
            # Noted before the client can see the end, so that no request that follows it starts earlier.
            if message["type"] == "http.response.body" and not message.get("more_body"):
                exchange = Exchange(scope["method"], scope["path"], started, time.perf_counter())
                self._exchanges.append(exchange)
            await send(message)

        if self._delay:
            await self._sleep(self._delay)
        await self._app(scope, receive, note_end)

    async def _administer(self, receive: Receive, send: Send) -> None:
        self._delay = float(json.loads(await body_of(receive))["delay"])
        exchanges, self._exchanges = self._exchanges, []
        answer = {"exchanges": [asdict(each) for each in exchanges], "cpu": time.process_time()}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


async def body_of(receive: Receive) -> bytes:
    """Return the whole body of a request."""
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


class _DelayedEmulator(Emulator):
    """An emulator that delays each request, keeps no log of its own, and answers with what a model sees."""

    def __init__(self) -> None:
        super().__init__()
        self.reply(lambda request: str(len(request.items)), times=None)
        self._delayed = Delayed(super().__call__)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._delayed(scope, receive, send)
        self.forget_requests()


def main() -> None:
    """Print the base URL, and serve until standard input ends."""
    with _DelayedEmulator() as emulator, emulator.serve() as base_url:
        print(base_url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
