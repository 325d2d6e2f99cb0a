"""What makes respx answer the requests of httpx2 as well as those of httpx.

respx 0.22 and 0.23 know httpcore, and so the requests of httpx; those of httpx2 would go out. Here the
transports of whichever library openai uses are replaced instead, while a router is active. Their requests
become those of the library that respx speaks, and its responses and errors become those of openai's.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import respx
from respx.mocks import AbstractRequestMocker, HTTPCoreMocker
from respx.models import AllMockedAssertionError

from openai_sessions._api.client import HTTP_LIBRARY

_RESPXS: Any = importlib.import_module(respx.MockResponse.__mro__[1].__module__.partition(".")[0])
"""The HTTP library of respx, which is httpx."""

_MISDIRECTED = 421
"""The request was directed at a server that cannot answer it (RFC 9110); openai does not send it again."""


class TransportRouter(respx.MockRouter):
    """A router of respx that answers what openai's HTTP library sends, and tells of what it refused.

    Attributes:
        refused: The requests that no route matched, since the router was entered.
    """

    def __init__(
        self,
        *,
        base_url: str | None = None,
        assert_all_called: bool = True,
        assert_all_mocked: bool = True,
        using: object = None,  # noqa: ARG002 - respx gives it to the routers that it derives from this one
    ) -> None:
        super().__init__(
            base_url=base_url,
            assert_all_called=assert_all_called,
            assert_all_mocked=assert_all_mocked,
            using=TransportMocker.name,
        )
        self.refused: list[Any] = []

    def assert_all_called(self) -> None:
        """Raise unless every route was called.

        Raises:
            AssertionError: Some were not; the message names them.
        """
        unused = [route for route in self.routes if not route.called]
        if unused:
            raise AssertionError(_listed("RESPX: some routes were not called:", unused))

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        refused, self.refused = self.refused, []
        self.stop(quiet=exc_type is not None or bool(refused))
        if refused and (exc_type is None or issubclass(exc_type, Exception)):
            requests = [f"{request.method} {request.url}" for request in refused]
            raise AllMockedAssertionError(_listed("RESPX: some requests were not mocked:", requests))


class TransportMocker(AbstractRequestMocker):
    """Replaces the transports of openai's HTTP library while there are routers."""

    name = "openai_sessions"
    targets = [f"{HTTP_LIBRARY.__name__}.HTTPTransport", f"{HTTP_LIBRARY.__name__}.AsyncHTTPTransport"]  # noqa: RUF012
    target_methods = ["handle_request", "handle_async_request"]  # noqa: RUF012

    @classmethod
    def handler(cls, httpx_request: Any) -> Any:
        """Return the response of the first router that has a route for the request, or a refusal."""
        with _errors_of_openais_library():
            for router in (*cls.routers, *HTTPCoreMocker.routers):
                with suppress(AllMockedAssertionError):
                    return router.handler(httpx_request)
        return cls._refuse(httpx_request)

    @classmethod
    async def async_handler(cls, httpx_request: Any) -> Any:
        """Return the response of the first router that has a route for the request, or a refusal."""
        with _errors_of_openais_library():
            for router in (*cls.routers, *HTTPCoreMocker.routers):
                with suppress(AllMockedAssertionError):
                    return await router.async_handler(httpx_request)
        return cls._refuse(httpx_request)

    @classmethod
    def to_httpx_request(cls, **kwargs: Any) -> Any:
        """Return a request of respx's library like the one that a transport was given."""
        request = kwargs["request"]
        return _RESPXS.Request(
            request.method,
            str(request.url.copy_with(userinfo=b"")),
            headers=request.headers.raw,
            stream=request.stream,
            extensions=request.extensions,
        )

    @classmethod
    def prepare_sync_request(cls, httpx_request: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Read the body, and leave it to be sent by the real transport when a route passes it through."""
        httpx_request.read()
        return cls._prepared(httpx_request, kwargs)

    @classmethod
    async def prepare_async_request(cls, httpx_request: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Read the body, and leave it to be sent by the real transport when a route passes it through."""
        await httpx_request.aread()
        return cls._prepared(httpx_request, kwargs)

    @classmethod
    def from_sync_httpx_response(cls, httpx_response: Any, target: Any, **kwargs: Any) -> Any:  # noqa: ARG003
        """Return a response of openai's library like the one that a route gave."""
        return HTTP_LIBRARY.Response(
            httpx_response.status_code,
            headers=httpx_response.headers.raw,
            stream=_Stream(httpx_response.stream),
            extensions=httpx_response.extensions,
        )

    @classmethod
    async def from_async_httpx_response(cls, httpx_response: Any, target: Any, **kwargs: Any) -> Any:
        """Return a response of openai's library like the one that a route gave."""
        return cls.from_sync_httpx_response(httpx_response, target, **kwargs)

    @classmethod
    def _prepared(cls, httpx_request: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        kwargs["request"].stream = HTTP_LIBRARY.ByteStream(httpx_request.content)
        return httpx_request, kwargs

    @classmethod
    def _refuse(cls, request: Any) -> Any:
        for router in cls.routers[-1:]:  # none when a thread is later than the end of the block
            router.refused.append(request)  # type: ignore[attr-defined]
        message = f"RESPX: {request!r} not mocked!"
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
        return _RESPXS.Response(_MISDIRECTED, json={"error": error}, request=request)


class _Stream(HTTP_LIBRARY.SyncByteStream, HTTP_LIBRARY.AsyncByteStream):  # type: ignore[misc]
    """The body of a response of respx's library, as one of openai's."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        with _errors_of_openais_library():
            yield from self._stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_of_openais_library():
            async for chunk in self._stream:
                yield chunk

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()


@contextmanager
def _errors_of_openais_library() -> Iterator[None]:
    """Raise errors of respx's library as those of the same name of openai's, which openai tells apart."""
    try:
        yield
    except _RESPXS.RequestError as error:
        if isinstance(error, HTTP_LIBRARY.RequestError):
            raise
        names = [ancestor.__name__ for ancestor in type(error).__mro__]
        same_named = next(getattr(HTTP_LIBRARY, name) for name in names if hasattr(HTTP_LIBRARY, name))
        raise same_named(str(error)) from error


def _listed(heading: str, lines: list[Any]) -> str:
    return "\n  ".join([heading, *map(str, lines)])
