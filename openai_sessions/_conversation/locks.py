"""The lock of a conversation in this process, and the caller's lock across processes."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from openai_sessions._conversation.shielding import Cancellation, run_shielded, start
from openai_sessions.errors import StoppedLoopError

logger = logging.getLogger("openai_sessions")

ConversationLock: TypeAlias = Callable[[str], AbstractAsyncContextManager[Any]]
"""Given a conversation id, returns an async context manager that holds its lock, such as a lock of Redis.

If entering it returns an object with a method `raise_if_lost()`, that is called before each write under it.
"""

LockCheck: TypeAlias = Callable[[], object]
"""Raises an error if the caller's lock was lost."""


def never_lost() -> None:
    """Check a lock that cannot tell whether it was lost, or none."""


@asynccontextmanager
async def holding(
    lock: ConversationLock, conversation_id: str, cancellation: Cancellation
) -> AsyncIterator[LockCheck]:
    """Hold the caller's lock, and yield its check. An error on releasing it is logged: the work is done.

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
        entered = await manager.__aenter__()
    finally:
        cancellation.is_acquiring = False
    try:
        cancellation.check()
        yield getattr(entered, "raise_if_lost", never_lost)
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


@asynccontextmanager
async def holding_throughout(lock: ConversationLock, conversation_id: str) -> AsyncIterator[LockCheck]:
    """Hold the caller's lock for a whole block, and yield its check.

    It is entered and left in a task of its own, as some locks require, which the cancellation of the block
    does not reach. Errors are those of `holding`.
    """
    acquired: asyncio.Future[LockCheck] = asyncio.get_running_loop().create_future()
    is_over = asyncio.Event()

    async def hold(cancellation: Cancellation) -> None:
        async with holding(lock, conversation_id, cancellation) as check:
            acquired.set_result(check)
            await is_over.wait()

    async def acquire(cancellation: Cancellation) -> asyncio.Task[None]:
        holder = start(hold(cancellation))
        try:
            waits: set[asyncio.Future[Any]] = {holder, acquired}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            is_over.set()
            raise
        if not acquired.done():
            await holder
        return holder

    async def release(holder: asyncio.Task[None]) -> None:
        is_over.set()
        await holder

    def releasing(cancellation: Cancellation) -> Coroutine[Any, Any, None]:
        cancellation.has_begun = True
        return release(holder)

    holder = await run_shielded(acquire, undo=release)
    try:
        yield acquired.result()
    finally:
        await run_shielded(releasing)


PATIENCE = 40.0
"""Seconds to wait while the holder is on an event loop that does not run: more than the default timeout of a
request and the grace period of a cancelled operation together."""

_CHECK_EVERY = 1.0
"""Seconds between two checks of whether the holder's event loop runs."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """One acquisition of a lock.

    Attributes:
        loop: The event loop of the waiting task.
        granted: Completed when the lock is acquired.
        name: The task and its thread, for errors.
    """

    loop: asyncio.AbstractEventLoop
    granted: asyncio.Future[None]
    name: str

    @classmethod
    def new(cls) -> _Waiter:
        """Return a waiter for the current task."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        name = f"{task.get_name() if task else 'a callback'} of {threading.current_thread().name}"
        return cls(loop, loop.create_future(), name)


class FairLock:
    """Mutual exclusion, first come first served, across event loops and threads.

    An `asyncio.Lock` belongs to one loop; a conversation may be used from several, in one thread one after
    another or in several threads. Nothing blocks: the inner `threading.Lock` is held for a few instructions
    only. A cancelled waiter and a closed loop pass the lock on; a waiter on a loop that does not run lets
    others go first. Not re-entrant.
    """

    __slots__ = ("_guard", "_holder", "_waiting")

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._holder: _Waiter | None = None
        self._waiting: list[_Waiter] = []  # an empty deque takes 700 bytes

    @asynccontextmanager
    async def held(self, patience: float = PATIENCE) -> AsyncIterator[None]:
        """Hold the lock.

        Args:
            patience: Seconds to wait while the holder is on an event loop that does not run. While it runs,
                there is no limit.

        Raises:
            StoppedLoopError: That time has passed. The lock was not acquired.
        """
        waiter = _Waiter.new()
        try:
            if not self._acquire(waiter):
                await self._wait(waiter, patience)
            yield
        finally:
            self._release(waiter)

    async def _wait(self, waiter: _Waiter, patience: float) -> None:
        stopped: _Waiter | None = None
        since = 0.0
        while not waiter.granted.done():
            await asyncio.wait({waiter.granted}, timeout=min(_CHECK_EVERY, patience))
            with self._guard:
                self._pass_on()
                holder = self._holder
            now = waiter.loop.time()
            if holder is None or holder.loop.is_running():
                stopped = None
            elif holder is not stopped:
                stopped, since = holder, now
            elif now - since >= patience:
                raise StoppedLoopError(holder.name, patience)

    def _acquire(self, waiter: _Waiter) -> bool:
        with self._guard:
            self._waiting.append(waiter)
            self._pass_on()
            if self._holder is waiter:
                waiter.granted.set_result(None)
            return self._holder is waiter

    def _release(self, waiter: _Waiter) -> None:
        """Release the lock, or leave the queue. In a closed loop the lock may be another's by then."""
        with self._guard:
            if self._holder is waiter:
                self._holder = None
                self._pass_on()
            elif waiter in self._waiting:
                self._waiting.remove(waiter)

    def _pass_on(self) -> None:
        """Give the lock to the next waiter, unless somebody holds it who may go on."""
        holder = self._holder
        if holder is not None and not holder.loop.is_closed():
            if holder.granted.done() or holder.loop.is_running():
                return
            self._waiting.insert(0, holder)  # it has not begun
        self._holder = None
        self._waiting = [each for each in self._waiting if not each.loop.is_closed()]
        for waiter in sorted(self._waiting, key=lambda each: not each.loop.is_running()):
            self._waiting.remove(waiter)
            try:
                waiter.loop.call_soon_threadsafe(self._grant, waiter)
            except RuntimeError:
                continue  # its loop was closed since
            self._holder = waiter
            return

    def _grant(self, waiter: _Waiter) -> None:
        """Tell a waiter, in its own loop, that it holds the lock, unless others went first."""
        with self._guard:
            if self._holder is waiter and not waiter.granted.done():
                waiter.granted.set_result(None)
