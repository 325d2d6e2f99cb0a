"""Using a cassette: around a block, or around a function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import aclosing
from types import TracebackType
from typing import Any, TypeVar

from openai_sessions.testing._cassettes._playback import ConversationCassette

Function = TypeVar("Function", bound=Callable[..., Any])


class CassetteContext:
    """A cassette around a block (`with` and `async with`) or around a function (a decorator).

    Each block and each call opens the cassette anew. Blocks of one context may not overlap.
    """

    def __init__(
        self, config: Callable[[], dict[str, Any]], *, allow_unused: bool, record_on_exception: bool
    ) -> None:
        """Prepare the cassette.

        Args:
            config: Gives the arguments of vcrpy's `Cassette.use` when the block is entered.
            allow_unused: Exchanges that are not used are no error.
            record_on_exception: What was recorded is written although the block raised.
        """
        self._config = config
        self._allow_unused = allow_unused
        self._record_on_exception = record_on_exception
        self._open: tuple[Any, ConversationCassette] | None = None

    def __enter__(self) -> ConversationCassette:
        if self._open is not None:
            raise RuntimeError(
                "This cassette is open already: make another use_cassette() for another block."
            )
        interception = ConversationCassette.use(**self._config())
        cassette: ConversationCassette = interception.__enter__()
        self._open = interception, cassette
        return cassette

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._open is None:
            raise RuntimeError("This cassette is not open.")
        (interception, cassette), self._open = self._open, None
        interception.__exit__(None, None, None)
        if error is None or self._record_on_exception:
            cassette.write()
        if (
            cassette.misses
            and error not in cassette.misses
            and (error is None or isinstance(error, Exception))
        ):
            raise cassette.misses[0]  # whoever caught it, or raised another for it, has not been answered
        if error is None and not self._allow_unused:
            cassette.check_all_played()

    async def __aenter__(self) -> ConversationCassette:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: Function) -> Function:
        """Return the function with the cassette around each call: its name and its parameters stay.

        Args:
            function: A function, a coroutine function, or a generator of either kind, such as a fixture.

        Raises:
            TypeError: It is none of these.
        """
        if not inspect.isroutine(function):
            raise TypeError(f"use_cassette decorates functions, not {function!r}.")
        for is_kind, wrap in _KINDS:
            if is_kind(function):
                return functools.wraps(function)(wrap(function, self._again))  # type: ignore[return-value]
        return functools.wraps(function)(_function(function, self._again))  # type: ignore[return-value]

    def _again(self) -> CassetteContext:
        return CassetteContext(
            self._config, allow_unused=self._allow_unused, record_on_exception=self._record_on_exception
        )


def _function(function: Callable[..., Any], again: Callable[[], CassetteContext]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with again():
            return function(*args, **kwargs)

    return call


def _coroutine(function: Callable[..., Any], again: Callable[[], CassetteContext]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        async with again():
            return await function(*args, **kwargs)

    return call


def _generator(function: Callable[..., Any], again: Callable[[], CassetteContext]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with again():
            return (yield from function(*args, **kwargs))

    return call


def _async_generator(
    function: Callable[..., Any], again: Callable[[], CassetteContext]
) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        async with again(), aclosing(function(*args, **kwargs)) as generator:
            async for value in generator:
                yield value

    return call


_KINDS: tuple[tuple[Callable[[Any], bool], Callable[..., Callable[..., Any]]], ...] = (
    (inspect.isasyncgenfunction, _async_generator),
    (inspect.iscoroutinefunction, _coroutine),
    (inspect.isgeneratorfunction, _generator),
)
