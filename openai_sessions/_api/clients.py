"""Which client serves which event loop, and what the sessions of one client share."""

from __future__ import annotations

import asyncio
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from openai_sessions._api.client import CONNECTIONS_KEPT, ConversationsClient, RequestLimiter, open_client
from openai_sessions._api.retries import Retries, RetryBudget, RetryEvent, RetryPolicy
from openai_sessions._api.transports import is_networked, transports_of
from openai_sessions._arguments import MAX_REQUEST_BYTES, checked_seconds, is_whole_number
from openai_sessions.errors import ClientLoopError

if TYPE_CHECKING:
    from types import TracebackType

    from openai import AsyncOpenAI
    from typing_extensions import Self

T = TypeVar("T")

_CLOSING_TIMEOUT = 5.0
"""Maximum seconds to wait for another thread's loop to close a resource."""

_first_loops: weakref.WeakKeyDictionary[object, weakref.ref[asyncio.AbstractEventLoop]] = (
    weakref.WeakKeyDictionary()
)
"""The registry of the process: for each HTTP client of a caller, the event loop of its first use."""

_budgets: weakref.WeakKeyDictionary[object, RetryBudget] = weakref.WeakKeyDictionary()
"""The registry of the process: for each HTTP client of a caller, the budget that its sessions share."""

_limiters: weakref.WeakKeyDictionary[object, RequestLimiter] = weakref.WeakKeyDictionary()
"""The registry of the process: for each HTTP client, the limiter of its requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSettings:
    """How a session sends requests.

    Attributes:
        timeout: Seconds of wall clock for one request, from its start to the last byte of the response; None
            for the client's own limits only.
        max_bytes: Maximum size of a request that appends items, in bytes of their JSON. A single item may be
            larger.
        retry_policy: How often a failed request is sent again, and how long it takes at most.
        retry_budget: Pays for retries; by default the sessions of one client share a budget.
        on_retry: Called with a `RetryEvent` before a request is sent again. An exception it raises is logged.

    Raises:
        ValueError: The timeout or `max_bytes` is not a positive number.
        TypeError: Another value is of the wrong type.
    """

    timeout: float | None = 30.0
    max_bytes: int = MAX_REQUEST_BYTES
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    retry_budget: RetryBudget | None = None
    on_retry: Callable[[RetryEvent], object] | None = None

    def __post_init__(self) -> None:
        checked_seconds("timeout", self.timeout)
        if not is_whole_number(self.max_bytes) or self.max_bytes < 1:
            raise ValueError(f"max_bytes must be a whole number of at least 1, not {self.max_bytes!r}")
        for name, kind in (("retry_policy", RetryPolicy), ("retry_budget", (RetryBudget, type(None)))):
            if not isinstance(getattr(self, name), kind):
                wanted = "a RetryPolicy" if name == "retry_policy" else "a RetryBudget or None"
                raise TypeError(f"{name} must be {wanted}, not {getattr(self, name)!r}")
        if self.on_retry is not None and not callable(self.on_retry):
            raise TypeError(f"on_retry must be a function of a RetryEvent, or None, not {self.on_retry!r}")


class Clients(Protocol):
    """A source of clients for the running event loop."""

    @property
    def unclosed(self) -> bool:
        """Whether this source has opened a client, and was not closed since."""
        ...

    @property
    def given(self) -> AsyncOpenAI | None:
        """The caller's client, or None if this source opens its own."""
        ...

    async def client(self) -> ConversationsClient:
        """Return the client for the running event loop.

        Raises:
            ClientLoopError: The caller's client was first used in another event loop. Nothing was sent.
            openai.OpenAIError: The environment has no credentials.
        """
        ...

    async def aclose(self) -> None:
        """Close the clients that this source has opened."""
        ...


def clients_for(
    client: AsyncOpenAI | None, requests: RequestSettings, include: Sequence[str] = ()
) -> Clients:
    """Return the source of clients for a session.

    Args:
        client: The caller's client, or None for clients that the session opens itself.
        requests: How the session sends requests.
        include: As for `ConversationsClient`.

    Raises:
        TypeError: The client is synchronous.
    """
    budget = requests.retry_budget
    if client is None:
        budget = budget or RetryBudget()
        return OwnClients(lambda: _client(open_client(), requests, include, budget))
    shared = budget or _budgets.setdefault(client._client, RetryBudget())  # noqa: SLF001 -- has no public name
    return GivenClient(_client(client, requests, include, shared))


def _client(
    client: AsyncOpenAI, requests: RequestSettings, include: Sequence[str], budget: RetryBudget
) -> ConversationsClient:
    retries = Retries(policy=requests.retry_policy, budget=budget, on_retry=requests.on_retry)
    made = ConversationsClient(
        client, timeout=requests.timeout, retries=retries, include=include, max_bytes=requests.max_bytes
    )
    http_client = made.http_client
    if is_networked(http_client):
        pools = [getattr(transport, "_pool", None) for transport in transports_of(http_client)]
        kept = [getattr(pool, "_max_keepalive_connections", None) for pool in pools]
        limiter = RequestLimiter(min(filter(None, kept), default=CONNECTIONS_KEPT))
        made.limiter = _limiters.setdefault(http_client, limiter)
    return made


class GivenClient:
    """The caller's client: used in the event loop of its first use only, never closed here."""

    unclosed = False

    def __init__(self, client: ConversationsClient) -> None:
        self._client = client

    @property
    def given(self) -> AsyncOpenAI:
        """The caller's client."""
        return self._client.openai_client

    async def client(self) -> ConversationsClient:
        """Return the client.

        Raises:
            ClientLoopError: It was first used in another event loop. Nothing was sent.
        """
        http_client, loop = self._client.http_client, asyncio.get_running_loop()
        if http_client not in _first_loops and is_networked(http_client):
            _first_loops[http_client] = weakref.ref(loop)
        if http_client in _first_loops and _first_loops[http_client]() is not loop:
            raise ClientLoopError
        return self._client

    async def aclose(self) -> None:
        """Leave the client open: the caller closes it."""


class OwnClients:
    """Clients that a session opens, one for each event loop.

    Args:
        open_one: Returns a new client.
    """

    given = None

    def __init__(self, open_one: Callable[[], ConversationsClient]) -> None:
        self._open = PerLoop(open_one, ConversationsClient.aclose)

    @property
    def unclosed(self) -> bool:
        """Whether a client was opened, and `aclose()` not called since."""
        return self._open.unclosed

    async def client(self) -> ConversationsClient:
        """Return the client of the running event loop; open it if there is none yet."""
        return await self._open.get()

    async def aclose(self) -> None:
        """Close all clients, each in its own loop."""
        await self._open.aclose()


class PerLoop(Generic[T]):
    """One resource for each event loop, opened when first needed, closed when its loop shuts down.

    Args:
        open_one: Returns a new resource.
        close: Closes a resource, in its loop.

    Attributes:
        unclosed: Whether a resource was opened, and `aclose()` not called since.
    """

    def __init__(self, open_one: Callable[[], T], close: Callable[[T], Awaitable[None]]) -> None:
        self._open_one = open_one
        self._close = close
        self._guard = threading.Lock()
        self._open: dict[asyncio.AbstractEventLoop, tuple[T, AsyncGenerator[None, None]]] = {}
        self.unclosed = False

    async def get(self) -> T:
        """Return the resource of the running event loop."""
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
        """Close all, each in its own loop. A later `get()` opens a new one."""
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
        """Close the resource when the loop shuts down its asynchronous generators, before the loop closes."""
        try:
            yield
        finally:
            await self._close(opened)

    def _has_ended(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return whether the resource of a loop is closed. The loop itself may go on.

        `Runner.run_sync` shuts down the asynchronous generators of its loop after each run, and with them the
        resources opened there.
        """
        _, lifetime = self._open[loop]
        return loop.is_closed() or getattr(lifetime, "ag_frame", None) is None


async def _aclose(lifetime: AsyncGenerator[None, None]) -> None:
    await lifetime.aclose()


class AsyncCloseable(ABC):
    """An object that is closed by `aclose()`, or by leaving `async with`."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close what this object has opened."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
