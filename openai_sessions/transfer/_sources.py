"""Where items come from."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import aclosing
from typing import Any, Protocol

from openai_sessions._arguments import SESSION_METHODS, missing_methods
from openai_sessions._plain_json import NotJSONError, plain_json
from openai_sessions._streaming import whole_until
from openai_sessions._types import Item
from openai_sessions.errors import InvalidItemError

PIECE = 100
"""About how many items are taken up and written at once."""

_ALL = 2**31 - 1
"""What the Agents SDK asks for when it wants all items, whatever limit the settings of a session have."""


class AnySession(Protocol):
    """What every session of the Agents SDK, and of its users, can do."""

    async def get_items(self, limit: int | None = None) -> list[Any]:
        """Return the newest items, oldest first; all without a limit."""
        ...

    async def add_items(self, items: list[Any]) -> None:
        """Append items."""
        ...

    async def pop_item(self) -> Any:
        """Remove the newest item and return it."""
        ...

    async def clear_session(self) -> None:
        """Remove all items."""
        ...


def check_session(name: str, value: object) -> None:
    """Do nothing for what has the methods of a session.

    Raises:
        TypeError: It has not.
    """
    if isinstance(value, type) or missing_methods(value):
        raise TypeError(
            f"{name} is a session, an object with {', '.join(SESSION_METHODS)}, not {value!r}. "
            "For a conversation, give OpenAIConversationsSession(conversation_id=…)"
        )


def innermost(session: Any) -> Any:
    """Return the session that a session wraps, or itself."""
    while (beneath := getattr(session, "underlying_session", None)) is not None:
        session = beneath
    return session


class Source(Protocol):
    """Items that can be read any number of times."""

    @property
    def total(self) -> int | None:
        """How many there are, where it is known."""
        ...

    def read(self) -> AsyncGenerator[Item, None]:
        """Give all items, oldest first."""
        ...


class SessionSource:
    """The items of a session: page by page where it has `iterate_items`, else all at once."""

    def __init__(self, session: AnySession) -> None:
        self._session = session
        self.total: int | None = None

    async def read(self) -> AsyncGenerator[Item, None]:
        """Give all items, oldest first.

        Raises:
            TypeError: It is a session without async.
            InvalidItemError: An item is not JSON.
        """
        # Of the class: a session around another may pass on to that one what it does not have itself.
        iterate = getattr(type(self._session), "iterate_items", None)
        if iterate is not None:
            iterated = iterate(self._session)
            if not hasattr(iterated, "__aiter__"):
                raise _no_async(self._session)
            async with aclosing(iterated) as items:
                async for item in items:
                    yield item
            return
        found = await all_items(self._session)
        self.total = len(found)
        for item in found:
            yield item


async def all_items(session: AnySession) -> list[Item]:
    """Return all items of a session, also of one whose settings have a limit.

    Raises:
        TypeError: It is a session without async.
        InvalidItemError: An item is not JSON.
    """
    limit = getattr(getattr(session, "session_settings", None), "limit", None)
    found = session.get_items(None if limit is None else _ALL)
    if not inspect.isawaitable(found):
        raise _no_async(session)
    return [_as_dict(index, item) for index, item in enumerate(await found)]


def _no_async(session: object) -> TypeError:
    return TypeError(
        f"{type(session).__name__} is a session without async, whose methods cannot be awaited: give an "
        "async session of the same history"
    )


def _as_dict(index: int, item: object) -> Item:
    """Return an item as it is, or the object of an SDK as JSON."""
    if isinstance(item, dict):
        return item
    try:
        plain = plain_json(item)
    except NotJSONError as error:
        raise InvalidItemError(index, str(error)) from None
    if not isinstance(plain, Mapping):
        raise InvalidItemError(index, f"it is of type {type(item).__name__}, not a mapping")
    return dict(plain)


async def in_pieces(items: AsyncIterable[Item]) -> AsyncGenerator[list[Item], None]:
    """Give items in lists of about a hundred; reasoning stays with what it led to."""
    waiting: list[Item] = []
    async for item in items:
        waiting.append(item)
        if len(waiting) >= PIECE and (end := whole_until(waiting)):
            yield waiting[:end]
            del waiting[:end]
    if waiting:
        yield waiting
