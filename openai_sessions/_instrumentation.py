"""Operations and what happens inside them, told to observers such as OpenTelemetry."""

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

logger = logging.getLogger("openai_sessions")

Action = Literal["read", "written", "deleted"]
"""What an operation does to items: it returns them, the server acknowledges them, or they are gone."""

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
"""How far the looking for a write whose outcome is unknown, or the undoing of one, has come."""


@dataclass(frozen=True, slots=True)
class Requested:
    """Tell that a request has ended.

    Attributes:
        name: What was asked for, such as "list items".
        base_url: The base URL of the client.
        attempt: Which attempt it was, from 1.
        seconds: How long it was under way.
        response: The answer of the HTTP library, or None.
        error: What was raised instead, or None.
    """

    name: str
    base_url: str
    attempt: int
    seconds: float
    response: Any
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class Retried:
    """Tell that a request is sent again; the attributes are those of `RetryEvent`."""

    operation: str
    attempt: int
    outcome: str
    wait: float


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Tell how far a reconciliation has come, and how many items it is about."""

    result: Result
    items: int


@dataclass(frozen=True, slots=True)
class Counted:
    """Tell that items were read, written or deleted."""

    action: Action
    items: int


@dataclass(frozen=True, slots=True)
class Handled:
    """Tell which items the caller gave, or is given, all at once."""

    items: Sequence[object]


Event = Requested | Retried | Reconciled | Counted | Handled


class Subject(Protocol):
    """What operations are called on."""

    @property
    def conversation_id(self) -> str | None:
        """The id of the conversation, or None while there is none."""
        ...


class HasBaseURL(Protocol):
    """What makes requests."""

    @property
    def base_url(self) -> str:
        """The URL that its requests are relative to."""
        ...


@dataclass(frozen=True, slots=True)
class SessionOperation:
    """An operation that begins.

    Attributes:
        name: The name of the method.
        subject: What it is called on.
        arguments: Those arguments that say how much is asked for, by name; None is left out.
    """

    name: str
    subject: Subject
    arguments: dict[str, Any] = field(default_factory=dict)


class Observation(Protocol):
    """One operation, as an observer sees it."""

    def entered(self) -> AbstractContextManager[object]:
        """Return a context manager in which the operation goes on."""
        ...

    def tell(self, event: Event) -> None:
        """Take up what has happened."""
        ...

    def end(self, error: BaseException | None) -> None:
        """Take up that the operation has returned, or raised an error."""
        ...


class Observer(Protocol):
    """Whoever is told of operations."""

    def begin(self, operation: SessionOperation) -> Observation:
        """Return the observation of an operation that begins."""
        ...


class UnderWay:
    """An operation that is observed. An observer that fails is logged, and never fails the operation."""

    def __init__(self, subject: Subject, observation: Observation) -> None:
        self._subject = subject
        self._observation = observation
        self._is_over = False

    def is_part_of(self, subject: Subject) -> bool:
        """Tell whether what is called on the subject now is a part of this operation."""
        return self._subject is subject and not self._is_over

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Have what happens inside belong to this operation."""
        token = _under_way.set(self)
        try:
            with self._observation.entered():
                yield
        finally:
            with suppress(ValueError):  # closed by the garbage collector, in a context of its own
                _under_way.reset(token)

    def tell(self, event: Event) -> None:
        """Tell the observer of an event, unless the operation is over."""
        if not self._is_over:
            with _logged():
                self._observation.tell(event)

    def end(self, error: BaseException | None = None) -> None:
        """Tell the observer that the operation is over."""
        self._is_over = True
        with _logged():
            self._observation.end(error)


@contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except Exception:
        logger.exception("an observer raised")


_chosen: ContextVar[Observer | None] = ContextVar("_chosen", default=None)

_under_way: ContextVar[UnderWay | None] = ContextVar("_under_way", default=None)

_attempt: ContextVar[int] = ContextVar("_attempt", default=1)


@contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Have operations that begin inside told to this observer, and no other."""
    token = _chosen.set(observer)
    try:
        yield
    finally:
        _chosen.reset(token)


@contextmanager
def not_a_part() -> Iterator[None]:
    """Have operations that begin inside, as in a callback of the user's, stand for themselves."""
    token = _under_way.set(None)
    try:
        yield
    finally:
        _under_way.reset(token)


def current_observer() -> Observer | None:
    """Return whoever is told of operations that begin now, or None."""
    return _chosen.get() or _default()


def begun(observer: Observer, operation: SessionOperation) -> UnderWay | None:
    """Begin to observe an operation; None when it is a part of one that is observed."""
    around = _under_way.get()
    if around is not None and around.is_part_of(operation.subject):
        return None
    try:
        return UnderWay(operation.subject, observer.begin(operation))
    except Exception:
        logger.exception("an observer raised")
        return None


def _default() -> Observer | None:
    """Return OpenTelemetry once the application has given it a provider of spans or of metrics."""
    has_provider = _is_provided("opentelemetry.trace", "get_tracer_provider") or _is_provided(
        "opentelemetry.metrics", "get_meter_provider"
    )
    return _opentelemetry() if has_provider else None


def _is_provided(api: str, getter: str) -> bool:
    """Tell whether an API is imported and has another provider than its own, which records nothing."""
    get_provider = getattr(sys.modules.get(api), getter, None)
    with suppress(Exception):  # OpenTelemetry has logged that the environment names no such provider
        return get_provider is not None and not type(get_provider()).__module__.startswith(api)
    return False


@cache
def _opentelemetry() -> Observer | None:
    try:
        observer: Observer = import_module("openai_sessions.telemetry").Telemetry()
    except (ImportError, TypeError, AttributeError):  # an older API lacks modules, arguments or names
        logger.warning("no telemetry: this needs opentelemetry-api 1.30 or newer", exc_info=True)
        return None
    return observer


def note_attempt(number: int) -> None:
    """Take up that the request which follows is this attempt at it, from 1."""
    _attempt.set(number)


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
        name: Such as "list items".
        client: The client that sent it.
        started: The time at which it was sent, as `time.perf_counter()`.
        response: The response, if there is one.
        error: The error, if it failed.
    """
    under_way = _under_way.get()
    if under_way is not None:
        seconds = time.perf_counter() - started
        under_way.tell(Requested(name, client.base_url, _attempt.get(), seconds, response, error))


def tell(event: Event) -> None:
    """Tell the observer of the operation that is under way of an event."""
    under_way = _under_way.get()
    if under_way is not None:
        under_way.tell(event)


Method = TypeVar("Method", bound=Callable[..., Coroutine[Any, Any, Any]])

StreamMethod = TypeVar("StreamMethod", bound=Callable[..., AsyncGenerator[Any, None]])


def one_or_none(item: T | None) -> list[T]:
    """Return the items in an item that may be None, as the `items` of an operation."""
    return [] if item is None else [item]


def operation(
    *,
    arguments: Sequence[str] = (),
    gives: Action | None = None,
    items: Callable[[Any], Sequence[object]] = list,
    takes: str | None = None,
) -> Observed:
    """Return a decorator of a method that is an operation, to be observed with all that it brings about.

    What it calls on the same session is a part of it and is not observed apart; what it calls on another
    session is. Use it as it is for coroutine methods, and its `.stream` for asynchronous generator methods.

    Args:
        arguments: The names of arguments that say how much is asked for, such as "limit". Their values
            are told to observers: never name one that holds content.
        gives: What the operation does to the items that it returns: "read" or "deleted"; None when it
            returns none.
        items: Returns the items in what the method returns, or in one of what it yields.
        takes: The name of the argument that holds the items to be written.
    """
    return Observed(arguments, gives, items, takes)


class Observed:
    """Decorates the methods that are operations."""

    def __init__(
        self,
        arguments: Sequence[str],
        gives: Action | None,
        items: Callable[[Any], Sequence[object]],
        takes: str | None,
    ) -> None:
        self._arguments = arguments
        self._gives: Action | None = gives
        self._items = items
        self._takes = takes

    def __call__(self, method: Method) -> Method:
        """Return the coroutine method, observed."""
        signature = inspect.signature(method)

        @wraps(method)
        async def observed(*args: Any, **kwargs: Any) -> Any:
            under_way = self._begun(method, signature, args, kwargs)
            if under_way is None:
                return await method(*args, **kwargs)
            with under_way.entered():
                try:
                    result = await method(*args, **kwargs)
                except BaseException as error:
                    under_way.end(error)
                    raise
                self._tell_of(under_way, result)
                under_way.end()
            return result

        return cast("Method", observed)

    def stream(self, method: StreamMethod) -> StreamMethod:
        """Return the asynchronous generator method, observed from its first item to its end."""
        signature = inspect.signature(method)

        @wraps(method)
        async def observed(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
            under_way = self._begun(method, signature, args, kwargs)
            given = method(*args, **kwargs)
            async with aclosing(given), aclosing(self._steps(under_way, given)) as steps:
                async for one in steps:
                    yield one

        return cast("StreamMethod", observed)

    def _steps(self, under_way: UnderWay | None, given: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        return given if under_way is None else self._observed_steps(under_way, given)

    async def _observed_steps(self, under_way: UnderWay, given: AsyncIterator[T]) -> AsyncGenerator[T, None]:
        """Yield what is given; outside of the operation while the caller has it."""
        count = 0
        try:
            while True:
                with under_way.entered():
                    try:
                        one = await anext(given)
                    except StopAsyncIteration:
                        break
                    count += 0 if self._gives is None else len(self._items(one))
                yield one
        except BaseException as error:
            self._end(under_way, count, None if isinstance(error, GeneratorExit) else error)
            raise
        self._end(under_way, count, None)

    def _end(self, under_way: UnderWay, count: int, error: BaseException | None) -> None:
        if self._gives is not None:
            under_way.tell(Counted(self._gives, count))
        under_way.end(error)

    def _begun(
        self, method: Callable[..., object], signature: inspect.Signature, args: Any, kwargs: Any
    ) -> UnderWay | None:
        observer = current_observer()
        if observer is None:
            return None
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:  # the method refuses them too, and says why
            return None
        arguments = {name: given[name] for name in self._arguments if given.get(name) is not None}
        under_way = begun(observer, SessionOperation(method.__name__.lstrip("_"), args[0], arguments))
        taken = given.get(self._takes) if self._takes else None
        if under_way is not None and isinstance(taken, Sequence) and not isinstance(taken, str):
            under_way.tell(Handled(taken))
        return under_way

    def _tell_of(self, under_way: UnderWay, result: object) -> None:
        if self._gives is not None:
            items = self._items(result)
            under_way.tell(Handled(items))
            under_way.tell(Counted(self._gives, len(items)))
