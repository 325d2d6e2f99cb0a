"""Work that outlives the cancellation of its caller, for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import anyio

T = TypeVar("T")

GRACE = 10.0
"""Seconds that work may continue after its caller was cancelled."""

ACQUIRING = 1.0
"""Seconds that a cancelled caller waits for work that is acquiring a lock, to be released at once."""

_running: set[asyncio.Task[Any]] = set()
"""Tasks in progress: an event loop keeps only weak references to its tasks."""


class OperationCancelledError(Exception):
    """Raised inside shielded work that ends because its caller was cancelled."""


class Cancellation:
    """The caller's cancellation, as seen by the shielded work.

    Attributes:
        grace: Seconds that the work may continue after the cancellation.
        has_begun: Set by the work once dropping it would leave something behind.
        is_acquiring: Set by the work while it waits for a lock that nobody would release if the wait were
            cut: it is left to end by itself.
        is_over: Set when the grace period has passed.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self._event = asyncio.Event()
        self.grace = grace
        self.has_begun = False
        self.is_acquiring = False
        self.is_over = False

    def is_set(self) -> bool:
        """Return whether the caller was cancelled: the work must end, and leave nothing behind."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise `OperationCancelledError` if the caller was cancelled."""
        if self.is_set():
            raise OperationCancelledError

    def set(self) -> None:
        """Tell the work that its caller was cancelled."""
        self._event.set()

    async def cut_short(self, sleep: Awaitable[None]) -> None:
        """Wait for a sleep to end, or for the cancellation of the caller."""
        waits = {asyncio.ensure_future(sleep), asyncio.ensure_future(self._event.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


async def run_shielded(
    work: Callable[[Cancellation], Coroutine[Any, Any, T]],
    *,
    undo: Callable[[T], Coroutine[Any, Any, object]] | None = None,
    grace: float = GRACE,
    patience: float = ACQUIRING,
) -> T:
    """Run work in a task of its own, shielded from the cancellation of its caller.

    Work that has not begun is cancelled at once. Otherwise it is told, and has the grace period to end by
    itself; then it is cancelled too. Work that is acquiring a lock continues without its caller, and must
    release the lock. Cancellations by asyncio and by anyio, one or several, are absorbed until the work has
    ended; then the first one propagates.

    Args:
        work: Called with the cancellation of its caller, as it sees it.
        undo: Called with the result of work that had succeeded by the time of the cancellation.
        grace: Seconds that the work may continue after the cancellation.
        patience: Seconds that the caller waits for work that is acquiring a lock.
    """
    cancellation = Cancellation(grace)
    task = start(work(cancellation))
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        cancellation.set()
        with anyio.CancelScope(shield=True):
            if cancellation.is_acquiring:
                await _wait(task, patience)
                raise
            if not cancellation.has_begun:
                task.cancel()
            await _end(task, cancellation)
            if undo and not task.cancelled() and task.exception() is None:
                await _end(start(undo(task.result())), Cancellation(grace))
        raise
    return task.result()


async def run_to_end(work: Coroutine[Any, Any, T], grace: float = GRACE) -> T:
    """Run the last work of a caller that was cancelled already; absorb further cancellations.

    Raises:
        asyncio.CancelledError: The grace period has passed, and the work was cancelled.
    """
    task = start(work)
    with anyio.CancelScope(shield=True):
        await _end(task, Cancellation(grace))
    return task.result()


def start(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task that runs to its end although nobody may wait for it."""
    task = asyncio.get_running_loop().create_task(work)
    _running.add(task)
    task.add_done_callback(_finish)
    return task


def _finish(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()  # retrieved: if the caller is gone, its cancellation is what it raises


async def _wait(task: asyncio.Task[Any], seconds: float | None) -> None:
    """Wait for a task; absorb further cancellations."""
    loop = asyncio.get_running_loop()
    until = None if seconds is None else loop.time() + seconds
    while not task.done() and (until is None or loop.time() < until):
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task}, timeout=None if until is None else until - loop.time())


async def _end(task: asyncio.Task[Any], cancellation: Cancellation) -> None:
    """Wait for a task for the grace period, then cancel it; absorb further cancellations."""
    await _wait(task, cancellation.grace)
    cancellation.is_over = True
    task.cancel()
    await _wait(task, None)
