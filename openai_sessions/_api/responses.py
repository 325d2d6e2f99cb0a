"""A client of openai whose requests pass through a guard, and the HTTP of one `POST /responses`.

The guard stands where openai hands a request to its HTTP client. So it sees the plain, raw, streamed and
parsed calls of every framework, and what it returns is read by openai itself.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import anyio
import openai

from openai_sessions._api.bodies import json_object
from openai_sessions._api.client import HTTP_LIBRARY
from openai_sessions._api.redirects import MAX_REDIRECTS, endless, followed
from openai_sessions._arguments import is_conversation_id
from openai_sessions._items.types import Item
from openai_sessions.errors import InvalidResponseError, SessionError

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

T = TypeVar("T")

NAME = "create response"
"""The name of the request in errors."""

_HTTP_LIBRARIES = ("aiohttp", "httpx", "httpx2")

_ABOUT_THE_BODY = ("content-encoding", "content-length", "transfer-encoding")
"""Headers of a response that do not apply once its body is decoded or replaced."""

_RESPONSE_ID = re.compile(rb'"id"\s*:\s*"(resp_[^"]+)"')

_WHERE_IDS_ARE = 1024
"""In how many bytes at the start of a body the id of the response is looked for."""


class Guard(Protocol):
    """Sends the requests of a client."""

    async def send(self, request: Any, options: Mapping[str, Any], *, stream: bool) -> Any:
        """Send a request of an HTTP library and return its response.

        Args:
            request: The request.
            options: Further options of the HTTP client's `send`.
            stream: Whether the body of the response is left to be read.
        """
        ...


class RunInLoop(Protocol):
    """Runs a coroutine in an event loop of another thread, and returns its result."""

    def __call__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run the coroutine that `work` returns."""
        ...


def guarded_client(given: AsyncOpenAI | None, guard: Guard) -> AsyncOpenAI:
    """Return a client whose requests a guard sends.

    Args:
        given: The client whose class and settings it has; None for those of the environment.
        guard: Sends the requests.

    Raises:
        openai.OpenAIError: The environment has no credentials.
    """
    http = _async_http_class(_library_of(given))(guard, given)
    client: AsyncOpenAI = (
        openai.AsyncOpenAI(http_client=http) if given is None else given.copy(http_client=http)
    )
    client.__class__ = _async_client_class(cast("Any", type(client)))  # copies of it are of this class too
    return client


def guarded_sync_client(given: AsyncOpenAI | None, guard: Guard, run: RunInLoop) -> OpenAI:
    """Return a synchronous client whose requests a guard sends in the event loop of another thread.

    Args:
        given: The client whose settings it has; None for those of the environment.
        guard: Sends the requests.
        run: Runs the guard.

    Raises:
        openai.OpenAIError: The environment has no credentials.
    """
    http = _sync_http_class(_library_of(given))(guard, run, given)
    client = openai.OpenAI(http_client=http) if given is None else _sync_client(given, http, run)
    client.__class__ = _sync_client_class(cast("Any", type(client)))
    return client


def _sync_client(given: Any, http: Any, run: RunInLoop) -> OpenAI:
    """Return a synchronous client with the settings of a given one, most of which have no public name."""
    settings: dict[str, Any] = {
        "api_key": _in_loop(given._api_key_provider, run) or given.api_key,  # noqa: SLF001
        "organization": given.organization,
        "project": given.project,
        "base_url": given.base_url,
        "timeout": given.timeout,
        "max_retries": given.max_retries,
        "default_headers": given._custom_headers,  # noqa: SLF001
        "default_query": given._custom_query,  # noqa: SLF001
        "http_client": http,
    }
    if not isinstance(given, openai.AsyncAzureOpenAI):
        return openai.OpenAI(**settings)
    client = openai.AzureOpenAI(
        api_version=given._api_version,  # noqa: SLF001
        azure_ad_token=given._azure_ad_token,  # noqa: SLF001
        azure_ad_token_provider=_in_loop(given._azure_ad_token_provider, run),  # noqa: SLF001
        **settings,
    )
    for name in ("_azure_endpoint", "_azure_deployment"):  # which the base URL does not tell
        setattr(client, name, getattr(given, name))
    return client


def _in_loop(provider: Callable[[], Any] | None, run: RunInLoop) -> Callable[[], str] | None:
    """Return a synchronous provider of keys or tokens that calls a given one, if there is one."""
    if provider is None:
        return None

    async def provided() -> str:
        value = provider()
        return str(await value if inspect.isawaitable(value) else value)

    return lambda: run(provided)


def guarded_body(request: Any) -> Item | None:
    """Return the body of a request for a response in a conversation; None for any other request."""
    if request.method != "POST" or not request.url.path.endswith("/responses"):
        return None
    try:
        body = json.loads(request.content)
    except (ValueError, _library(request).RequestNotRead):
        return None
    return body if isinstance(body, dict) and is_conversation_id(conversation_of(body)) else None


def conversation_of(fields: Mapping[str, Any]) -> str | None:
    """Return the conversation id in a request for a response, or in a response."""
    given = fields.get("conversation")
    conversation_id = given.get("id") if isinstance(given, Mapping) else given
    return conversation_id if isinstance(conversation_id, str) and conversation_id else None


async def send_once(http: Any, request: Any, options: Mapping[str, Any], base_url: str) -> Any:
    """Send a request once, and return its response with a 2xx status, whose body is not read yet.

    Raises:
        openai.APIStatusError: The status is an error.
        openai.APIConnectionError: No response arrived.
        RedirectError: The request was redirected, and the redirect is not followed.
    """
    target = request
    for following in reversed(range(MAX_REDIRECTS + 1)):
        try:
            response = await http.send(target, **{**options, "stream": True, "follow_redirects": False})
        except Exception as error:
            raise request_error(error, request) from error
        if response.is_success:
            return response
        whole = replaced(response, await read(response))
        if not 300 <= whole.status_code < 400:
            raise _status_error(whole)
        url = followed(NAME, whole, base_url)
        if not following:
            raise endless(NAME, whole)
        target = type(request)("POST", url, headers=request.headers, content=request.content)
        target.extensions = request.extensions
    raise AssertionError("unreachable")


async def read(response: Any, on_part: Callable[[bytes], object] = lambda _: None) -> bytes:
    """Return the decoded body of a response, and close it.

    Args:
        response: The response.
        on_part: Called with what has arrived so far, after each part.

    Raises:
        openai.APIConnectionError: The body is cut.
    """
    body = bytearray()
    try:
        async for part in response.aiter_bytes():
            body += part
            on_part(bytes(body[:_WHERE_IDS_ARE]))
    except Exception as error:
        raise request_error(error, response.request) from error
    finally:
        await response.aclose()
    return bytes(body)


def response_id_in(body: bytes) -> str | None:
    """Return the id in the first bytes of a response object or of its stream, if they have it."""
    found = _RESPONSE_ID.search(body[:_WHERE_IDS_ARE])
    return found[1].decode() if found else None


def checked_response(response: Any, conversation_id: str) -> Item:
    """Return the response object in a body.

    Raises:
        InvalidResponseError: It is not one, or is about another conversation.
    """
    answer = json_object(NAME, response)
    about = conversation_of(answer)
    request_id = response.headers.get("x-request-id")
    if answer.get("object") != "response" or not isinstance(answer.get("id"), str) or not answer["id"]:
        raise InvalidResponseError(NAME, "is not a response object", request_id)
    if not isinstance(answer.get("output"), list) or about not in (None, conversation_id):
        raise InvalidResponseError(NAME, "is not about the conversation of the request", request_id)
    return answer


def replaced(response: Any, content: bytes) -> Any:
    """Return a response with another body."""
    made = type(response)(
        response.status_code,
        headers=_headers(response),
        content=content,
        request=response.request,
        extensions=response.extensions,
    )
    with suppress(RuntimeError):  # not measured
        made.elapsed = response.elapsed
    return made


def json_response(request: Any, answer: Item) -> Any:
    """Return a 200 whose body is a JSON object."""
    content = json.dumps(answer).encode()
    headers = {"content-type": "application/json"}
    return _library(request).Response(200, headers=headers, content=content, request=request)


def event_response(request: Any, parts: Any, response: Any = None, events: Any = None) -> Any:
    """Return a response whose body is a stream of events.

    Args:
        request: The request.
        parts: An async generator of the events as they are sent.
        response: The response of the server whose headers it has, if there is one.
        events: The async generator that reads that response. Both are closed with the stream.
    """
    headers = {"content-type": "text/event-stream"} if response is None else _headers(response)
    extensions = {} if response is None else response.extensions
    library = _library(request)
    stream = _stream_class(library.__name__)([parts, events, response])
    return library.Response(200, headers=headers, stream=stream, request=request, extensions=extensions)


def is_event_stream(response: Any) -> bool:
    """Return whether the body of a response is a stream of events."""
    return str(response.headers.get("content-type", "")).startswith("text/event-stream")


def request_error(error: Exception, request: Any) -> Exception:
    """Return the error that openai raises for an error of the HTTP library; any other error as it is."""
    root = type(error).__module__.partition(".")[0]
    if root not in _HTTP_LIBRARIES and not isinstance(error, (OSError, ssl.SSLError, anyio.EndOfStream)):
        return error
    is_late = isinstance(error, _library(request).TimeoutException)
    return (openai.APITimeoutError if is_late else openai.APIConnectionError)(request=request)


def response_of(error: Exception) -> Any:
    """Return the HTTP response of an error with a status; None for any other error."""
    return error.response if isinstance(error, openai.APIStatusError) else None


def _status_error(response: Any) -> openai.APIStatusError:
    try:
        body = response.json()
    except ValueError:
        body = None
    inner = body.get("error", body) if isinstance(body, dict) else body
    return openai.APIStatusError(f"Error code: {response.status_code}", response=response, body=inner)


def _headers(response: Any) -> list[tuple[str, str]]:
    return [(name, value) for name, value in response.headers.multi_items() if name not in _ABOUT_THE_BODY]


def _root(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _library(request: Any) -> Any:
    return importlib.import_module(_root(type(request)))


def _library_of(given: AsyncOpenAI | None) -> str:
    """Return the name of the HTTP library that a client runs on, httpx or httpx2."""
    kinds = type(given._client).__mro__ if given is not None else ()  # noqa: SLF001 -- has no public name
    bases = [_root(kind) for kind in kinds if kind.__name__ == "AsyncClient"]
    return bases[0] if bases else str(HTTP_LIBRARY.__name__)


def _is_guarded(options: Any) -> bool:
    """Return whether a call of openai is a request that the guard repeats itself."""
    fields = {**_mapping(options.json_data), **_mapping(options.extra_json)}
    is_create = options.method.lower() == "post" and options.url.partition("?")[0].endswith("/responses")
    return is_create and is_conversation_id(conversation_of(fields))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


@contextmanager
def _guarded(options: Any) -> Iterator[None]:
    """Surround a call of openai: the guard repeats its request itself, and raises its own errors."""
    if _is_guarded(options):
        options.max_retries = 0
    try:
        yield
    except openai.APIConnectionError as error:
        cause = error.__cause__  # openai 2 wraps the errors of the guard
        if isinstance(cause, (SessionError, openai.OpenAIError)):
            raise cause from cause.__cause__
        raise


@cache
def _async_client_class(base: Any) -> Any:
    class GuardedClient(base):  # type: ignore[misc]
        """A client whose requests for responses in conversations are sent once."""

        async def request(self, cast_to: Any, options: Any, **others: Any) -> Any:
            with _guarded(options):
                return await super().request(cast_to, options, **others)

    GuardedClient.__name__ = base.__name__  # openai sends it as the user agent
    return GuardedClient


@cache
def _sync_client_class(base: Any) -> Any:
    class GuardedSyncClient(base):  # type: ignore[misc]
        """A synchronous client whose requests for responses in conversations are sent once."""

        def request(self, cast_to: Any, options: Any, **others: Any) -> Any:
            with _guarded(options):
                return super().request(cast_to, options, **others)

    GuardedSyncClient.__name__ = base.__name__  # openai sends it as the user agent
    return GuardedSyncClient


@cache
def _async_http_class(name: str) -> Any:
    library: Any = importlib.import_module(name)

    class GuardedHTTP(library.AsyncClient):  # type: ignore[misc]
        """An HTTP client without connections: a guard sends its requests."""

        def __init__(self, guard: Guard, given: Any) -> None:
            super().__init__(transport=library.AsyncBaseTransport(), trust_env=False)
            self._guard = guard
            self._given = given

        def build_request(self, *args: Any, **fields: Any) -> Any:
            if self._given is None:
                return super().build_request(*args, **fields)
            return self._given._client.build_request(*args, **fields)  # noqa: SLF001 -- has no public name

        async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            if self.is_closed:
                raise RuntimeError("Cannot send a request, as the client has been closed.")
            return await self._guard.send(request, options, stream=stream)

    return GuardedHTTP


@cache
def _sync_http_class(name: str) -> Any:
    library: Any = importlib.import_module(name)

    class GuardedSyncHTTP(library.Client):  # type: ignore[misc]
        """A synchronous HTTP client without connections: a guard sends its requests in another thread."""

        def __init__(self, guard: Guard, run: RunInLoop, given: Any) -> None:
            super().__init__(transport=library.BaseTransport(), trust_env=False)
            self._guard = guard
            self._run = run
            self._given = given

        def build_request(self, *args: Any, **fields: Any) -> Any:
            if self._given is None:
                return super().build_request(*args, **fields)
            return self._given._client.build_request(*args, **fields)  # noqa: SLF001 -- has no public name

        def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            if self.is_closed:
                raise RuntimeError("Cannot send a request, as the client has been closed.")
            request.read()
            response = self._run(lambda: self._guard.send(request, options, stream=stream))
            if response.is_closed:
                return replaced(response, response.content)
            return library.Response(
                response.status_code,
                headers=response.headers,
                stream=_sync_stream_class(name)(response, self._run),
                request=request,
                extensions=response.extensions,
            )

    return GuardedSyncHTTP


@cache
def _stream_class(name: str) -> Any:
    class EventStream(importlib.import_module(name).AsyncByteStream):  # type: ignore[misc]
        """The body of a streamed response, event by event."""

        def __init__(self, to_close: Sequence[Any]) -> None:
            self._to_close = to_close

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for part in self._to_close[0]:
                yield part

        async def aclose(self) -> None:
            for each in filter(None, self._to_close):
                await each.aclose()

    return EventStream


@cache
def _sync_stream_class(name: str) -> Any:
    class SyncStream(importlib.import_module(name).SyncByteStream):  # type: ignore[misc]
        """The body of a response, each part of which another thread's event loop reads."""

        def __init__(self, response: Any, run: RunInLoop) -> None:
            self._response = response
            self._parts = response.aiter_raw()
            self._run = run

        def __iter__(self) -> Iterator[bytes]:
            while (part := self._run(self._next)) is not None:
                yield part

        async def _next(self) -> bytes | None:
            return await anext(self._parts, None)

        def close(self) -> None:
            self._run(self._response.aclose)

    return SyncStream
