"""Session operations, observed: what happens in a call of a session, for an observer such as OpenTelemetry.

`@operation` decorates the methods that are observed. While one runs, `tell()` reports what happens inside it,
such as a request or a retry. Without an observer `tell()` does nothing, and the decorator awaits the method.
"""

from __future__ import annotations

import inspect
import logging
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, wraps
from importlib import import_module
from typing import Any, Literal, Protocol, TypeVar, cast

T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., Coroutine[Any, Any, Any]])
StreamMethod = TypeVar("StreamMethod", bound=Callable[..., AsyncGenerator[Any, None]])

logger = logging.getLogger("openai_sessions")


Action = Literal["read", "written", "deleted"]
"""What an operation did to items: returned them, had them acknowledged by the server, or deleted them."""

Result = Literal[
    "found",
    "not found",
    "sent again",
    "deleted copy",
    "rolled back",
    "settled",
    "kept",
    "left unsettled",
]
"""The result of a step in looking for a write whose outcome is unknown, or in undoing a write."""


@dataclass(frozen=True, slots=True)
class Requested:
    """A request ended.

    Attributes:
        name: The operation of the API, such as "list items".
        base_url: The base URL of the client.
        attempt: The number of the attempt, from 1.
        seconds: Its duration.
        response: The response of the HTTP library, or None.
        error: The error that was raised instead, or None.
    """

    name: str
    base_url: str
    attempt: int
    seconds: float
    response: Any
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class Retried:
    """A request will be sent again. The attributes are those of `RetryEvent`."""

    operation: str
    attempt: int
    outcome: str
    wait: float


@dataclass(frozen=True, slots=True)
class Reconciled:
    """A step of reconciling a write ended; `items` is the number of items concerned."""

    result: Result
    items: int


@dataclass(frozen=True, slots=True)
class Counted:
    """Items were read, written or deleted."""

    action: Action
    items: int


@dataclass(frozen=True, slots=True)
class Handled:
    """The items that the operation was given, or that it returns."""

    items: Sequence[object]


Event = Requested | Retried | Reconciled | Counted | Handled


class Subject(Protocol):
    """An object with operations."""

    @property
    def conversation_id(self) -> str | None:
        """The id of the conversation, or None before there is one."""
        ...


@dataclass(frozen=True, slots=True)
class SessionOperation:
    """An operation that starts.

    Attributes:
        name: The name of the method.
        subject: The object that the method was called on.
        arguments: The arguments that `@operation` names, by name, without those that are None.
    """

    name: str
    subject: Subject
    arguments: dict[str, Any] = field(default_factory=dict)


class Observer(Protocol):
    """Observes operations. An error that it raises is logged, and does not fail the operation."""

    def start(self, operation: SessionOperation) -> Observation:
        """Return the observation of an operation that starts."""
        ...


class Observation(Protocol):
    """Observes one operation."""

    def entered(self) -> AbstractContextManager[object]:
        """Return a context manager in which the operation runs."""
        ...

    def tell(self, event: Event) -> None:
        """Record an event of the operation."""
        ...

    def end(self, error: BaseException | None) -> None:
        """Record that the operation returned, or raised an error."""
        ...


def operation(
    *,
    arguments: Sequence[str] = (),
    gives: Action | None = None,
    items: Callable[[Any], Sequence[object]] = list,
    takes: str | None = None,
) -> Operation:
    """Return a decorator for methods that are operations.

    An operation is observed with everything that happens inside it. An operation that it calls on the same
    object is part of it, and is not observed by itself. Decorate coroutine methods with `@operation(…)`, and
    asynchronous generator methods with `@operation(…).stream`.

    Args:
        arguments: The names of arguments whose values observers see, such as "limit". Never name one that
            has content.
        gives: What the operation does to the items that it returns: "read" or "deleted"; None if it returns
            no items.
        items: Returns the items in the result of the method, or in one value that it yields.
        takes: The name of the argument with the items to be written.
    """
    return Operation(arguments, gives, items, takes)


def one_or_none(item: T | None) -> list[T]:
    """Return an item as a list, for the `items` of an operation that returns one item or None."""
    return [] if item is None else [item]


@dataclass(frozen=True, slots=True)
class Operation:
    """The decorator of operations: see `operation`."""

    arguments: Sequence[str]
    gives: Action | None
    items: Callable[[Any], Sequence[object]]
    takes: str | None

    def __call__(self, method: Method) -> Method:
        """Decorate a coroutine method."""
        signature = inspect.signature(method)

        @wraps(method)
        async def observed(*args: Any, **kwargs: Any) -> Any:
            running = self._started(method.__name__, signature, args, kwargs)
            if running is None:
                return await method(*args, **kwargs)
            with running.entered():
                try:
                    result = await method(*args, **kwargs)
                except BaseException as error:
                    running.end(error)
                    raise
                if self.gives is not None:
                    items = self.items(result)
                    running.tell(Handled(items))
                    running.tell(Counted(self.gives, len(items)))
                running.end()
            return result

        return cast("Method", observed)

    def stream(self, method: StreamMethod) -> StreamMethod:
        """Decorate an asynchronous generator method, which runs from its first item to its end."""
        signature = inspect.signature(method)

        @wraps(method)
        async def observed(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
            running = self._started(method.__name__, signature, args, kwargs)
            given = method(*args, **kwargs)
            steps = given if running is None else self._steps(running, given)
            async with aclosing(given), aclosing(steps):
                async for one in steps:
                    yield one

        return cast("StreamMethod", observed)

    async def _steps(self, running: RunningOperation, given: AsyncIterator[T]) -> AsyncGenerator[T, None]:
        """Yield what the method yields. The caller's work between two items is outside the operation."""
        count = 0
        try:
            while True:
                with running.entered():
                    try:
                        one = await anext(given)
                    except StopAsyncIteration:
                        break
                    count += 0 if self.gives is None else len(self.items(one))
                yield one
        except BaseException as error:
            self._end(running, count, None if isinstance(error, GeneratorExit) else error)
            raise
        self._end(running, count, None)

    def _end(self, running: RunningOperation, count: int, error: BaseException | None) -> None:
        if self.gives is not None:
            running.tell(Counted(self.gives, count))
        running.end(error)

    def _started(
        self, name: str, signature: inspect.Signature, args: Any, kwargs: Any
    ) -> RunningOperation | None:
        """Start to observe a call; None if nobody observes it, or if it is part of an operation."""
        observer = current_observer()
        if observer is None:
            return None
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:  # the method raises it too, for its caller
            return None
        arguments = {name: given[name] for name in self.arguments if given.get(name) is not None}
        running = _start(observer, SessionOperation(name.lstrip("_"), args[0], arguments))
        taken = given.get(self.takes) if self.takes else None
        if running is not None and isinstance(taken, Sequence) and not isinstance(taken, str):
            running.tell(Handled(taken))
        return running


def _start(observer: Observer, operation: SessionOperation) -> RunningOperation | None:
    around = _running.get()
    if around is not None and around.includes(operation.subject):
        return None
    try:
        return RunningOperation(operation.subject, observer.start(operation))
    except Exception:
        logger.exception("an observer raised")
        return None


class RunningOperation:
    """An operation that is observed."""

    def __init__(self, subject: Subject, observation: Observation) -> None:
        self._subject = subject
        self._observation = observation
        self._is_over = False

    def includes(self, subject: Subject) -> bool:
        """Return whether an operation that starts on the subject now is part of this one."""
        return self._subject is subject and not self._is_over

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Make this the current operation, whose observer is told of events."""
        token = _running.set(self)
        try:
            with self._observation.entered():
                yield
        finally:
            with suppress(ValueError):  # the garbage collector closes a stream in a context of its own
                _running.reset(token)

    def tell(self, event: Event) -> None:
        """Tell the observer of an event, unless the operation is over."""
        if not self._is_over:
            with _errors_logged():
                self._observation.tell(event)

    def end(self, error: BaseException | None = None) -> None:
        """Tell the observer that the operation is over."""
        self._is_over = True
        with _errors_logged():
            self._observation.end(error)


@contextmanager
def _errors_logged() -> Iterator[None]:
    try:
        yield
    except Exception:
        logger.exception("an observer raised")


_running: ContextVar[RunningOperation | None] = ContextVar("_running", default=None)

_attempt: ContextVar[int] = ContextVar("_attempt", default=1)


def tell(event: Event) -> None:
    """Tell the observer of the current operation of an event."""
    running = _running.get()
    if running is not None:
        running.tell(event)


class HasBaseURL(Protocol):
    """A client that sends requests."""

    @property
    def base_url(self) -> str:
        """The URL that its requests are relative to."""
        ...


def tell_request(
    name: str,
    client: HasBaseURL,
    started: float,
    *,
    response: object = None,
    error: BaseException | None = None,
) -> None:
    """Tell the observer of the current operation of a request that has ended.

    Args:
        name: The operation of the API, such as "list items".
        client: The client that sent it.
        started: The time at which it was sent, as `time.perf_counter()`.
        response: The response, if there is one.
        error: The error, if it failed.
    """
    running = _running.get()
    if running is not None:
        seconds = time.perf_counter() - started
        running.tell(Requested(name, client.base_url, _attempt.get(), seconds, response, error))


def note_attempt(number: int) -> None:
    """Set the number of the attempt, from 1, of the requests that follow in this context."""
    _attempt.set(number)


@contextmanager
def not_a_part() -> Iterator[None]:
    """Observe the operations inside, such as those of a user's callback, by themselves."""
    token = _running.set(None)
    try:
        yield
    finally:
        _running.reset(token)


_observer: ContextVar[Observer | None] = ContextVar("_observer", default=None)


@contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Have the operations inside observed by this observer instead of the default one."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


def current_observer() -> Observer | None:
    """Return the observer of operations that start now: the one set, else OpenTelemetry if it is set up."""
    return _observer.get() or _default_observer()


def _default_observer() -> Observer | None:
    """Return OpenTelemetry if the application has set a provider of traces or of metrics."""
    has_provider = _is_provided("opentelemetry.trace", "get_tracer_provider") or _is_provided(
        "opentelemetry.metrics", "get_meter_provider"
    )
    return _opentelemetry() if has_provider else None


def _is_provided(api: str, getter: str) -> bool:
    """Return whether an API of OpenTelemetry is imported and has a provider other than its no-op one."""
    get_provider = getattr(sys.modules.get(api), getter, None)
    with suppress(Exception):  # OpenTelemetry logs that the environment names an unknown provider
        return get_provider is not None and not type(get_provider()).__module__.startswith(api)
    return False


@cache
def _opentelemetry() -> Observer | None:
    try:
        observer: Observer = import_module("openai_sessions.telemetry").Telemetry()
    except (ImportError, TypeError, AttributeError):  # an older API lacks modules, arguments or names
        logger.warning("no telemetry: install opentelemetry-api 1.30 or newer", exc_info=True)
        return None
    return observer
