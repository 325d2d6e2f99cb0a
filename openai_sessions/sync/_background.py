"""The event loop per process that runs the operations of synchronous sessions."""

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

_EXIT_TIMEOUT = 2 * GRACE
"""Seconds at the end of the program for undoing operations."""

_registry_lock = threading.Lock()
_started: list[BackgroundLoop] = []
"""The registry of the process: its loop, after the first use."""


def background_loop() -> BackgroundLoop:
    """Return the loop of this process, which the first call starts."""
    with _registry_lock:
        if not _started:
            _started.append(BackgroundLoop())
            atexit.register(_stop)
        return _started[0]


def _stop() -> None:
    if _started:
        _started[0].stop()


def _forget_parent_loop() -> None:
    """Forget the loop of the parent process, whose thread does not run in a forked child."""
    global _registry_lock  # noqa: PLW0603 -- a thread of the parent may have held it
    _registry_lock = threading.Lock()
    _started.clear()
    atexit.unregister(_stop)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent_loop)


class BackgroundLoop:
    """An event loop in a daemon thread, usable from any number of threads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._serve, name="openai-sessions", daemon=True)
        self._thread.start()

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine on the loop, in the caller's context, and return its result.

        An exception raised in the caller meanwhile, such as KeyboardInterrupt, cancels the coroutine and
        propagates once that has ended. A second one propagates at once, and the coroutine ends on its own.

        Raises:
            RuntimeError: The caller runs on the loop itself, or the program is ending. Nothing was done.
        """
        self._check_usable()
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
            if self._is_stopping:  # ends the calling daemon thread silently
                raise SystemExit from None
            raise

    def stop(self) -> None:
        """Cancel running operations, wait until they are undone, and stop the loop."""
        self._is_stopping = True
        ended = asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop)
        wait([ended], timeout=_EXIT_TIMEOUT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=1)

    def _check_usable(self) -> None:
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "a sync session was used in a callback that runs on its own event loop, which would wait for "
                "itself forever. Use it outside the callback, or use an async session inside."
            )
        if not self._thread.is_alive():
            raise RuntimeError("a sync session was used while the program was ending")

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


class _Call(Generic[T]):
    """A coroutine that runs on the loop while its calling thread waits.

    A signal may raise an exception in that thread at any instruction. The thread therefore waits for a plain
    lock: events and futures could leave their inner locks acquired, and block the loop.
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
        """Cancel the coroutine, or record that it never started; called on the loop."""
        if self._task is None:
            self._until_end.release()
        else:
            self._task.cancel()

    def wait(self) -> None:
        """Wait until the coroutine has ended."""
        if not self._has_ended:
            self._until_end.acquire()

    def result(self) -> T:
        """Return the coroutine's result, or raise its exception."""
        if self._task is None:
            raise asyncio.CancelledError  # before it started
        return self._task.result()

    def _end(self, task: asyncio.Task[T]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # mark it as retrieved: the caller may be gone
        self._has_ended = True
        self._until_end.release()
