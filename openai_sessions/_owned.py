"""Work that goes on although its caller is cancelled, for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")

GRACE = 10.0
"""Seconds that work may go on after its caller was cancelled."""

_running: set[asyncio.Task[object]] = set()
"""Tasks under way: an event loop holds its tasks weakly."""


class InterruptedOperationError(Exception):
    """Tell that an operation has ended because its caller was cancelled."""


class Interruption:
    """What work sees of its caller's cancellation.

    Attributes:
        has_begun: Set by the work once it can no longer be dropped without a trace.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.has_begun = False

    def is_set(self) -> bool:
        """Tell whether the caller was cancelled: end, and leave nothing behind."""
        return self._event.is_set()

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


async def run_owned(
    work: Callable[[Interruption], Awaitable[T]],
    *,
    undo: Callable[[T], Awaitable[object]] | None = None,
    grace: float = GRACE,
) -> T:
    """Run work in a task of its own, shielded from the cancellation of its caller.

    Work that has not begun is cancelled at once. Otherwise it is told, and has `grace` seconds in all
    to end by itself; then it is cancelled too. Cancellation of asyncio and of anyio, once or many
    times, is absorbed until the work has ended, and then goes on.

    Args:
        work: Called with what it sees of the cancellation.
        undo: Called with the result of work that had succeeded by the time of the cancellation.
        grace: Seconds.
    """
    interruption = Interruption()
    task = _own(work(interruption))
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        interruption.set()
        if not interruption.has_begun:
            task.cancel()
        with anyio.CancelScope(shield=True):
            await _end(task, grace)
            if undo and not task.cancelled() and task.exception() is None:
                await _end(_own(undo(task.result())), grace)
        raise
    return task.result()


def _own(work: Awaitable[T]) -> asyncio.Task[T]:
    task: asyncio.Task[T] = asyncio.ensure_future(_await(work))
    _running.add(task)
    task.add_done_callback(_running.discard)
    return task


async def _await(work: Awaitable[T]) -> T:
    return await work


async def _end(task: asyncio.Task[T], grace: float) -> None:
    """Wait for a task until its time is up, then cancel it; absorb further cancellations."""
    loop = asyncio.get_running_loop()
    cut = loop.call_later(grace, task.cancel)
    try:
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                continue
    finally:
        cut.cancel()
    if not task.cancelled():
        task.exception()  # the cancellation says it; an error that adds to it was logged
