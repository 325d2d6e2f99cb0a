"""Things that belong to an event loop, as connections do: one for each loop, closed with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeVar

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
