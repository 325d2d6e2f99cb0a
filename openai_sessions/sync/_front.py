"""What a session without async is: in front of an async one, whose work is done on the background loop."""

from __future__ import annotations

import os
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from weakref import WeakSet

from openai_sessions.sync._background import background_loop
from openai_sessions.sync._behind import SessionBehind

if TYPE_CHECKING:
    from types import TracebackType

    from agents import SessionSettings
    from typing_extensions import Self

T = TypeVar("T")

_AT_A_TIME = 50
"""How many items an iteration fetches from the background loop at once."""

_fronts: WeakSet[Front] = WeakSet()
"""The registry of the process: sessions without async, which begin anew in a child process."""


class Front:
    """The part of a session without async that is in front of an async one."""

    def __init__(self, behind: SessionBehind) -> None:
        self._behind = behind
        _fronts.add(self)

    def _begin_anew(self) -> None:
        """Use another session behind, for a process that was forked."""
        self._behind = self._behind.in_child()

    def _in_front_of(self, behind: SessionBehind) -> Self:
        """Return a session of this class in front of another one."""
        front = type(self).__new__(type(self))
        Front.__init__(front, behind)
        return front

    def _run(self, call: Callable[[SessionBehind], Coroutine[Any, Any, T]]) -> T:
        behind = self._behind
        return background_loop().run(lambda: call(behind))

    def _iterate(self, begin: Callable[[SessionBehind], AsyncGenerator[T, None]]) -> Iterator[T]:
        items = begin(self._behind)
        while True:
            some, error = background_loop().run(lambda: _next_of(items))
            yield from some
            if error is not None:
                raise error
            if len(some) < _AT_A_TIME:
                return

    if TYPE_CHECKING:
        session_id: str
        session_settings: SessionSettings | None
    else:

        @property
        def session_id(self) -> str:
            """The id of the conversation. Setting it resumes another conversation.

            Raises:
                ConversationNotCreatedError: The session is unused; a ValueError and AttributeError.
                ValueError: The id that is set is malformed.
            """
            return self._behind.session_id

        @session_id.setter
        def session_id(self, value: str) -> None:
            self._behind.session_id = value

        @property
        def session_settings(self) -> SessionSettings:
            """The settings, of which `limit` holds for reads without one."""
            return self._behind.session_settings

        @session_settings.setter
        def session_settings(self, value: SessionSettings | Mapping[str, Any] | None) -> None:
            self._behind.session_settings = value

    @property
    def conversation_id(self) -> str | None:
        """The id of the conversation, or None while there is none."""
        return self._behind.conversation_id

    @property
    def unsettled(self) -> tuple[dict[str, Any], ...]:
        """The receipts of writes that failed and are not undone yet."""
        return self._behind.unsettled

    def ensure_conversation(self) -> str:
        """Create the conversation now if there is none yet, and return its id."""
        return self._run(lambda session: session.ensure_conversation())

    def close(self) -> None:
        """Settle what is unsettled, or warn of it, and close what the session opened.

        A later operation opens it anew.
        """
        self._run(lambda session: session.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} conversation_id={self.conversation_id!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled or copied. Keep `session.conversation_id` and make "
            "a new session with conversation_id= where it is needed."
        )

    def __del__(self) -> None:
        behind = getattr(self, "_behind", None)
        if behind is not None and behind.is_unclosed:
            warnings.warn(
                f"{self!r} was not closed: call `session.close()`, or use `with`",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )


async def _next_of(items: AsyncGenerator[T, None]) -> tuple[list[T], Exception | None]:
    """Return some items, and the error that came after them."""
    some: list[T] = []
    try:
        async for item in items:
            some.append(item)
            if len(some) == _AT_A_TIME:
                break
    except Exception as error:  # noqa: BLE001 -- raised by the caller, after the items
        return some, error
    return some, None


def _begin_anew() -> None:
    """Have the sessions of a child process use the loop of that process."""
    for front in list(_fronts):
        front._begin_anew()  # noqa: SLF001 -- of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
