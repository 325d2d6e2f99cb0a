"""What a check found: sessions under test, expectations, findings, the report."""

from __future__ import annotations

import asyncio
import inspect
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar, cast

_SHOWN = 100  # characters of a value in a message


class _Absent:
    """Stands for the value of a key that is not there."""

    def __repr__(self) -> str:
        return "nothing"


_ABSENT = _Absent()


class CheckFailedError(AssertionError):
    """What a session did is not what it must do."""


class CheckSkippedError(Exception):
    """Whether a session does what it must cannot be told."""


def expect(expected: object, actual: object, what: str) -> None:
    """Raise unless both are equal, down to every key.

    Raises:
        CheckFailedError: They differ.
    """
    if expected != actual:
        where = _difference(expected, actual)
        differ = f"\ndiffer:   {where}" if where else ""
        raise CheckFailedError(f"{what}\nexpected: {shown(expected)}\nactual:   {shown(actual)}{differ}")


def expect_items(expected: list[Any], actual: object, what: str) -> None:
    """Raise unless both are the same items in the same order, wherever sessions may not differ.

    See `comparable` for where they may.

    Raises:
        CheckFailedError: They differ in number, or in the item that the message names.
    """
    _expect_each([comparable(item) for item in expected], _each(comparable, actual, what), what)


def expect_texts(expected: list[str], actual: object, what: str) -> None:
    """Raise unless the items are messages of these texts in this order, in whatever form.

    Raises:
        CheckFailedError: They differ in number, or in the item that the message names.
    """
    _expect_each(expected, _each(text_of, actual, what), what)


def text_of(item: Any) -> Any:
    """Return the text of a message that has one text, as a string or as its only part, else the item."""
    content = item.get("content") if isinstance(item, dict) else None
    if isinstance(content, list) and len(content) == 1:
        return content[0].get("text", item)
    return content if isinstance(content, str) else item


def comparable(item: Any) -> Any:
    """Return the item without what a store may add to it or leave out.

    That is its id, the status `completed`, the type `message` of an item that has a role, and the
    empty `logprobs` of a content part.
    """
    if not isinstance(item, dict):
        return item
    optional = [("status", "completed"), *([("type", "message")] if "role" in item else [])]
    kept = {key: value for key, value in item.items() if key != "id" and (key, value) not in optional}
    if isinstance(kept.get("content"), list):
        kept["content"] = [_without_logprobs(part) for part in kept["content"]]
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
    """Return how many items they are."""
    return f"{len(items)} item{'' if len(items) == 1 else 's'}"


def _difference(expected: Any, actual: Any, where: str = "") -> str:
    """Return where two values differ first, and what is there; empty when they differ as a whole."""
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
    """Return the value as text, cut where it is too long to read."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


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


Outcome = Literal["passed", "failed", "skipped"]

_INDENT = " " * 9

_WIDTH = 110  # characters of a line, where a line may be broken


class ConformanceError(AssertionError):
    """A session does not do what it must; the message is the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one check found.

    Attributes:
        name: The name of the check, a key of `CHECKS`.
        outcome: "passed", "failed" or "skipped".
        requirement: What a session must do.
        detail: How the session failed (what was called, what was expected, what happened), or why the
            check was skipped; empty when it passed.
        error: What the session raised, with its traceback, if that is how it failed; a `TimeoutError` when
            it did not answer in time.
    """

    name: str
    outcome: Outcome
    requirement: str
    detail: str = ""
    error: Exception | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        label = self.outcome.upper() if self.outcome == "failed" else self.outcome
        lines = [self.requirement, *self.detail.splitlines()]
        return "\n".join([f"{label:<9}{self.name}", *(_INDENT + line for line in lines)])


@dataclass(frozen=True, slots=True)
class ConformanceReport:
    """What all checks found, in the order of `CHECKS`.

    As text it is a line of counts, then each failure and each check that was skipped, with the reasons,
    then the names of the checks that passed.
    """

    results: tuple[CheckResult, ...]

    @property
    def passed(self) -> tuple[CheckResult, ...]:
        """The checks that the session passed."""
        return self._with("passed")

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The checks that the session failed."""
        return self._with("failed")

    @property
    def skipped(self) -> tuple[CheckResult, ...]:
        """The checks that could not be made, each with the reason as its detail."""
        return self._with("skipped")

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    def raise_if_failed(self) -> None:
        """Raise with this report as the message if a check failed.

        Raises:
            ConformanceError: A check failed; its cause is the first error that the session raised.
        """
        if not self.ok:
            errors = (result.error for result in self.failed if result.error)
            raise ConformanceError(str(self)) from next(errors, None)

    def __str__(self) -> str:
        counts = f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"
        parts = [f"Session conformance: {counts}", *map(str, self.failed), *map(str, self.skipped)]
        if self.passed:
            names = ", ".join(result.name for result in self.passed)
            parts.append(textwrap.fill(f"{'passed':<9}{names}", _WIDTH, subsequent_indent=_INDENT))
        return "\n\n".join(parts)

    def _with(self, outcome: Outcome) -> tuple[CheckResult, ...]:
        return tuple(result for result in self.results if result.outcome == outcome)


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


_GRACE = 1.0  # seconds that cancelled work has to end in


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; the fields are those of `CheckResult`."""

    outcome: Outcome
    detail: str = ""
    error: Exception | None = None


async def try_check(
    check: Callable[[Sessions], Coroutine[Any, Any, None]],
    make: Make,
    *,
    reopen: Reopen | None,
    timeout: float,
) -> Finding:
    """Run the check, and return what it found, or that it did not end in time.

    The check and the putting away of its sessions are one task, for a context manager to be left where it
    was entered. A task that swallows its cancellation is left alone after a second or two.
    """
    found: asyncio.Future[Finding] = asyncio.get_running_loop().create_future()
    sessions = Sessions(make=make, reopen_with=reopen)
    task = asyncio.create_task(_run(check, sessions, found))
    try:
        first: set[asyncio.Future[Any]] = {found, task}
        ended, _ = await asyncio.wait(first, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not ended:
            return _no_answer(sessions, timeout)
        if not found.done():
            task.result()  # raises what is no finding, such as a skip of pytest, which is no Exception
        await asyncio.wait({task}, timeout=timeout)
        return found.result()
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=_GRACE)
        task.cancel()  # putting away hangs too


async def _run(
    check: Callable[[Sessions], Coroutine[Any, Any, None]],
    sessions: Sessions,
    found: asyncio.Future[Finding],
) -> None:
    async with sessions.stack:
        try:
            finding = await _judge(check(sessions))
        except asyncio.CancelledError:  # when it was `try_check` that cancelled, it listens no more
            finding = Finding("failed", "raised CancelledError, though nobody had cancelled it")
        found.set_result(finding)


async def _judge(checking: Coroutine[Any, Any, None]) -> Finding:
    try:
        await checking
    except CheckSkippedError as skipped:
        return Finding("skipped", str(skipped))
    except CheckFailedError as failed:
        return Finding("failed", str(failed))
    except CallFailedError as failed:
        return Finding("failed", str(failed), failed.error)
    except Exception as error:  # noqa: BLE001 - whatever a session raises is a finding
        return Finding("failed", f"raised {type(error).__name__}: {error}", error)
    return Finding("passed")


def _no_answer(sessions: Sessions, timeout: float) -> Finding:
    waiting = ", ".join(dict.fromkeys(sessions.pending)) or "the check"
    detail = f"{waiting} did not end within {timeout:g} seconds of the beginning of the check"
    return Finding("failed", detail, TimeoutError(detail))
