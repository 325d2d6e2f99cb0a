"""How many requests of one HTTP client are under way at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

_PATIENCE = 2.0
"""Seconds that a request waits for its slot at most; then it goes without one."""


class Slots:
    """As many requests at once as an HTTP client keeps connections; the next one waits a little.

    One more would open a connection for itself alone, and for each request the client looks through
    all of its connections: a thousand at once take far longer than a hundred at a time. Where answers
    take so long that a slot does not come free soon, it goes all the same.

    Args:
        count: How many.
        patience: Seconds that one waits at most.
    """

    def __init__(self, count: int, *, patience: float = _PATIENCE) -> None:
        self._semaphore = asyncio.Semaphore(count)
        self._patience = patience

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Hold a slot, or go without one."""
        has_slot = await self._acquire()
        try:
            yield
        finally:
            if has_slot:
                self._semaphore.release()

    async def _acquire(self) -> bool:
        if not self._semaphore.locked():
            return await self._semaphore.acquire()
        with anyio.move_on_after(self._patience):
            return await self._semaphore.acquire()
        return False
