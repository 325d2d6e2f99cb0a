"""Which methods are operations, to be observed as such."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing
from functools import wraps
from typing import Any, TypeVar, cast

from openai_sessions._observing import (
    Action,
    Counted,
    Handled,
    SessionOperation,
    UnderWay,
    begun,
    current_observer,
)

T = TypeVar("T")

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
