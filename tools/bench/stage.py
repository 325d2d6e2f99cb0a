"""The environment of a measurement: the server, filled conversations, and the sides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import agents
import openai
from agents.memory import Session
from openai.types.responses import EasyInputMessageParam

import openai_sessions
from tools.bench.bare import KEY, BareClient, History, at_once
from tools.bench.server import Server

OURS, SDK, FLOOR = "ours", "sdk", "floor"

SHORT = 10
"""The number of items of a conversation that is written to."""

POOLED = 100
"""The number of idle connections that a client of openai keeps."""

_FILLED_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two session classes, with its own client.

    Attributes:
        name: `OURS` or `SDK`.
        client: The client of its sessions.
        kind: The session class.
    """

    name: str
    client: openai.AsyncOpenAI
    kind: Callable[..., Session]

    def open(self, conversation_id: str | None = None, **options: Any) -> Session:
        """Return a new session."""
        return self.kind(conversation_id=conversation_id, openai_client=self.client, **options)

    async def warm_up(self, connections: int, scratch: History) -> None:
        """Open this number of connections, and let openai build its models.

        Garbage collection drops some of the models, and the next request that needs one takes 20 ms longer.
        """
        await asyncio.gather(*(self._knock() for _ in range(connections)))
        written: EasyInputMessageParam = {"role": "user", "content": "Hello"}
        await self.client.conversations.items.create(scratch.conversation_id, items=[written])
        await self.client.conversations.items.list(scratch.conversation_id)

    async def _knock(self) -> None:
        try:
            await self.client.conversations.retrieve("conv_none")
        except openai.NotFoundError:
            return


@dataclass(frozen=True, slots=True)
class Stage:
    """The environment of the scenarios.

    Attributes:
        server: The server.
        bare: The floor; it also fills conversations.
        sides: The two classes by name.
    """

    server: Server
    bare: BareClient
    sides: dict[str, Side]
    _histories: dict[int, History] = field(default_factory=dict)

    async def history(self, number: int) -> History:
        """Return the conversation with this number of items; scenarios only read it."""
        if number not in self._histories:
            self._histories[number] = await self.bare.fill(number)
        return self._histories[number]

    async def fresh(self, number: int, *, items: int) -> list[History]:
        """Return new conversations with this number of items each."""
        one_of_some = at_once(_FILLED_AT_ONCE)
        return list(await asyncio.gather(*(one_of_some(self.bare.fill(items)) for _ in range(number))))

    async def warm_up(self, name: str, connections: int) -> None:
        """Open this number of connections for a side or the floor."""
        if name == FLOOR:
            await self.bare.warm_up(connections)
        else:
            await self.sides[name].warm_up(connections, await self.history(0))


@asynccontextmanager
async def staged(server: Server) -> AsyncIterator[Stage]:
    """Provide a stage on a server inside the block."""
    bare = BareClient(server.base_url)
    sides = {
        OURS: Side(OURS, client_of(server), openai_sessions.OpenAIConversationsSession),
        SDK: Side(SDK, client_of(server), agents.OpenAIConversationsSession),
    }
    try:
        yield Stage(server, bare, sides)
    finally:
        for side in sides.values():
            await side.client.close()
        await bare.aclose()


def client_of(server: Server) -> openai.AsyncOpenAI:
    """Return a client of the server, as openai makes it."""
    transport = openai.DefaultAsyncHttpxClient(trust_env=False)
    return openai.AsyncOpenAI(base_url=server.base_url, api_key=KEY, http_client=transport)
