"""The event loop of the process on which sessions without async do their work."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import wait
from typing import Any, Generic, TypeVar

from openai_sessions._conversation.shielding import GRACE

T = TypeVar("T")

_AT_EXIT = 2 * GRACE
"""Seconds that operations have at the end of the program to be undone."""


class _Call(Generic[T]):
    """A coroutine that runs on the loop while the thread that called it waits.

    An exception may be raised in that thread at any instruction, by a signal. It waits for a plain lock: the
    locks inside of events and futures may be left held then, and would stop the loop.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        tasks: set[asyncio.Task[Any]],
        work: Callable[[], Coroutine[Any, Any, T]],
    ) -> None:
        self._loop = loop
        self._tasks = tasks
        self._work = work
        self._task: asyncio.Task[T] | None = None
        self._has_ended = False
        self._until_end = threading.Lock()
        self._until_end.acquire()

    def start(self) -> None:
        """Start the coroutine; called on the loop."""
        self._task = self._loop.create_task(self._work())
        self._tasks.add(self._task)
        self._task.add_done_callback(self._end)

    def cancel(self) -> None:
        """Cancel the coroutine, or see that it was never started; called on the loop."""
        if self._task is None:
            self._until_end.release()
        else:
            self._task.cancel()

    def wait(self) -> None:
        """Wait until the coroutine has ended."""
        if not self._has_ended:
            self._until_end.acquire()

    def result(self) -> T:
        """Return what the coroutine returned, or raise what it raised."""
        if self._task is None:
            raise asyncio.CancelledError  # before it had begun
        return self._task.result()

    def _end(self, task: asyncio.Task[T]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen: the caller may be gone
        self._has_ended = True
        self._until_end.release()


class BackgroundLoop:
    """An event loop in a daemon thread, for any number of threads that call it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._serve, name="openai-sessions", daemon=True)
        self._thread.start()

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine on the loop, in the context of the caller, and return its result.

        An exception in the caller meanwhile, such as KeyboardInterrupt, cancels the coroutine, and goes on
        once that has ended; a second one goes on at once, and the coroutine ends by itself.

        Raises:
            RuntimeError: The caller runs on the loop itself, or the program is ending. Nothing was done.
        """
        self._check()
        call = _Call(self._loop, self._tasks, work)
        try:
            self._loop.call_soon_threadsafe(call.start, context=contextvars.copy_context())
            call.wait()
        except BaseException:
            self._loop.call_soon_threadsafe(call.cancel)
            call.wait()
            raise
        try:
            return call.result()
        except asyncio.CancelledError:
            if self._is_stopping:  # in a daemon thread, which ends without a word
                raise SystemExit from None
            raise

    def stop(self) -> None:
        """Cancel what is under way, wait until it is undone, and end the loop."""
        self._is_stopping = True
        ended = asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop)
        wait([ended], timeout=_AT_EXIT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=1)

    def _check(self) -> None:
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "a session without async was used in a callback that runs on its own event loop, which would "
                "wait for itself for ever. Use it elsewhere, or an async session there."
            )
        if not self._thread.is_alive():
            raise RuntimeError("a session without async was used while the program was ending")

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    async def _cancel_all(self) -> None:
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._loop.shutdown_asyncgens()


_guard = threading.Lock()
_started: list[BackgroundLoop] = []
"""The registry of the process: its loop, from the first use on."""


def background_loop() -> BackgroundLoop:
    """Return the loop of this process, started when it is first used."""
    with _guard:
        if not _started:
            _started.append(BackgroundLoop())
            atexit.register(_stop)
        return _started[0]


def _stop() -> None:
    if _started:
        _started[0].stop()


def _begin_anew() -> None:
    """Forget the loop of the parent process: its thread does not run in a child."""
    global _guard  # noqa: PLW0603 -- another thread of the parent may have held it
    _guard = threading.Lock()
    _started.clear()
    atexit.unregister(_stop)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
