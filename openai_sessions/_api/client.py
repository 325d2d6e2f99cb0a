"""The calls of the Conversations API, as raw JSON over `AsyncOpenAI`."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal
from urllib.parse import quote, urlencode

import anyio
import jiter
import openai
from openai import AsyncOpenAI, NotFoundError, RequestOptions

from openai_sessions._api.retries import Outcome, RequestKind, Retrier
from openai_sessions._arguments import is_conversation_id
from openai_sessions._instrumentation import timed
from openai_sessions._items.types import INCLUDE, Item
from openai_sessions.errors import ConversationNotFoundError, InvalidResponseError, RequestTimeoutError


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list of items.

    Attributes:
        items: The items in the order that was asked for.
        has_more: Whether the server says that more follow.
        last_id: The id to ask the next page after, or None when the server gave none.
    """

    items: tuple[Item, ...]
    has_more: bool
    last_id: str | None


def page_of(operation: str, answer: Item, *, limit: int | None = None) -> Page:
    """Read a list page, tolerating what servers leave out of its envelope."""
    items = answer.get("data")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidResponseError(operation, "has no list of items under 'data'", None)
    has_more = answer.get("has_more")
    ids = [item.get("id") for item in items]
    last_id = (ids[-1] if ids else None) or answer.get("last_id")
    return Page(
        items=tuple(items),
        has_more=len(items) == limit if has_more is None else bool(has_more),
        last_id=last_id if isinstance(last_id, str) else None,
    )


def decoded(content: bytes) -> Any:
    """Decode JSON once, at speed.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return jiter.from_json(content)
    except ValueError:
        return json.loads(content)  # it takes half of a surrogate pair, which an item may hold


_PATIENCE = 2.0
"""Seconds that a request waits for its slot at most; then it goes without one."""


class RequestLimiter:
    """As many requests at once as an HTTP client keeps connections; the next one waits a little.

    One more would open a connection for itself alone, and for each request the client looks through
    all of its connections: a thousand at once take far longer than a hundred at a time. Where answers
    take so long that a slot does not come free soon, it goes all the same.

    Args:
        count: How many.
        patience: Seconds that one waits at most.
    """

    def __init__(self, count: int, *, patience: float = _PATIENCE) -> None:
        self._semaphore = asyncio.Semaphore(count)
        self._patience = patience

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Hold a slot, or go without one."""
        has_slot = await self._acquire()
        try:
            yield
        finally:
            if has_slot:
                self._semaphore.release()

    async def _acquire(self) -> bool:
        if not self._semaphore.locked():
            return await self._semaphore.acquire()
        with anyio.move_on_after(self._patience):
            return await self._semaphore.acquire()
        return False


HTTP_LIBRARY: Any = importlib.import_module(
    openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0]
)
"""The HTTP library that the installed openai runs on: httpx, or its fork httpx2."""

_RESPONSE = HTTP_LIBRARY.Response
"""What openai calls the answer as it came."""

_ONCE: RequestOptions = {"max_retries": 0}
"""What each request tells the client. A copy of the client with this setting would cost each session a
switch to a thread, in which openai finds out the platform, and would not follow a key that is changed."""


def _request_id(response: Any) -> str | None:
    return response.headers.get("x-request-id")  # type: ignore[no-any-return]


__all__ = [
    "CONNECTIONS_KEPT",
    "HTTP_LIBRARY",
    "ConversationsClient",
    "NotFoundError",
    "Order",
    "Page",
    "open_client",
]

Order = Literal["asc", "desc"]

CONNECTIONS_KEPT = openai.DEFAULT_CONNECTION_LIMITS.max_keepalive_connections or 100
"""How many connections a client of openai keeps open for the next request."""


def open_client() -> AsyncOpenAI:
    """Return a new client configured from the environment (OPENAI_API_KEY, OPENAI_BASE_URL, …).

    Raises:
        openai.OpenAIError: The environment has no credentials.
    """
    return AsyncOpenAI()


class ConversationsClient:
    """The Conversations API as one client sees it.

    Args:
        client: As for `Requests`.
        timeout: As for `Requests`.
        retrier: As for `Requests`.
        include: Values of `include` beyond those that the replay form needs.

    Every method raises the errors of openai as they come, `RequestTimeoutError` when the time is up,
    and `InvalidResponseError` when an answer of success is not what the API promises.
    """

    def __init__(
        self,
        client: AsyncOpenAI,
        *,
        timeout: float | None,
        retrier: Retrier,
        include: Sequence[str] = (),
    ) -> None:
        if isinstance(client, openai.OpenAI):
            raise TypeError("openai_client is a synchronous OpenAI client; give an AsyncOpenAI.")
        self._client = client
        self.timeout = timeout
        self.retrier = retrier
        self.limiter: RequestLimiter | None = None
        self._include = list(dict.fromkeys((*INCLUDE, *include)))
        self._include_query = urlencode([("include[]", value) for value in self._include])

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
            await self._repeated(RequestKind.READ, conversation_id, request, name=name)
        except NotFoundError:
            return False
        return True

    async def _repeated(  # noqa: PLR0913 -- one request, and all that bears on its repetition
        self,
        operation: RequestKind,
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
        async with self.limiter.one() if self.limiter else nullcontext():
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

    async def create_conversation(self, metadata: Mapping[str, str] | None) -> str:
        """Create an empty conversation in one request and return its id."""
        operation = "create conversation"
        given: dict[str, Any] = {} if metadata is None else {"metadata": dict(metadata)}
        answer = await self._request(operation, lambda: self._post("/conversations", given))
        if not is_conversation_id(answer.get("id")):
            raise InvalidResponseError(operation, "has no conversation id", None)
        return str(answer["id"])

    async def metadata_of(self, conversation_id: str) -> dict[str, str]:
        """Return the metadata that the API keeps with a conversation."""
        answer = await self._repeated(
            RequestKind.READ,
            conversation_id,
            lambda: self._get(_conversation_path(conversation_id)),
            name="retrieve conversation",
        )
        metadata = answer.get("metadata") or {}
        if not isinstance(metadata, Mapping):
            raise InvalidResponseError("retrieve conversation", "has no mapping for its metadata", None)
        return {str(key): str(value) for key, value in metadata.items()}

    async def replace_metadata(self, conversation_id: str, metadata: Mapping[str, str]) -> None:
        """Put metadata in the place of all that the API keeps with a conversation.

        May be sent twice when a reply is lost: whoever may write meanwhile is to be kept out by a lock.
        """
        await self._repeated(
            RequestKind.REPLACE_METADATA,
            conversation_id,
            lambda: self._post(_conversation_path(conversation_id), {"metadata": dict(metadata)}),
        )

    async def delete_conversation(self, conversation_id: str) -> None:
        """Delete a conversation. The API keeps its items."""
        await self._repeated(
            RequestKind.DELETE_CONVERSATION,
            conversation_id,
            lambda: self._delete(_conversation_path(conversation_id)),
        )

    async def create_items(self, conversation_id: str, items: Sequence[Item]) -> list[str]:
        """Append at most 20 items in one request and return their ids."""
        operation = "create items"
        path, body = _items_path(conversation_id), {"items": list(items)}
        answer = await self._request(operation, lambda: self._post(path, body))
        ids = [item.get("id") for item in page_of(operation, answer).items]
        if len(ids) != len(items) or not all(isinstance(item_id, str) for item_id in ids):
            raise InvalidResponseError(operation, "does not list each item with its id", None)
        return [str(item_id) for item_id in ids]

    async def list_items(
        self,
        conversation_id: str,
        *,
        limit: int,
        order: Order,
        after: str | None = None,
        exempt: bool = False,
    ) -> Page:
        """Return one page of at most 100 items. `exempt`: its retries are not paid for."""
        query: dict[str, object] = {"limit": limit, "order": order}
        if after is not None:
            query["after"] = after
        url, params = self._with_query(_items_path(conversation_id), query)
        answer = await self._repeated(
            RequestKind.READ,
            conversation_id,
            lambda: self._get(url, params),
            name="list items",
            exempt=exempt,
        )
        return page_of("list items", answer, limit=limit)

    async def delete_item(
        self,
        conversation_id: str,
        item_id: str,
        *,
        exempt: bool = False,
        on_failure: Callable[[Outcome], object] = lambda _: None,
    ) -> None:
        """Delete one item.

        A 404 to the first request means that another has taken it. After a request whose outcome is
        unknown it means that this one was applied.

        Args:
            conversation_id: The conversation.
            item_id: The item.
            exempt: Its retries are not paid for.
            on_failure: Told what is known of each attempt that failed.

        Raises:
            NotFoundError: The item was not there, and none of the requests has deleted it.
        """
        failures: list[Outcome] = []

        def note(outcome: Outcome) -> None:
            failures.append(outcome)
            on_failure(outcome)

        try:
            await self._repeated(
                RequestKind.DELETE_ITEM,
                conversation_id,
                lambda: self._delete(_item_path(conversation_id, item_id)),
                exempt=exempt,
                on_failure=note,
            )
        except NotFoundError:
            if Outcome.UNKNOWN not in failures:
                raise

    async def has_item(self, conversation_id: str, item_id: str) -> bool:
        """Tell whether a conversation holds an item."""
        return await self._is_found(
            conversation_id,
            lambda: self._get(_item_path(conversation_id, item_id)),
            name="retrieve item",
        )

    @asynccontextmanager
    async def confirming_not_found(self, conversation_id: str) -> AsyncIterator[None]:
        """Turn a 404 inside into `ConversationNotFoundError` once the conversation itself answers 404.

        A 404 may be about an item; then it passes through.
        """
        try:
            yield
        except NotFoundError as error:
            if await self._exists(conversation_id):
                raise
            raise ConversationNotFoundError(conversation_id) from error

    def _with_query(self, path: str, query: dict[str, object]) -> tuple[str, Mapping[str, object] | None]:
        """Return the URL of a request for a page, and the query that is given apart.

        A whole URL takes a third less time than a path with a query given apart. Where the client adds
        a query of its own, as that of Azure does, it would lose what the URL says more than once.
        """
        if self._client.default_query:
            return path, {**query, "include": self._include}
        return f"{self.base_url}{path.lstrip('/')}?{urlencode(query)}&{self._include_query}", None

    async def _exists(self, conversation_id: str) -> bool:
        return await self._is_found(
            conversation_id,
            lambda: self._get(_conversation_path(conversation_id)),
            name="retrieve conversation",
        )


def _conversation_path(conversation_id: str) -> str:
    return f"/conversations/{conversation_id}"


def _items_path(conversation_id: str) -> str:
    return f"{_conversation_path(conversation_id)}/items"


def _item_path(conversation_id: str, item_id: str) -> str:
    return f"{_items_path(conversation_id)}/{quote(item_id, safe='')}"
