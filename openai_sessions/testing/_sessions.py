"""The sessions under test: how a check gets them, and how they are put away afterwards."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

from openai_sessions.testing._expectations import CheckFailedError, CheckSkippedError
from openai_sessions.testing._observed import CallFailedError, ObservedSession

T = TypeVar("T")


class Session(Protocol):
    """What the Agents SDK calls on a session."""

    @property
    def session_id(self) -> str: ...

    async def get_items(self, limit: int | None = None) -> list[Any]: ...
    async def add_items(self, items: list[Any]) -> None: ...
    async def pop_item(self) -> Any: ...
    async def clear_session(self) -> None: ...


Made = Session | AbstractContextManager[Session] | AbstractAsyncContextManager[Session]
"""A session, or a context manager that gives one."""

Make = Callable[[], Made | Awaitable[Made]]
Reopen = Callable[[Any], Made | Awaitable[Made]]


@dataclass(slots=True, kw_only=True)
class Sessions:
    """The sessions of one check.

    Attributes:
        make: As for `check_session`.
        reopen_with: The `reopen` of `check_session`.
        pending: The calls of sessions that have not ended, oldest first.
        stack: Puts the sessions away when it is left.
    """

    make: Make
    reopen_with: Reopen | None
    pending: list[str] = field(default_factory=list)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _made: dict[Session, Any] = field(default_factory=dict)

    async def new(self) -> Session:
        """Open a session with an empty history of its own.

        Raises:
            CheckFailedError: It has the id of another one of this check.
        """
        known = {id_of(session) for session in self._made} - {None}
        session = await self._open("make()", self.make)
        if id_of(session) in known:
            raise CheckFailedError(
                "make() called again: each session must have a history of its own\n"
                f"expected: another session_id than {session.session_id!r}\n"
                f"actual:   {session.session_id!r}"
            )
        return session

    async def reopen(self, session: Session) -> Session:
        """Open another session on the history of this one.

        Raises:
            CheckSkippedError: The caller gave no way to reopen a session.
        """
        if self.reopen_with is None:
            raise CheckSkippedError("needs reopen=, which opens another session on the same history")
        return await self._open("reopen(session)", self.reopen_with, self._made[session])

    async def _open(self, call: str, opener: Callable[..., Any], *arguments: Any) -> Session:
        try:
            opened = opener(*arguments)
            made = await opened if inspect.isawaitable(opened) else opened
            session = await self.stack.enter_async_context(_entered(made))
        except Exception as error:
            raise CallFailedError(call, error) from error
        self.stack.push_async_callback(_ignoring_errors, session, "clear_session")
        observed = cast("Session", ObservedSession(session, self.pending))
        self._made[observed] = session
        return observed


def id_of(session: Session) -> str | None:
    """Return the id of the session, or None when it has none yet."""
    try:
        return session.session_id or None
    except (AttributeError, ValueError):
        return None


@asynccontextmanager
async def _entered(made: Any) -> AsyncIterator[Any]:
    session = made
    leaving: tuple[Any, ...] = ("aclose" if hasattr(made, "aclose") else "close",)
    if isinstance(made, AbstractAsyncContextManager):
        session, leaving = await made.__aenter__(), ("__aexit__", None, None, None)
    elif isinstance(made, AbstractContextManager):
        session, leaving = made.__enter__(), ("__exit__", None, None, None)
    try:
        yield session
    finally:
        await _ignoring_errors(made, *leaving)


async def _ignoring_errors(target: object, method: str, *arguments: object) -> None:
    with suppress(Exception):
        result = getattr(target, method)(*arguments)
        if inspect.isawaitable(result):
            await result


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
