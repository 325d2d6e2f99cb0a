"""The calls of the Conversations API that a session makes, over `AsyncOpenAI`, as raw JSON.

The only importer of openai in the core. The client's own retries are off for every call: it repeats
a POST whose reply was lost, without an idempotency key. Reads are repeated here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import anyio
import openai
from openai import AsyncOpenAI, NotFoundError

from openai_sessions._arguments import is_conversation_id
from openai_sessions._item_types import INCLUDE
from openai_sessions._retrying import retry_read
from openai_sessions._types import Item
from openai_sessions.errors import ConversationNotFoundError, InvalidResponseError, RequestTimeoutError

__all__ = ["Gateway", "NotFoundError", "Order", "Page", "open_client"]

Order = Literal["asc", "desc"]

_LONGEST_RETRY_AFTER = 60.0
"""Seconds; a server that asks for more gets the usual wait, as with openai's own client."""


def open_client() -> AsyncOpenAI:
    """Return a new client configured from the environment (OPENAI_API_KEY, OPENAI_BASE_URL, …).

    Raises:
        openai.OpenAIError: The environment has no credentials.
    """
    return AsyncOpenAI()


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


class Gateway:
    """The Conversations API as one client sees it.

    Args:
        client: The client whose transport, key and base URL are used.
        timeout: Seconds of wall clock for one request; None for the client's own limits only.
        include: Values of `include` beyond those that the replay form needs.

    Every method raises the errors of openai as they come, `RequestTimeoutError` when the time is up,
    and `InvalidResponseError` when an answer of success is not what the API promises.
    """

    def __init__(self, client: AsyncOpenAI, *, timeout: float | None, include: Sequence[str] = ()) -> None:
        if isinstance(client, openai.OpenAI):
            raise TypeError("openai_client is a synchronous OpenAI client; give an AsyncOpenAI.")
        self._client = client
        self._conversations = client.with_options(max_retries=0).conversations
        self._timeout = timeout
        self._include: list[Any] = list(dict.fromkeys((*INCLUDE, *include)))

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

    async def create_conversation(self, metadata: Mapping[str, str] | None) -> str:
        """Create an empty conversation and return its id."""
        operation = "create conversation"
        given: dict[str, Any] = {} if metadata is None else {"metadata": dict(metadata)}
        answer = await self._request(operation, lambda: self._conversations.with_raw_response.create(**given))
        if not is_conversation_id(answer.get("id")):
            raise InvalidResponseError(operation, "has no conversation id", None)
        return str(answer["id"])

    async def delete_conversation(self, conversation_id: str) -> None:
        """Delete a conversation. The API keeps its items."""
        await self._request(
            "delete conversation",
            lambda: self._conversations.with_raw_response.delete(conversation_id),
        )

    async def create_items(self, conversation_id: str, items: Sequence[Item]) -> list[Item]:
        """Append at most 20 items in one request and return them as the server lists them."""
        operation = "create items"
        # As extra_body the items go out as they are: openai's own parameter renames keys by type.
        answer = await self._request(
            operation,
            lambda: self._conversations.items.with_raw_response.create(
                conversation_id, items=[], extra_body={"items": list(items)}
            ),
        )
        return list(_page(operation, answer).items)

    async def list_items(
        self, conversation_id: str, *, limit: int, order: Order, after: str | None = None
    ) -> Page:
        """Return one page of at most 100 items."""
        operation = "list items"
        cursor: dict[str, Any] = {} if after is None else {"after": after}
        answer = await self._read(
            operation,
            lambda: self._conversations.items.with_raw_response.list(
                conversation_id, limit=limit, order=order, include=self._include, **cursor
            ),
        )
        return _page(operation, answer, limit=limit)

    async def delete_item(self, conversation_id: str, item_id: str) -> None:
        """Delete one item."""
        await self._request(
            "delete item",
            lambda: self._conversations.items.with_raw_response.delete(
                item_id, conversation_id=conversation_id
            ),
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

    async def _exists(self, conversation_id: str) -> bool:
        try:
            await self._read(
                "retrieve conversation",
                lambda: self._conversations.with_raw_response.retrieve(conversation_id),
            )
        except NotFoundError:
            return False
        return True

    async def _read(self, operation: str, request: Callable[[], Awaitable[Any]]) -> Item:
        """Make a request that changes nothing, with retries."""

        async def read() -> Item:
            return await self._request(operation, request)

        return await retry_read(
            read,
            is_transient=_is_transient,
            retry_after=_retry_after,
        )

    async def _request(self, operation: str, request: Callable[[], Awaitable[Any]]) -> Item:
        """Make one request within the timeout and decode its answer, a JSON object."""
        response = None
        with anyio.move_on_after(self._timeout):
            response = await request()
        if response is None:
            raise RequestTimeoutError(operation, self._timeout or 0)
        try:
            answer = json.loads(response.content)
        except ValueError:
            raise InvalidResponseError(operation, "is not JSON", _request_id(response)) from None
        if not isinstance(answer, dict):
            raise InvalidResponseError(operation, "is not a JSON object", _request_id(response))
        return answer


def _page(operation: str, answer: Item, *, limit: int | None = None) -> Page:
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


def _request_id(response: Any) -> str | None:
    return response.headers.get("x-request-id")  # type: ignore[no-any-return]


def _is_transient(error: BaseException) -> bool:
    """Tell whether a read that failed so may succeed when repeated."""
    if isinstance(error, openai.RateLimitError):
        return error.code != "insufficient_quota"
    if isinstance(error, openai.APIStatusError):
        return error.status_code in (408, 409) or error.status_code >= 500
    return isinstance(error, (openai.APIConnectionError, RequestTimeoutError))


def _retry_after(error: BaseException) -> float | None:
    """Return the seconds that the server asked to wait before another attempt, or None."""
    if not isinstance(error, openai.APIStatusError):
        return None
    headers = error.response.headers
    for name, scale in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers[name]) / scale
        except (KeyError, ValueError):
            continue
        if 0 <= seconds <= _LONGEST_RETRY_AFTER:
            return seconds
    return None
