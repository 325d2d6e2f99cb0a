"""The calls of the Conversations API that a session makes, over `AsyncOpenAI`, as raw JSON.

With `_requests` and `_failures` the only importer of openai in the core.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import quote, urlencode

import openai
from openai import AsyncOpenAI, NotFoundError

from openai_sessions._answers import Page, page_of
from openai_sessions._arguments import is_conversation_id
from openai_sessions._item_types import INCLUDE
from openai_sessions._policy import Operation, Outcome
from openai_sessions._requests import Requests
from openai_sessions._retrying import Retrier
from openai_sessions._types import Item
from openai_sessions.errors import ConversationNotFoundError, InvalidResponseError

__all__ = ["CONNECTIONS_KEPT", "Gateway", "NotFoundError", "Order", "open_client"]

Order = Literal["asc", "desc"]

CONNECTIONS_KEPT = openai.DEFAULT_CONNECTION_LIMITS.max_keepalive_connections or 100
"""How many connections a client of openai keeps open for the next request."""


def open_client() -> AsyncOpenAI:
    """Return a new client configured from the environment (OPENAI_API_KEY, OPENAI_BASE_URL, …).

    Raises:
        openai.OpenAIError: The environment has no credentials.
    """
    return AsyncOpenAI()


class Gateway(Requests):
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
        super().__init__(client, timeout=timeout, retrier=retrier)
        self._include = list(dict.fromkeys((*INCLUDE, *include)))
        self._include_query = urlencode([("include[]", value) for value in self._include])

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
            Operation.READ,
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
            Operation.REPLACE_METADATA,
            conversation_id,
            lambda: self._post(_conversation_path(conversation_id), {"metadata": dict(metadata)}),
        )

    async def delete_conversation(self, conversation_id: str) -> None:
        """Delete a conversation. The API keeps its items."""
        await self._repeated(
            Operation.DELETE_CONVERSATION,
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
            Operation.READ,
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
                Operation.DELETE_ITEM,
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
