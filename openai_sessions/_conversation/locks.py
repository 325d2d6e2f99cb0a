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


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    """One taking of a lock: the event loop that asks for it, and what tells that it is had."""

    loop: asyncio.AbstractEventLoop
    granted: asyncio.Future[None]


class FairLock:
    """Mutual exclusion, first come first served, across event loops.

    An `asyncio.Lock` belongs to one loop; a conversation may be used from several, in one thread one
    after another or in several threads. Nothing blocks: the inner `threading.Lock` is held for a few
    instructions only. A cancelled waiter and a closed loop pass the lock on. Not re-entrant.
    """

    __slots__ = ("_guard", "_holder", "_waiting")

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._holder: _Turn | None = None
        self._waiting: list[_Turn] = []  # an empty deque takes 700 bytes

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold the lock."""
        loop = asyncio.get_running_loop()
        turn = _Turn(loop, loop.create_future())
        try:
            if not self._take(turn):
                await turn.granted
            yield
        finally:
            self._leave(turn)

    def _take(self, turn: _Turn) -> bool:
        with self._guard:
            if self._holder is not None and self._holder.loop.is_closed():
                self._hand_over()
            if self._holder is None:
                self._holder = turn
                return True
            self._waiting.append(turn)
            return False

    def _leave(self, turn: _Turn) -> None:
        """Leave the lock, or the queue. In a closed loop that may be long after another took it over."""
        with self._guard:
            if self._holder is turn:
                self._hand_over()
            elif turn in self._waiting:
                self._waiting.remove(turn)

    def _hand_over(self) -> None:
        """Give the lock to the first waiter whose loop still runs, or set it free."""
        self._holder = None
        while self._waiting and self._holder is None:
            turn = self._waiting.pop(0)
            try:
                turn.loop.call_soon_threadsafe(_grant, turn.granted)
            except RuntimeError:
                continue  # this waiter's loop is closed
            self._holder = turn


def _grant(granted: asyncio.Future[None]) -> None:
    if not granted.done():
        granted.set_result(None)


logger = logging.getLogger("openai_sessions")

PluggedLock: TypeAlias = Callable[[str], AbstractAsyncContextManager[Any]]
"""Given a conversation id, returns an async context manager that holds the lock of its name."""


@asynccontextmanager
async def holding(lock: PluggedLock, conversation_id: str, cancellation: Cancellation) -> AsyncIterator[None]:
    """Hold a lock. An error on leaving it is logged: what was done under it has been done.

    Acquiring it is not cut when the caller is cancelled, as a lock that is had without anybody
    knowing would be held until its lease ends: once it is had, it is left.

    Raises:
        OperationCancelledError: The caller was cancelled meanwhile.
        TypeError: It is no lock for async. Nothing was sent.
        Exception: The lock could not be had. Nothing was sent.
    """
    manager = lock(conversation_id)
    if not hasattr(manager, "__aenter__"):
        raise TypeError(
            f"lock= gave a {type(manager).__name__}, which is no async context manager: give one, such as a "
            "lock of redis.asyncio"
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
        await _leave(manager, conversation_id, *sys.exc_info())
        raise
    else:
        await _leave(manager, conversation_id, None, None, None)


async def _leave(manager: AbstractAsyncContextManager[Any], conversation_id: str, *error: Any) -> None:
    try:
        await manager.__aexit__(*error)
    except Exception as problem:  # noqa: BLE001 -- what was done under the lock is done
        logger.warning("%s: leaving the lock failed: %s", conversation_id, type(problem).__name__)
