"""Requests of one client: made when it is their turn, within a time, repeated where they may be.

The client's own retries are off for every call: it repeats a POST whose reply was lost, without an
idempotency key. Reads and deletions are repeated here; an append is repeated by whoever can look
whether it was applied.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import anyio
import openai
from openai import AsyncOpenAI, NotFoundError, RequestOptions

from openai_sessions._answers import decoded
from openai_sessions._observing import timed
from openai_sessions._policy import Operation, Outcome
from openai_sessions._retrying import Retrier
from openai_sessions._slots import Slots
from openai_sessions._types import Item
from openai_sessions.errors import InvalidResponseError, RequestTimeoutError

HTTP_LIBRARY: Any = importlib.import_module(
    openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0]
)
"""The HTTP library that the installed openai runs on: httpx, or its fork httpx2."""

_RESPONSE = HTTP_LIBRARY.Response
"""What openai calls the answer as it came."""

_ONCE: RequestOptions = {"max_retries": 0}
"""What each request tells the client. A copy of the client with this setting would cost each session a
switch to a thread, in which openai finds out the platform, and would not follow a key that is changed."""


class Requests:
    """What one client is asked, and how.

    Args:
        client: The client whose transport, key and base URL are used.
        timeout: Seconds of wall clock for one request; None for the client's own limits only.
        retrier: Repeats what may be repeated.

    Attributes:
        slots: One is held by each request while it is under way; None for no limit.
    """

    def __init__(self, client: AsyncOpenAI, *, timeout: float | None, retrier: Retrier) -> None:
        if isinstance(client, openai.OpenAI):
            raise TypeError("openai_client is a synchronous OpenAI client; give an AsyncOpenAI.")
        self._client = client
        self.timeout = timeout
        self.retrier = retrier
        self.slots: Slots | None = None

    @property
    def base_url(self) -> str:
        """The URL that conversation ids are relative to."""
        return str(self._client.base_url)

    @property
    def http_client(self) -> object:
        """The HTTP client that owns the connections, shared by all copies of the client."""
        return self._client._client  # noqa: SLF001 -- openai has no public name for it

    async def aclose(self) -> None:
        """Close the client and its connections."""
        await self._client.close()

    async def _get(self, path: str, params: Mapping[str, object] | None = None) -> Any:
        options: RequestOptions = _ONCE if params is None else {**_ONCE, "params": params}
        return await self._client.get(path, options=options, cast_to=_RESPONSE)

    async def _post(self, path: str, body: object) -> Any:
        return await self._client.post(path, body=body, options=_ONCE, cast_to=_RESPONSE)

    async def _delete(self, path: str) -> Any:
        return await self._client.delete(path, options=_ONCE, cast_to=_RESPONSE)

    async def _is_found(
        self, conversation_id: str, request: Callable[[], Awaitable[Any]], *, name: str
    ) -> bool:
        try:
            await self._repeated(Operation.READ, conversation_id, request, name=name)
        except NotFoundError:
            return False
        return True

    async def _repeated(  # noqa: PLR0913 -- one request, and all that bears on its repetition
        self,
        operation: Operation,
        conversation_id: str,
        request: Callable[[], Awaitable[Any]],
        *,
        name: str | None = None,
        exempt: bool = False,
        on_failure: Callable[[Outcome], object] = lambda _: None,
    ) -> Item:
        """Make a request that may be repeated, whatever became of it."""

        async def attempt() -> Item:
            try:
                return await self._request(name or operation.value, request)
            except Exception as error:
                failure = self.retrier.classify(error)
                on_failure(failure.outcome if failure else Outcome.UNKNOWN)
                raise

        return await self.retrier.run(
            operation,
            attempt,
            conversation_id=conversation_id,
            exempt=exempt,
        )

    async def _request(self, operation: str, request: Callable[[], Awaitable[Any]]) -> Item:
        """Make one request when it is its turn, within the timeout; decode its answer, a JSON object."""
        async with self.slots.one() if self.slots else nullcontext():
            response = await timed(operation, self, partial(self._in_time, operation, request))
        try:
            answer = decoded(response.content)
        except ValueError:
            raise InvalidResponseError(operation, "is not JSON", _request_id(response)) from None
        if not isinstance(answer, dict):
            raise InvalidResponseError(operation, "is not a JSON object", _request_id(response))
        return answer

    async def _in_time(self, operation: str, request: Callable[[], Awaitable[Any]]) -> Any:
        with anyio.move_on_after(self.timeout):
            return await request()
        raise RequestTimeoutError(operation, self.timeout or 0)


def _request_id(response: Any) -> str | None:
    return response.headers.get("x-request-id")  # type: ignore[no-any-return]
