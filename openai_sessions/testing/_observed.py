"""A session under test that says which of its calls failed, or is still waited for."""

from __future__ import annotations

import inspect
from typing import Any

from openai_sessions.testing._expectations import CheckFailedError, counted, shown

_LONGEST = 600  # characters of an error in a message


class CallFailedError(Exception):
    """A call of a session raised an error.

    Attributes:
        error: What it raised.
    """

    def __init__(self, call: str, error: Exception) -> None:
        text = str(error)
        cut = f"{text[:_LONGEST]}…" if len(text) > _LONGEST else text
        super().__init__(f"{call} raised {type(error).__name__}: {cut}")
        self.error = error


class ObservedSession:
    """The session, with its four methods observed and everything else as it is."""

    __slots__ = ("_pending", "_session")

    _pending: list[str]
    _session: Any

    def __init__(self, session: Any, pending: list[str]) -> None:
        object.__setattr__(self, "_session", session)
        object.__setattr__(self, "_pending", pending)

    @property
    def session_id(self) -> str:
        """The id of the session."""
        return self._session.session_id  # type: ignore[no-any-return]

    async def get_items(self, **limit: int | None) -> list[Any]:
        """Read the history."""
        arguments = ", ".join(f"{name}={value}" for name, value in limit.items())
        return await self._observe(f"get_items({arguments})", "get_items", **limit)  # type: ignore[no-any-return]

    async def add_items(self, items: list[Any]) -> None:
        """Store items."""
        await self._observe(f"add_items({counted(items)})", "add_items", items)

    async def pop_item(self) -> Any:
        """Take the newest item."""
        return await self._observe("pop_item()", "pop_item")

    async def clear_session(self) -> None:
        """Delete the history."""
        await self._observe("clear_session()", "clear_session")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._session, name, value)

    async def _observe(self, call: str, method: str, *arguments: Any, **options: Any) -> Any:
        self._pending.append(call)
        try:
            answer = getattr(self._session, method)(*arguments, **options)
            if inspect.isawaitable(answer):
                return await answer
        except Exception as error:
            raise CallFailedError(call, error) from error
        finally:
            self._pending.remove(call)
        raise CheckFailedError(
            f"{call}\nexpected: an async method\nactual:   one that returned {shown(answer)}"
        )
