"""The clients that the sessions of a directory share."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

from openai import AsyncOpenAI

from openai_sessions._clients import Clients
from openai_sessions._gateway import Gateway
from openai_sessions._per_loop import PerLoop


class SharedClients:
    """The clients of a directory as one session uses them: with its own settings, and never closed by it.

    Args:
        opened: The clients, one for each event loop, opened when a request is to be made.
        use: Returns how the session uses one of them.
    """

    unclosed = False

    def __init__(self, opened: PerLoop[AsyncOpenAI], use: Callable[[AsyncOpenAI], Clients]) -> None:
        self._opened = opened
        self._use = use
        self._used: WeakKeyDictionary[AsyncOpenAI, Clients] = WeakKeyDictionary()

    async def gateway(self) -> Gateway:
        """Return the client for the running event loop.

        Raises:
            openai.OpenAIError: The environment has no credentials.
        """
        client = await self._opened.get()
        if client not in self._used:
            self._used[client] = self._use(client)
        return await self._used[client].gateway()

    async def aclose(self) -> None:
        """Leave the clients open: they are the directory's."""
