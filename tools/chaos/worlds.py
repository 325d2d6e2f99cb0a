"""The two session classes under test, and the emulator that they run on, in a process of its own."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import agents
import anyio
import openai

from openai_sessions import OpenAIConversationsSession, RequestSettings, RetryPolicy
from openai_sessions.emulator import FAULT_KINDS, EmulatedRequest, Emulator, Fault
from openai_sessions.emulator._faults import LATE_KINDS
from openai_sessions.session import RetryBudget
from tools.chaos.model import reply

TIMEOUT = 0.5
"""The timeout of a request, in seconds; all other times are scaled down with it."""

LATE = 0.02
"""Seconds between a cut connection and its late commit."""

TOO_LATE = 1.0
"""Seconds between a cut connection and a commit that no session looks for any more."""

POLICY = RetryPolicy(initial_wait=0.01, max_wait=0.16, settle_after=0.05)
"""Its `settle_after` exceeds `LATE`, as the default exceeds the emulator's default delay."""

FAULTS = (
    *(Fault(kind) for kind in FAULT_KINDS if kind not in {*LATE_KINDS, "quota"}),
    Fault("throttled", retry_after=0.01),
)
"""All faults except an exhausted quota, which must raise, and late commits, whose delay is given."""

operation_number: ContextVar[int] = ContextVar("operation_number", default=-1)
"""The operation that sends a request; tasks that a session starts inherit it."""


class Session(Protocol):
    """The methods that both classes have."""

    session_id: str

    async def get_items(self, limit: int | None = None) -> list[Any]: ...  # noqa: D102
    async def add_items(self, items: list[Any]) -> None: ...  # noqa: D102
    async def pop_item(self) -> Any: ...  # noqa: D102
    async def clear_session(self) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Request:
    """A request that the server received.

    Attributes:
        number: The operation that sent it.
        operation: The emulator's name for it, such as "list_items".
        met: The fault injected into it, or its error status, or "".
    """

    number: int
    operation: str
    met: str


class World(Protocol):
    """A session class and its server.

    Attributes:
        shares_conversations: Whether several session objects may use one conversation at the same time.
    """

    shares_conversations: bool

    def session(self, room: int, conversation_id: str | None) -> Session:
        """Return a new session object."""
        ...

    async def clear(self, session: Session, choice: float) -> None:
        """Clear a session; `choice`, from 0 to 1, selects one of the ways to do it."""
        ...

    async def settle(self, session: Any, receipt: Mapping[str, Any]) -> None:
        """Settle the receipt of an error of this library's class."""
        ...

    async def stored(self, conversation_id: str) -> list[str] | None:
        """Return the texts stored in a conversation, oldest first, or None if it was deleted."""
        ...

    def storm(self, seed: int) -> None:
        """Start injecting faults."""
        ...

    def calm(self) -> None:
        """Stop injecting faults, and wait for all late commits."""
        ...

    def requests(self) -> Collection[Request]:
        """Return the requests that operations sent since the last call."""
        ...


class ServedWorld:
    """What both classes share: clients of the emulator, and its commands.

    Args:
        server: The process of the emulator.
        rate: The probability that a request meets a fault.
        late: Seconds between a cut connection and a late commit.
    """

    shares_conversations = False

    def __init__(self, server: Server, rate: float, late: float = LATE) -> None:
        self._server = server
        self._rate = rate
        self._late = late
        self._client = self._open(event_hooks={"request": [_sign]})
        self._plain = client_over(openai.DefaultAsyncHttpxClient, server.base_url)

    def _open(self, **options: Any) -> openai.AsyncOpenAI:
        return client_over(openai.DefaultAsyncHttpxClient, self._server.base_url, **options)

    async def settle(self, session: Any, receipt: Mapping[str, Any]) -> None:
        """Implement `World.settle`."""
        await session.settle(receipt)

    async def stored(self, conversation_id: str) -> list[str] | None:
        """Implement `World.stored`."""
        items = self._plain.conversations.items.with_raw_response
        texts: list[str] = []
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
        """Implement `World.storm`."""
        self._server.run("storm", self._rate, seed, self._late)

    def calm(self) -> None:
        """Implement `World.calm`."""
        self._server.run("calm")

    def requests(self) -> Collection[Request]:
        """Implement `World.requests`."""
        requests: list[Request] = self._server.run("requests")
        return requests

    async def aclose(self) -> None:
        """Close the clients."""
        await self._client.close()
        await self._plain.close()


class OurWorld(ServedWorld):
    """This library's class: several objects on each conversation, and every way to clear."""

    shares_conversations = True

    def session(self, room: int, conversation_id: str | None) -> Session:
        """Implement `World.session`; every other room has an unlimited retry budget, so fewer calls raise."""
        return OpenAIConversationsSession(
            conversation_id=conversation_id,
            openai_client=self._client,
            requests=RequestSettings(
                timeout=TIMEOUT, retry_policy=POLICY, retry_budget=RetryBudget(10**9) if room % 2 else None
            ),
        )

    async def clear(self, session: Any, choice: float) -> None:
        """Implement `World.clear`."""
        await session.clear_session(purge_items=choice < 1 / 3, keep_conversation=choice > 2 / 3)


class SDKWorld(ServedWorld):
    """The class of the Agents SDK: one object for each conversation, as its documentation requires."""

    def session(self, room: int, conversation_id: str | None) -> Session:  # noqa: ARG002 - all are alike
        """Implement `World.session`."""
        return agents.OpenAIConversationsSession(conversation_id=conversation_id, openai_client=self._client)

    async def clear(self, session: Any, choice: float) -> None:  # noqa: ARG002 - there is one way
        """Implement `World.clear`."""
        await session.clear_session()


class AiohttpWorld(OurWorld):
    """The same over aiohttp."""

    def _open(self, **options: Any) -> openai.AsyncOpenAI:
        return client_over(openai.DefaultAioHttpClient, self._server.base_url, **options)


WORLDS: dict[str, type[OurWorld | SDKWorld]] = {"ours": OurWorld, "aiohttp": AiohttpWorld, "sdk": SDKWorld}


def text_of(item: Any) -> str:
    """Return the text of a message in any of its forms."""
    content = item["content"]
    return str(content if isinstance(content, str) else content[0]["text"])


class QuickClient(openai.AsyncOpenAI):
    """A client whose own retries wait less, in the same proportion as those of `POLICY`."""

    def _calculate_retry_timeout(self, *arguments: Any, **options: Any) -> float:
        usual = super()._calculate_retry_timeout(*arguments, **options)
        return usual * POLICY.initial_wait / RetryPolicy().initial_wait


def client_over(kind: Any, base_url: str, **options: Any) -> openai.AsyncOpenAI:
    """Return a client over one of openai's HTTP clients."""
    http_client = kind(trust_env=False, **options)
    return QuickClient(api_key="sk-chaos", base_url=base_url, timeout=TIMEOUT, http_client=http_client)


async def _sign(request: Any) -> None:
    """Add the number of the operation to the URL of a request, which the emulator logs."""
    request.url = request.url.copy_merge_params({"operation": str(operation_number.get())})


class Server:
    """An emulator in a process of its own, controlled over a pipe."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self.base_url = self._pipe.recv()

    def run(self, command: str, *arguments: Any) -> Any:
        """Run one of `_commands` in the process and return its result."""
        self._pipe.send((command, arguments))
        return self._pipe.recv()

    def close(self) -> None:
        """Stop the process."""
        self._pipe.close()
        self._process.join()
        self._process.close()


def _serve(pipe: Any) -> None:
    with Emulator() as emulator, emulator.serve() as base_url:
        pipe.send(base_url)
        commands = _commands(emulator)
        while True:
            try:
                command, arguments = pipe.recv()
            except EOFError:
                return
            pipe.send(commands[command](*arguments))


def _commands(emulator: Emulator) -> dict[str, Callable[..., Any]]:
    def storm(rate: float, seed: int, late: float) -> None:
        late_faults = [Fault(kind, delay=late) for kind in sorted(LATE_KINDS)]
        emulator.inject_at_random(rate, seed=seed, faults=(*FAULTS, *late_faults))

    def calm() -> None:
        emulator.clear_faults()
        anyio.run(emulator.late_commits)

    def requests() -> list[Request]:
        seen = emulator.requests
        emulator.forget_requests()
        return [
            Request(int(number), request.operation or request.path, request.fault or _refusal(request))
            for request in seen
            for number in request.query.get("operation", ())
        ]

    def late() -> list[str]:
        """Return the texts of the requests whose commit was late."""
        return [
            text_of(item)
            for request in emulator.requests
            if request.fault == "late_commit" and request.operation == "create_items"
            for item in request.body["items"]
        ]

    def script() -> None:
        emulator.reply(reply, times=None)

    def turn_requests() -> list[tuple[str, str, str]]:
        """Return the turns that sent requests, with the operation and the fault or error status, or ""."""
        seen = emulator.requests
        emulator.forget_requests()
        return [
            (name, request.operation or request.path, request.fault or _refusal(request))
            for request in seen
            for name in request.query.get("turn", ())
        ]

    return {
        "storm": storm,
        "calm": calm,
        "requests": requests,
        "late": late,
        "script": script,
        "turn_requests": turn_requests,
    }


def _refusal(request: EmulatedRequest) -> str:
    return str(request.status) if request.status != 200 else ""
