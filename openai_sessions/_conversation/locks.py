"""The lock of a conversation in this process, and the caller's lock across processes."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from openai_sessions._conversation.shielding import Cancellation

logger = logging.getLogger("openai_sessions")

ConversationLock: TypeAlias = Callable[[str], AbstractAsyncContextManager[Any]]
"""Given a conversation id, returns an async context manager that holds its lock, such as a lock of Redis."""


@asynccontextmanager
async def holding(
    lock: ConversationLock, conversation_id: str, cancellation: Cancellation
) -> AsyncIterator[None]:
    """Hold the caller's lock. An error on releasing it is logged: the work under it is done.

    Acquiring it is not cut when the caller is cancelled: a lock acquired without anybody knowing would be
    held until its lease ends. Once acquired, it is released.

    Raises:
        OperationCancelledError: The caller was cancelled meanwhile.
        TypeError: It is not an async lock. Nothing was sent.
        Exception: The lock could not be acquired. Nothing was sent.
    """
    manager = lock(conversation_id)
    if not hasattr(manager, "__aenter__"):
        raise TypeError(
            f"lock= returned a {type(manager).__name__}, which is not an async context manager: return one, "
            "such as a lock of redis.asyncio"
        )
    cancellation.is_acquiring = True
    try:
        await manager.__aenter__()
    finally:
        cancellation.is_acquiring = False
    try:
        cancellation.check()
        yield
    except BaseException:
        await _release(manager, conversation_id, *sys.exc_info())
        raise
    else:
        await _release(manager, conversation_id, None, None, None)


async def _release(manager: AbstractAsyncContextManager[Any], conversation_id: str, *error: Any) -> None:
    try:
        await manager.__aexit__(*error)
    except Exception as problem:  # noqa: BLE001 -- the work under the lock is done
        logger.warning("%s: releasing the lock failed: %s", conversation_id, type(problem).__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """One acquisition of a lock.

    Attributes:
        loop: The event loop of the waiting task.
        granted: Completed when the lock is acquired.
    """

    loop: asyncio.AbstractEventLoop
    granted: asyncio.Future[None]


class FairLock:
    """Mutual exclusion, first come first served, across event loops and threads.

    An `asyncio.Lock` belongs to one loop; a conversation may be used from several, in one thread one after
    another or in several threads. Nothing blocks: the inner `threading.Lock` is held for a few instructions
    only. A cancelled waiter and a closed loop pass the lock on. Not re-entrant.
    """

    __slots__ = ("_guard", "_holder", "_waiting")

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._holder: _Waiter | None = None
        self._waiting: list[_Waiter] = []  # an empty deque takes 700 bytes

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold the lock."""
        loop = asyncio.get_running_loop()
        waiter = _Waiter(loop, loop.create_future())
        try:
            if not self._acquire(waiter):
                await waiter.granted
            yield
        finally:
            self._release(waiter)

    def _acquire(self, waiter: _Waiter) -> bool:
        with self._guard:
            if self._holder is not None and self._holder.loop.is_closed():
                self._hand_over()
            if self._holder is None:
                self._holder = waiter
                return True
            self._waiting.append(waiter)
            return False

    def _release(self, waiter: _Waiter) -> None:
        """Release the lock, or leave the queue. In a closed loop the lock may be another's by then."""
        with self._guard:
            if self._holder is waiter:
                self._hand_over()
            elif waiter in self._waiting:
                self._waiting.remove(waiter)

    def _hand_over(self) -> None:
        """Give the lock to the first waiter whose loop still runs, or leave it free."""
        self._holder = None
        while self._waiting and self._holder is None:
            waiter = self._waiting.pop(0)
            try:
                waiter.loop.call_soon_threadsafe(_grant, waiter.granted)
            except RuntimeError:
                continue  # this waiter's loop is closed
            self._holder = waiter


def _grant(granted: asyncio.Future[None]) -> None:
    if not granted.done():
        granted.set_result(None)
