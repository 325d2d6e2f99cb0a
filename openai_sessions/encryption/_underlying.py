"""The session under an encrypted one: what it must be, and what of it shows through."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, NoReturn

from openai_sessions._arguments import missing_methods
from openai_sessions._closing import AsyncCloseable
from openai_sessions.encryption._taking import Taker

logger = logging.getLogger("openai_sessions")

_OF_TOKENS = frozenset(
    {
        *("find_turns", "fork", "get_turn_usage", "run_compaction", "turns"),
        *("create_branch_from_content", "create_branch_from_turn", "find_turns_by_content"),
        *("get_conversation_by_turns", "get_conversation_turns"),
    }
)
"""What would hand out tokens for items, or take each for a message of the user, which begins a turn: of the
sessions of this library, and of the Agents SDK's AdvancedSQLiteSession."""


def checked_underlying(session: Any) -> Any:
    """Return a session that can hold tokens.

    Raises:
        TypeError: It has not the methods of a session, or it compacts histories, and would do so to tokens.
        ValueError: It shortens histories by turns, or by what a model counts, and would count tokens of ours.
    """
    missing = missing_methods(session)
    if missing:
        raise TypeError(
            f"underlying_session is a session, and {type(session).__name__} has no {', '.join(missing)}"
        )
    if callable(getattr(session, "run_compaction", None)):
        raise TypeError(
            f"{type(session).__name__} would compact tokens. Put it around the encrypted session instead: "
            f"{type(session).__name__}(…, underlying_session=EncryptedSession(…))"
        )
    limits = getattr(session, "_turn_limits", None)  # of the sessions of this library
    if getattr(limits, "turns", None) is not None or getattr(limits, "tokens", None) is not None:
        raise ValueError(
            "underlying_session has max_turns or max_tokens, and would count what is encrypted. Make it "
            "without, and limit items by session_settings"
        )
    return session


async def iterated(session: Any, *, after: str | None) -> AsyncGenerator[Any, None]:
    """Give what a session stores one by one, oldest first; read at once where it can give it only so.

    Raises:
        TypeError: It cannot read after an item.
    """
    if callable(getattr(session, "iterate_items", None)):
        async with aclosing(session.iterate_items(after=after)) as items:
            async for item in items:
                yield item
        return
    if after is not None:
        raise TypeError(f"{type(session).__name__} cannot give the items after one: leave after= out")
    for item in await session.get_items():
        yield item


class Underlying(AsyncCloseable):
    """The part of an encrypted session that is the session under it."""

    underlying_session: Any
    _session_id: str
    _taker: Taker

    def __getattr__(self, name: str) -> Any:
        """Return a public attribute of the underlying session, such as `conversation_id` or `settle`."""
        if name.startswith("_") or name in _OF_TOKENS or name == "underlying_session":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.underlying_session, name)

    async def aclose(self) -> None:
        """Close the underlying session by its `aclose()` or `close()`, if it has one.

        What a failed pop has left is put back first. What cannot be is logged, and put back when this object
        is used again.
        """
        try:
            await self._taker.put_back()
        except Exception:
            logger.exception(
                "%r: %d item(s) of a pop that failed could not be put back",
                self._session_id,
                self._taker.left,
            )
        finally:
            await self._close_underlying()

    async def _close_underlying(self) -> None:
        close = getattr(self.underlying_session, "aclose", None) or getattr(
            self.underlying_session, "close", None
        )
        if close is not None:
            closing = close()
            if inspect.isawaitable(closing):
                await closing

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled or copied, as that would show its keys. Make a new "
            "one with the same session_id and encryption_key where it is needed."
        )
