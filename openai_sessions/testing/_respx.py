"""respx for the HTTP library that openai uses; respx itself intercepts httpx only."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai

try:
    from respx import MockRouter
except ModuleNotFoundError as error:
    raise ImportError(
        "respx_router needs respx: pip install 'openai-sessions[testing]'", name="respx"
    ) from error
import httpx  # respx's
from respx.mocks import HTTPCoreMocker
from respx.models import AllMockedAssertionError

from openai_sessions._api.client import HTTP_LIBRARY

_OPENAI = "https://api.openai.com/v1"
_FOREIGN = () if HTTP_LIBRARY is httpx else (httpx.RequestError,)
_CORE: Any = importlib.import_module(HTTP_LIBRARY.__name__.replace("httpx", "httpcore"))


class UnmatchedRequestError(openai.OpenAIError, AllMockedAssertionError):
    """No route matched a request, and it was not sent. openai does not retry its own errors."""


class OpenAIMocker(HTTPCoreMocker):
    name = "openai"
    targets = [target.replace("httpcore", _CORE.__name__) for target in HTTPCoreMocker.targets]  # noqa: RUF012

    @classmethod
    def from_sync_httpx_response(cls, httpx_response: Any, target: Any, **_: Any) -> Any:  # noqa: ARG003
        stream, headers = httpx_response.stream, httpx_response.headers.raw
        return _CORE.Response(httpx_response.status_code, headers=headers, content=stream)


class Router(MockRouter):
    def __init__(self, **options: Any) -> None:
        mocker = HTTPCoreMocker if HTTP_LIBRARY is httpx else OpenAIMocker  # one mocker for each httpcore
        super().__init__(**{**options, "using": mocker.name})

    @contextmanager
    def resolver(self, request: Any) -> Iterator[Any]:
        try:
            with super().resolver(request) as resolved:
                yield resolved
        except AllMockedAssertionError as error:
            raise UnmatchedRequestError(str(error)) from error
        except _FOREIGN as error:  # openai knows the errors of its own library
            own = getattr(HTTP_LIBRARY, type(error).__name__, HTTP_LIBRARY.NetworkError)
            raise own(str(error)) from error


def respx_router(*, base_url: str = _OPENAI, assert_all_called: bool = True) -> MockRouter:
    """Return a respx router for openai's clients at a base URL. A request without a route is not sent."""
    return Router(base_url=base_url, assert_all_called=assert_all_called)
