"""Where a run takes place: the session class that is tried, and the server that it talks to."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextvars import ContextVar
from typing import Any, Protocol

import agents
import openai

from openai_sessions import OpenAIConversationsSession, RetryBudget, RetryPolicy
from tools.chaos.server import Request, Server

TIMEOUT = 0.5
"""Seconds for a request; everything else is scaled down with it."""

POLICY = RetryPolicy(initial_wait=0.01, max_wait=0.16, settle_after=0.05)
"""Its `settle_after` is above `server.LATE`, as the usual one is above the emulator's usual delay."""

operation_number: ContextVar[int] = ContextVar("operation_number")
"""The operation that a request belongs to; the tasks that a session starts inherit it."""


class Session(Protocol):
    """What both classes have."""

    session_id: str

    async def get_items(self, limit: int | None = None) -> list[Any]: ...  # noqa: D102
    async def add_items(self, items: list[Any]) -> None: ...  # noqa: D102
    async def pop_item(self) -> Any: ...  # noqa: D102
    async def clear_session(self) -> None: ...  # noqa: D102


class World(Protocol):
    """A kind of session, and the server that it talks to.

    Attributes:
        shares_conversations: Whether several session objects may use one conversation at once.
    """

    shares_conversations: bool

    def session(self, room: int, conversation_id: str | None) -> Session:
        """Return a new session object."""
        ...

    async def clear(self, session: Session, choice: float) -> None:
        """Clear a session in one of the ways that there are; the choice is from 0 to 1."""
        ...

    async def stored(self, conversation_id: str) -> list[str] | None:
        """Return the texts that a conversation holds, oldest first; None when it is gone."""
        ...

    def storm(self, seed: int) -> None:
        """Let the faults begin."""
        ...

    def calm(self) -> None:
        """Let the faults end, and wait for all late commits."""
        ...

    def requests(self) -> Collection[Request]:
        """Return the requests of operations since the last call."""
        ...


class ServedWorld:
    """One of the two classes on the emulator.

    Args:
        server: Where the emulator runs.
        rate: The probability that a request meets a fault.
    """

    shares_conversations = False

    def __init__(self, server: Server, rate: float) -> None:
        self._server = server
        self._rate = rate
        self._client = _client(server, event_hooks={"request": [_sign]})
        self._plain = _client(server)

    async def stored(self, conversation_id: str) -> list[str] | None:
        """As `World.stored`."""
        items, texts = self._plain.conversations.items.with_raw_response, []
        query: dict[str, str] = {}
        while True:
            try:
                answer = await items.list(conversation_id, order="asc", limit=100, extra_query=query)
            except openai.NotFoundError:
                return None
            page = json.loads(answer.content)
            texts += map(text_of, page["data"])
            if not page["has_more"]:
                return texts
            query = {"after": page["last_id"]}

    def storm(self, seed: int) -> None:
        """As `World.storm`."""
        self._server.ask("storm", self._rate, seed)

    def calm(self) -> None:
        """As `World.calm`."""
        self._server.ask("calm")

    def requests(self) -> Collection[Request]:
        """As `World.requests`."""
        requests: list[Request] = self._server.ask("requests")
        return requests

    async def aclose(self) -> None:
        """Close the clients."""
        await self._client.close()
        await self._plain.close()


class OurWorld(ServedWorld):
    """This library's session: several objects on each conversation, and every way to clear."""

    shares_conversations = True

    def session(self, room: int, conversation_id: str | None) -> Session:
        """As `World.session`. In every other room retries cost nothing; elsewhere errors come out sooner."""
        return OpenAIConversationsSession(
            conversation_id=conversation_id,
            openai_client=self._client,
            timeout=TIMEOUT,
            retry_policy=POLICY,
            retry_budget=RetryBudget(10**9) if room % 2 else None,
        )

    async def clear(self, session: Any, choice: float) -> None:
        """As `World.clear`."""
        await session.clear_session(purge_items=choice < 1 / 3, keep_conversation=choice > 2 / 3)


class QuickClient(openai.AsyncOpenAI):
    """A client whose own retries wait as much less as those of this library do."""

    def _calculate_retry_timeout(self, *arguments: Any, **options: Any) -> float:
        usual = super()._calculate_retry_timeout(*arguments, **options)
        return usual * POLICY.initial_wait / RetryPolicy().initial_wait


class SDKWorld(ServedWorld):
    """The class of the Agents SDK: one object for each conversation, as its documentation asks."""

    def session(self, room: int, conversation_id: str | None) -> Session:  # noqa: ARG002 - all are alike
        """As `World.session`."""
        return agents.OpenAIConversationsSession(conversation_id=conversation_id, openai_client=self._client)

    async def clear(self, session: Any, choice: float) -> None:  # noqa: ARG002 - there is one way
        """As `World.clear`."""
        await session.clear_session()


WORLDS: dict[str, type[OurWorld | SDKWorld]] = {"ours": OurWorld, "sdk": SDKWorld}


def text_of(item: Any) -> str:
    """Return the text of a message in any of its forms."""
    content = item["content"]
    return str(content if isinstance(content, str) else content[0]["text"])


def _client(server: Server, **options: Any) -> openai.AsyncOpenAI:
    http_client = openai.DefaultAsyncHttpxClient(trust_env=False, **options)
    return QuickClient(api_key="sk-chaos", base_url=server.base_url, timeout=TIMEOUT, http_client=http_client)


async def _sign(request: Any) -> None:
    """Write the operation into the URL of a request, where the emulator remembers it."""
    request.url = request.url.copy_merge_params({"operation": str(operation_number.get())})
