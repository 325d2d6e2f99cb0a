"""Work that goes on although its caller is cancelled, for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import anyio

T = TypeVar("T")

GRACE = 10.0
"""Seconds that work may go on after its caller was cancelled."""

ACQUIRING = 1.0
"""Seconds that a cancelled caller waits for work that is acquiring something, to be given back at once."""

_running: set[asyncio.Task[object]] = set()
"""Tasks under way: an event loop holds its tasks weakly."""


class OperationCancelledError(Exception):
    """Tell that an operation has ended because its caller was cancelled."""


class Cancellation:
    """What work sees of its caller's cancellation.

    Attributes:
        grace: Seconds that it may go on then.
        has_begun: Set by the work once it can no longer be dropped without a trace.
        is_acquiring: Set by the work while it waits for something that nobody would give back if the
            waiting were cut: it is left to end by itself.
        is_over: Set when the time is up in which it could have ended by itself.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self._event = asyncio.Event()
        self.grace = grace
        self.has_begun = False
        self.is_acquiring = False
        self.is_over = False

    def is_set(self) -> bool:
        """Tell whether the caller was cancelled: end, and leave nothing behind."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise when the caller was cancelled.

        Raises:
            OperationCancelledError: It was.
        """
        if self.is_set():
            raise OperationCancelledError

    def set(self) -> None:
        """Tell the work that its caller was cancelled."""
        self._event.set()

    async def cut_short(self, sleep: Awaitable[None]) -> None:
        """Wait for a sleep, or until the caller is cancelled."""
        waits = {asyncio.ensure_future(sleep), asyncio.ensure_future(self._event.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


async def run_shielded(
    work: Callable[[Cancellation], Awaitable[T]],
    *,
    undo: Callable[[T], Awaitable[object]] | None = None,
    grace: float = GRACE,
    patience: float = ACQUIRING,
) -> T:
    """Run work in a task of its own, shielded from the cancellation of its caller.

    Work that has not begun is cancelled at once. Otherwise it is told, and has `grace` seconds in all
    to end by itself; then it is cancelled too. Work that is acquiring something goes on without its
    caller, and must give it back. Cancellation of asyncio and of anyio, once or many
    times, is absorbed until the work has ended, and then goes on.

    Args:
        work: Called with what it sees of the cancellation.
        undo: Called with the result of work that had succeeded by the time of the cancellation.
        grace: Seconds.
        patience: Seconds that the caller waits for work that is acquiring something.
    """
    cancellation = Cancellation(grace)
    task = _own(work(cancellation))
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
            await _end(task, grace, cancellation)
            if undo and not task.cancelled() and task.exception() is None:
                await _end(_own(undo(task.result())), grace, Cancellation())
        raise
    return task.result()


def _own(work: Awaitable[T]) -> asyncio.Task[T]:
    task: asyncio.Task[T] = asyncio.ensure_future(_await(work))
    _running.add(task)
    task.add_done_callback(_let_go)
    return task


def _let_go(task: asyncio.Task[object]) -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()  # seen: of work whose caller is gone, the cancellation says it


async def _await(work: Awaitable[T]) -> T:
    return await work


async def _wait(task: asyncio.Task[T], seconds: float | None) -> None:
    """Wait for a task; absorb further cancellations."""
    loop = asyncio.get_running_loop()
    until = None if seconds is None else loop.time() + seconds
    while not task.done() and (until is None or loop.time() < until):
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task}, timeout=None if until is None else until - loop.time())


async def _end(task: asyncio.Task[T], grace: float, cancellation: Cancellation) -> None:
    """Wait for a task until its time is up, then cancel it; absorb further cancellations."""
    await _wait(task, grace)
    cancellation.is_over = True
    task.cancel()
    await _wait(task, None)
