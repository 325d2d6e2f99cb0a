"""The requests of one client, each of which is served, and then answered, when a test says so."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import openai

from openai_sessions import OpenAIConversationsSession, RequestSettings
from tests.wire import FAST, HTTP_FAMILY

from .changes import Change
from .shelves import Shelf

_numbers = itertools.count()
"""Each client has a host of its own: what is known of a conversation is kept by address and id."""


@dataclass(eq=False)
class Exchange:
    """One request under way."""

    request: Any
    reply: asyncio.Future
    response: Any = None

    async def advance(self, shelf: Shelf) -> None:
        """Let the server serve it; or, when it has, let the reply arrive."""
        if self.response is None:
            self.response = await shelf.serve(self.request)
        else:
            self.reply.set_result(self.response)


@dataclass(frozen=True)
class Reading:
    """What a read has given, and what has happened meanwhile.

    Attributes:
        labels: The texts of its items.
        states: What the server held, from the start of the read to its end, each in turn.
        requests: How many it took.
        most_at_once: How many of them were under way at the same time.
    """

    labels: tuple[str, ...]
    states: tuple[tuple[str, ...], ...]
    requests: int
    most_at_once: int


class Traffic(HTTP_FAMILY.AsyncBaseTransport):
    """The way between one session and a shelf; `read` plays a read of all items."""

    def __init__(self, shelf: Shelf, **options: Any) -> None:
        self.shelf = shelf
        self._under_way: list[Exchange] = []
        self._arrived = asyncio.Event()
        self._requests = self._most = 0
        self.client = openai.AsyncOpenAI(
            api_key="sk-emulator",
            base_url=f"http://traffic-{next(_numbers)}.test/v1",
            http_client=openai.DefaultAsyncHttpxClient(transport=self),
        )
        self.session = self.another_session(**options)

    def another_session(self, **options: Any) -> OpenAIConversationsSession:
        """Return a session object on the same conversation, in the same process."""
        return OpenAIConversationsSession(
            conversation_id=self.shelf.conversation_id,
            openai_client=self.client,
            requests=RequestSettings(retry_policy=FAST),
            **options,
        )

    async def handle_async_request(self, request: Any) -> Any:
        exchange = Exchange(request, asyncio.get_running_loop().create_future())
        self._under_way.append(exchange)
        self._arrived.set()
        self._requests += 1
        self._most = max(self._most, len(self._under_way))
        try:
            return await exchange.reply
        finally:
            self._under_way.remove(exchange)

    async def read(self, order: Sequence[int] = (), during: Sequence[tuple[int, Change]] = ()) -> Reading:
        """Read all items while the requests are served and answered in some order.

        Args:
            order: Which of the requests under way is served or answered next.
            during: What another process does before the n-th of these steps.
        """
        return await self.play(self.session.get_items(), order, during)

    async def play(
        self, reading: Any, order: Sequence[int] = (), during: Sequence[tuple[int, Change]] = ()
    ) -> Reading:
        """As `read`, for another way to read."""
        self._requests = self._most = 0
        states = [tuple(self.shelf.labels)]
        task = asyncio.ensure_future(reading)
        choices, coming = iter(order), list(during)
        for step in itertools.count():
            if await self._is_done(task):
                break
            while coming and coming[0][0] <= step:
                await self.shelf.change(coming.pop(0)[1])
                states.append(tuple(self.shelf.labels))
            await self._next(choices).advance(self.shelf)
        labels = tuple(_label(item) for item in task.result())
        return Reading(labels, tuple(states), self._requests, self._most)

    def _next(self, choices: Iterator[int]) -> Exchange:
        return self._under_way[next(choices, 0) % len(self._under_way)]

    async def _is_done(self, task: asyncio.Future) -> bool:
        """Wait until the client only waits for answers."""
        await idle()
        while not (self._under_way or task.done()):
            self._arrived.clear()
            arrived = asyncio.ensure_future(self._arrived.wait())
            await asyncio.wait([arrived, task], return_when=asyncio.FIRST_COMPLETED)
            arrived.cancel()
            await idle()
        return task.done()


async def idle() -> None:
    """Return once nothing but this task could run."""
    await asyncio.sleep(0)
    while asyncio.get_running_loop()._ready:  # noqa: ASYNC110 -- there is no event for it
        await asyncio.sleep(0)


def _label(item: dict) -> str:
    assert item == {"role": "user", "content": item["content"]}
    return item["content"]
