"""Which client serves which event loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from openai_sessions._api.client import CONNECTIONS_KEPT, ConversationsClient, RequestLimiter, open_client
from openai_sessions._api.retries import Retrier, RetryBudget
from openai_sessions.errors import ClientLoopError

T = TypeVar("T")

_CLOSING_TIMEOUT = 5.0
"""Seconds to wait for another thread's loop to close a thing there."""


class PerLoop(Generic[T]):
    """One thing for each event loop, opened when it is first wanted, closed as its loop shuts down.

    Args:
        open_one: Returns a new one.
        close: Closes one, in its loop.

    Attributes:
        unclosed: Whether one was opened, and `aclose()` not called since.
    """

    def __init__(self, open_one: Callable[[], T], close: Callable[[T], Awaitable[None]]) -> None:
        self._open_one = open_one
        self._close = close
        self._guard = threading.Lock()
        self._open: dict[asyncio.AbstractEventLoop, tuple[T, AsyncGenerator[None, None]]] = {}
        self.unclosed = False

    async def get(self) -> T:
        """Return the one of the running event loop."""
        loop = asyncio.get_running_loop()
        with self._guard:
            for ended in [known for known in self._open if self._has_ended(known)]:
                del self._open[ended]
            if loop in self._open:
                return self._open[loop][0]
            opened = self._open_one()
            lifetime = self._lifetime(opened)
            self._open[loop] = opened, lifetime
            self.unclosed = True
        await anext(lifetime)
        return opened

    async def aclose(self) -> None:
        """Close all, each in its own loop. A later `get()` opens new ones."""
        with self._guard:
            lifetimes = {loop: lifetime for loop, (_, lifetime) in self._open.items()}
            self._open.clear()
            self.unclosed = False
        for loop, lifetime in lifetimes.items():
            if loop is asyncio.get_running_loop():
                await lifetime.aclose()
            elif loop.is_running():
                closing = asyncio.run_coroutine_threadsafe(_aclose(lifetime), loop)
                await asyncio.wait([asyncio.wrap_future(closing)], timeout=_CLOSING_TIMEOUT)

    async def _lifetime(self, opened: T) -> AsyncGenerator[None, None]:
        """Close it when the loop shuts down its asynchronous generators, before it closes."""
        try:
            yield
        finally:
            await self._close(opened)

    def _has_ended(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Tell whether the thing of a loop is closed. The loop itself may go on.

        `Runner.run_sync` shuts down the generators of its loop, and so what was opened there, after each run.
        """
        _, lifetime = self._open[loop]
        return loop.is_closed() or getattr(lifetime, "ag_frame", None) is None


async def _aclose(lifetime: AsyncGenerator[None, None]) -> None:
    await lifetime.aclose()


_first_loops: weakref.WeakKeyDictionary[object, weakref.ref[asyncio.AbstractEventLoop]] = (
    weakref.WeakKeyDictionary()
)
"""The registry of the process: for each HTTP client of a caller, the loop in which it was first used."""

_budgets: weakref.WeakKeyDictionary[object, RetryBudget] = weakref.WeakKeyDictionary()
"""The registry of the process: for each HTTP client of a caller, the budget that its sessions share."""

_slots: weakref.WeakKeyDictionary[object, RequestLimiter] = weakref.WeakKeyDictionary()
"""The registry of the process: for each HTTP client, the slots of its requests."""

_PATH_TO_LOOP = ("_connection", "_network_stream", "_stream", "transport_stream", "_transport", "_loop")
"""Where httpcore and anyio keep the loop of an open connection; skipped where a name is missing."""


class Clients(Protocol):
    """A source of clients for the event loop that runs."""

    @property
    def unclosed(self) -> bool:
        """Whether this source has opened a client and not been closed since."""
        ...

    async def client(self) -> ConversationsClient:
        """Return the client for the running event loop."""
        ...

    async def aclose(self) -> None:
        """Close the clients that this source opened."""
        ...


class GivenClient:
    """A client of the caller's: used in one event loop, never closed here."""

    unclosed = False

    def __init__(self, client: ConversationsClient) -> None:
        self._gateway = client

    async def client(self) -> ConversationsClient:
        """Return the client.

        Raises:
            ClientLoopError: It was first used in another event loop. Nothing was sent.
        """
        http_client, loop = self._gateway.http_client, asyncio.get_running_loop()
        if http_client not in _first_loops and _is_networked(http_client):
            if any(other is not loop for other in _loops_of_open_connections(http_client)):
                raise ClientLoopError
            _first_loops[http_client] = weakref.ref(loop)
        if http_client in _first_loops and _first_loops[http_client]() is not loop:
            raise ClientLoopError
        return self._gateway

    async def aclose(self) -> None:
        """Leave the client open: it is the caller's."""


class OwnClients(PerLoop[ConversationsClient]):
    """Clients that a session opens for itself, one for each event loop.

    Args:
        open_gateway: Returns a new client.
    """

    def __init__(self, open_gateway: Callable[[], ConversationsClient]) -> None:
        super().__init__(open_gateway, ConversationsClient.aclose)

    async def client(self) -> ConversationsClient:
        """Return the client of the running event loop, opened when there is none yet."""
        return await self.get()


def clients_for(
    client: Any,
    *,
    timeout: float | None,
    include: Sequence[str],
    retrier: Retrier,
    budget: RetryBudget | None,
) -> GivenClient | OwnClients:
    """Return the source of clients for a session.

    Args:
        client: The caller's `AsyncOpenAI`, or None for clients of the session's own.
        timeout: As for `ConversationsClient`.
        include: As for `ConversationsClient`.
        retrier: As for `ConversationsClient`.
        budget: What retries are paid from; None for one that the sessions of the client share.
    """
    api = partial(ConversationsClient, timeout=timeout, include=include)
    if client is None:
        own = replace(retrier, budget=budget or RetryBudget())
        return OwnClients(lambda: _with_slots(api(open_client(), retrier=own)))
    given = api(client, retrier=retrier)
    shared = budget or _budgets.setdefault(given.http_client, RetryBudget())
    given.retrier = replace(retrier, budget=shared)
    return GivenClient(_with_slots(given))


def _with_slots(client: ConversationsClient) -> ConversationsClient:
    """Give the requests of an HTTP client as many slots as it keeps connections."""
    http_client = client.http_client
    if _is_networked(http_client):
        kept = [getattr(pool, "_max_keepalive_connections", None) for pool in _pools(http_client)]
        slots = RequestLimiter(min(filter(None, kept), default=CONNECTIONS_KEPT))
        client.limiter = _slots.setdefault(http_client, slots)
    return client


def _is_networked(http_client: object) -> bool:
    """Tell whether an HTTP client keeps connections, unlike those that call an app in process."""
    return any(True for _ in _pools(http_client)) or "aiohttp" in type(_transport(http_client)).__module__


def _transport(http_client: object) -> object:
    return getattr(http_client, "_transport", None)


def _pools(http_client: object) -> Iterator[object]:
    """Yield the connection pools of an HTTP client, also behind transports that wrap another."""
    mounted = getattr(http_client, "_mounts", {}).values()
    transports = [_transport(http_client), *mounted]
    seen: set[int] = set()
    while transports:
        transport = transports.pop()
        if id(transport) in seen or not hasattr(transport, "handle_async_request"):
            continue
        seen.add(id(transport))
        if hasattr(transport, "_pool"):
            yield transport._pool  # noqa: SLF001 -- HTTP clients have no public name for it
        transports.extend(getattr(transport, "__dict__", {}).values())


def _loops_of_open_connections(http_client: object) -> Iterator[object]:
    for pool in _pools(http_client):
        for connection in getattr(pool, "connections", ()):
            part = connection
            for name in _PATH_TO_LOOP:
                part = getattr(part, name, part)
            if isinstance(part, asyncio.AbstractEventLoop):
                yield part


class AsyncCloseable(ABC):
    """Something that holds what must be let go of."""

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of what is held."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
