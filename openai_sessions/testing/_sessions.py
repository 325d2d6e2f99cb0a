"""The sessions of a check: how they are opened and observed, and the assertions on what they return."""

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

from openai_sessions.testing._errors import CallFailedError, CheckFailedError, CheckSkippedError

T = TypeVar("T")

_SHOWN = 100  # characters of a value in a message


class Session(Protocol):
    """The session interface that the Agents SDK calls."""

    @property
    def session_id(self) -> str: ...

    async def get_items(self, limit: int | None = None) -> list[Any]: ...
    async def add_items(self, items: list[Any]) -> None: ...
    async def pop_item(self) -> Any: ...
    async def clear_session(self) -> None: ...


Made = Session | AbstractContextManager[Session] | AbstractAsyncContextManager[Session]
"""A session, or a context manager that yields one."""

Make = Callable[[], Made | Awaitable[Made]]

Reopen = Callable[[Any], Made | Awaitable[Made]]


@dataclass(slots=True, kw_only=True)
class Sessions:
    """The sessions of one check.

    Attributes:
        make: As for `check_session`.
        reopen_with: The `reopen` of `check_session`.
        pending: The calls of session methods that are running, oldest first.
        stack: Cleans the sessions up when it is exited.
    """

    make: Make
    reopen_with: Reopen | None
    pending: list[str] = field(default_factory=list)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _made: dict[Session, Any] = field(default_factory=dict)

    async def new(self) -> Session:
        """Open a session with an empty history of its own.

        Raises:
            CheckFailedError: It has the id of another session of this check.
        """
        known = {id_of(session) for session in self._made} - {None}
        session = await self._open("make()", self.make)
        if id_of(session) in known:
            raise CheckFailedError(
                "make() called again: each session must have its own history\n"
                f"expected: a session_id other than {session.session_id!r}\n"
                f"actual:   {session.session_id!r}"
            )
        return session

    async def reopen(self, session: Session) -> Session:
        """Open another session on the same history.

        Raises:
            CheckSkippedError: The caller did not pass `reopen`.
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
    """Return the id of a session, or None if it does not have one yet."""
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
    """Run calls concurrently, and return their results when all have ended.

    Raises:
        BaseException: The first error, in the order of the calls.
    """
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast("list[T]", results)


class ObservedSession:
    """A wrapper that notes the running calls of the four methods and the errors they raise."""

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
        """Remove and return the newest item."""
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


def expect(expected: object, actual: object, what: str) -> None:
    """Assert that two values are equal.

    Raises:
        CheckFailedError: They differ.
    """
    if expected != actual:
        where = _difference(expected, actual)
        differ = f"\ndiffer:   {where}" if where else ""
        raise CheckFailedError(f"{what}\nexpected: {shown(expected)}\nactual:   {shown(actual)}{differ}")


def expect_items(expected: list[Any], actual: object, what: str) -> None:
    """Assert that both are the same items in the same order, apart from what `comparable` removes.

    Raises:
        CheckFailedError: The number of items differs, or the item that the message names.
    """
    _expect_each([comparable(item) for item in expected], _each(comparable, actual, what), what)


def expect_texts(expected: list[str], actual: object, what: str) -> None:
    """Assert that the items are messages with these texts, in this order and in any form.

    Raises:
        CheckFailedError: The number of items differs, or the item that the message names.
    """
    _expect_each(expected, _each(text_of, actual, what), what)


def text_of(item: Any) -> Any:
    """Return the text of a message with a single text, as a string or as its only part; else the item."""
    content = item.get("content") if isinstance(item, dict) else None
    if isinstance(content, list) and len(content) == 1:
        return content[0].get("text", item)
    return content if isinstance(content, str) else item


def comparable(item: Any) -> Any:
    """Return an item without what a store may add or drop.

    These are its id, the status `completed`, the type `message` of an item with a role, and an empty
    `logprobs` of a content part. An assistant's only part is a string if it has nothing but text.
    """
    if not isinstance(item, dict):
        return item
    optional = [("status", "completed"), *([("type", "message")] if "role" in item else [])]
    kept = {key: value for key, value in item.items() if key != "id" and (key, value) not in optional}
    if isinstance(kept.get("content"), list):
        kept["content"] = [_without_logprobs(part) for part in kept["content"]]
        text = text_of(kept)
        if kept["content"] == [{"type": "output_text", "text": text, "annotations": []}]:
            kept["content"] = text
    return kept


def _without_logprobs(part: Any) -> Any:
    if isinstance(part, dict) and part.get("logprobs") == []:
        return {key: value for key, value in part.items() if key != "logprobs"}
    return part


def _each(view: Any, items: object, what: str) -> list[Any]:
    if not isinstance(items, list):
        raise CheckFailedError(f"{what}\nexpected: a list\nactual:   {shown(items)}")
    return [view(item) for item in items]


def _expect_each(expected: list[Any], actual: list[Any], what: str) -> None:
    if len(expected) != len(actual):
        expected_text, actual_text = (f"{counted(items)} {shown(items)}" for items in (expected, actual))
        raise CheckFailedError(f"{what}\nexpected: {expected_text}\nactual:   {actual_text}")
    for index, (one, other) in enumerate(zip(expected, actual, strict=True), start=1):
        expect(one, other, f"{what}: item {index} of {len(expected)}")


def counted(items: list[Any]) -> str:
    """Return the number of items, with the noun."""
    return f"{len(items)} item{'' if len(items) == 1 else 's'}"


def _difference(expected: Any, actual: Any, where: str = "") -> str:
    """Return the first place where two values differ, with both values; empty if they differ as a whole."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        key = next(key for key in {**expected, **actual} if _at(expected, key) != _at(actual, key))
        return _difference(_at(expected, key), _at(actual, key), f"{where}[{key!r}]")
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        index = next(index for index, one in enumerate(expected) if one != actual[index])
        return _difference(expected[index], actual[index], f"{where}[{index}]")
    if isinstance(expected, str) and isinstance(actual, str) and len(expected) > _SHOWN:
        equal = _number_of_equals(expected, actual)
        where = f"{where} from character {equal} on".strip()
        expected, actual = expected[equal:], actual[equal:]
    return f"{where}: expected {shown(expected)}, actual {shown(actual)}" if where else ""


def _number_of_equals(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _at(mapping: dict[Any, Any], key: object) -> Any:
    return mapping.get(key, _ABSENT)


def shown(value: object) -> str:
    """Return the value as text; a long one is cut."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


class _Absent:
    """The value of a missing key."""

    def __repr__(self) -> str:
        return "nothing"


_ABSENT = _Absent()
