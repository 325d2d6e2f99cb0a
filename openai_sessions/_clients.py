"""Which client a session uses in which event loop.

The connections of a client belong to the event loop that opened them. A session without a client of
the caller's keeps one for each loop, and closes each as its loop shuts down. A client of the caller's
is refused outside of the loop in which it was first used.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from openai_sessions._gateway import CONNECTIONS_KEPT, Gateway, open_client
from openai_sessions._per_loop import PerLoop
from openai_sessions._retrying import Retrier, RetryBudget
from openai_sessions._slots import Slots
from openai_sessions.errors import ClientLoopError

_first_loops: weakref.WeakKeyDictionary[object, weakref.ref[asyncio.AbstractEventLoop]] = (
    weakref.WeakKeyDictionary()
)
"""The registry of the process: for each HTTP client of a caller, the loop in which it was first used."""

_budgets: weakref.WeakKeyDictionary[object, RetryBudget] = weakref.WeakKeyDictionary()
"""The registry of the process: for each HTTP client of a caller, the budget that its sessions share."""

_slots: weakref.WeakKeyDictionary[object, Slots] = weakref.WeakKeyDictionary()
"""The registry of the process: for each HTTP client, the slots of its requests."""

_PATH_TO_LOOP = ("_connection", "_network_stream", "_stream", "transport_stream", "_transport", "_loop")
"""Where httpcore and anyio keep the loop of an open connection; skipped where a name is missing."""


class Clients(Protocol):
    """A source of clients for the event loop that runs."""

    @property
    def unclosed(self) -> bool:
        """Whether this source has opened a client and not been closed since."""
        ...

    async def gateway(self) -> Gateway:
        """Return the client for the running event loop."""
        ...

    async def aclose(self) -> None:
        """Close the clients that this source opened."""
        ...


class GivenClient:
    """A client of the caller's: used in one event loop, never closed here."""

    unclosed = False

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def gateway(self) -> Gateway:
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


class OwnClients(PerLoop[Gateway]):
    """Clients that a session opens for itself, one for each event loop.

    Args:
        open_gateway: Returns a new client.
    """

    def __init__(self, open_gateway: Callable[[], Gateway]) -> None:
        super().__init__(open_gateway, Gateway.aclose)

    async def gateway(self) -> Gateway:
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
        timeout: As for `Gateway`.
        include: As for `Gateway`.
        retrier: As for `Gateway`.
        budget: What retries are paid from; None for one that the sessions of the client share.
    """
    gateway = partial(Gateway, timeout=timeout, include=include)
    if client is None:
        own = replace(retrier, budget=budget or RetryBudget())
        return OwnClients(lambda: _with_slots(gateway(open_client(), retrier=own)))
    given = gateway(client, retrier=retrier)
    shared = budget or _budgets.setdefault(given.http_client, RetryBudget())
    given.retrier = replace(retrier, budget=shared)
    return GivenClient(_with_slots(given))


def _with_slots(gateway: Gateway) -> Gateway:
    """Give the requests of an HTTP client as many slots as it keeps connections."""
    http_client = gateway.http_client
    if _is_networked(http_client):
        kept = [getattr(pool, "_max_keepalive_connections", None) for pool in _pools(http_client)]
        slots = Slots(min(filter(None, kept), default=CONNECTIONS_KEPT))
        gateway.slots = _slots.setdefault(http_client, slots)
    return gateway


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
