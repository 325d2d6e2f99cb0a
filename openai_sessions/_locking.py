"""A lock between tasks of any event loops and threads."""

from __future__ import annotations

import asyncio
import threading
from collections import deque


class FairLock:
    """Mutual exclusion, first come first served, across event loops.

    An `asyncio.Lock` belongs to one loop; a conversation may be used from several, in one thread one
    after another or in several threads. Nothing blocks: the inner `threading.Lock` is held for a few
    instructions only. A cancelled waiter and a closed loop pass the lock on. Not re-entrant.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._owner: asyncio.AbstractEventLoop | None = None
        self._waiters: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        with self._guard:
            if self._owner is not None and self._owner.is_closed():
                self._hand_over()
            if self._owner is None:
                self._owner = loop
                return
            waiter = (loop, loop.create_future())
            self._waiters.append(waiter)
        await self._wait(waiter)

    async def __aexit__(self, *_: object) -> None:
        with self._guard:
            self._hand_over()

    async def _wait(self, waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]) -> None:
        try:
            await waiter[1]
        except asyncio.CancelledError:
            with self._guard:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                else:
                    self._hand_over()
            raise

    def _hand_over(self) -> None:
        """Give the lock to the first waiter whose loop still runs, or set it free."""
        self._owner = None
        while self._waiters and self._owner is None:
            loop, future = self._waiters.popleft()
            try:
                loop.call_soon_threadsafe(_grant, future)
            except RuntimeError:
                continue  # this waiter's loop is closed
            self._owner = loop


def _grant(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
