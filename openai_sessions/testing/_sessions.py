"""The sessions under test: how a check gets them, and how they are put away afterwards."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from openai_sessions.testing._expectations import CheckFailedError, CheckSkippedError

T = TypeVar("T")

_GRACE = 1.0  # seconds that cancelled work has to end in


class Session(Protocol):
    """What the Agents SDK calls on a session."""

    @property
    def session_id(self) -> str: ...

    async def get_items(self, limit: int | None = None) -> list[Any]: ...
    async def add_items(self, items: list[Any]) -> None: ...
    async def pop_item(self) -> Any: ...
    async def clear_session(self) -> None: ...


Make = Callable[[], Session | Awaitable[Session]]
Reopen = Callable[[Any], Session | Awaitable[Session]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """Open sessions for one check; the stack clears and closes them."""

    make: Make
    reopen_with: Reopen | None
    timeout: float
    stack: AsyncExitStack

    async def new(self) -> Session:
        """Open a session with an empty history of its own."""
        return await self._open(self.make())

    async def reopen(self, session: Session) -> Session:
        """Open another session on the history of this one.

        Raises:
            CheckSkippedError: The caller gave no way to reopen a session.
        """
        if self.reopen_with is None:
            raise CheckSkippedError("needs reopen=, which opens another session on the same history")
        return await self._open(self.reopen_with(session))

    async def _open(self, opened: Session | Awaitable[Session]) -> Session:
        session = await opened if inspect.isawaitable(opened) else opened
        self.stack.push_async_callback(_put_away, session, self.timeout)
        return session


async def _put_away(session: Session, timeout: float) -> None:
    with suppress(Exception):
        await within(timeout, session.clear_session())
    with suppress(Exception):
        await within(timeout, _close(session))


async def _close(session: Session) -> None:
    close = getattr(session, "aclose", None) or getattr(session, "close", None)
    closing = close() if callable(close) else None
    if inspect.isawaitable(closing):
        await closing


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of the work, or stop it after so many seconds.

    `asyncio.wait_for` waits for as long as the work swallows its cancellation; this does not.

    Raises:
        CheckFailedError: The work did not end in time, or raised CancelledError by itself.
    """
    task = asyncio.ensure_future(work)
    try:
        ended, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()
    if not ended:
        await asyncio.wait({task}, timeout=_GRACE)
        raise CheckFailedError(f"no answer within {seconds:g} seconds")
    if task.cancelled():
        raise CheckFailedError("raised CancelledError, though nobody had cancelled it")
    return task.result()


async def together(*calls: Awaitable[T]) -> list[T]:
    """Return the results of calls made at the same time, once all have ended.

    Raises:
        BaseException: The first error, in the order of the calls.
    """
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast("list[T]", results)
