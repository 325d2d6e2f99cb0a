"""The calls of the Conversations API, as raw JSON over `AsyncOpenAI`.

openai's own retries are off for every call: they repeat a POST whose reply was lost, without an idempotency
key. Reads, deletions and metadata updates are retried here; appending and creating are retried by callers
that know what a lost reply means.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import parse_qs, quote, urlencode

import anyio
import openai
from openai import AsyncOpenAI, NotFoundError, RequestOptions

from openai_sessions._api.bodies import HEADERS, json_object, limited
from openai_sessions._api.include import Include, is_about_include, refused
from openai_sessions._api.redirects import MAX_REDIRECTS, endless, followed
from openai_sessions._api.retries import Outcome, RequestKind, Retries
from openai_sessions._api.transports import address_of, cause_of, counting_sends, found_no_connection
from openai_sessions._arguments import MAX_REQUEST_BYTES, is_conversation_id
from openai_sessions._instrumentation import tell_request
from openai_sessions._items.types import INCLUDE, Item, is_compaction
from openai_sessions.errors import (
    ClosedClientError,
    CompactionError,
    ConversationNotFoundError,
    InvalidResponseError,
    RequestTimeoutError,
    TokenCountError,
)

__all__ = [
    "CONNECTIONS_KEPT",
    "HTTP_LIBRARY",
    "ConversationsClient",
    "NotFoundError",
    "Order",
    "Page",
    "Request",
    "RequestLimiter",
    "open_client",
]

logger = logging.getLogger("openai_sessions")

Order = Literal["asc", "desc"]

CONNECTIONS_KEPT = openai.DEFAULT_CONNECTION_LIMITS.max_keepalive_connections or 100
"""How many idle connections a client of openai keeps open."""

HTTP_LIBRARY: Any = importlib.import_module(
    openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0]
)
"""The HTTP library that the installed openai runs on: httpx, or its fork httpx2."""

COUNT_TOKENS = "count tokens"

COMPACT = "compact history"

_NOT_OFFERED = (404, 405, 501)
"""What servers answer that have no `POST /responses/input_tokens` or `POST /responses/compact`."""

_HTTP_LIBRARIES = ("aiohttp", "httpx", "httpx2")

_RESPONSE = HTTP_LIBRARY.Response
"""Has openai return the response as it came."""

_ONCE: RequestOptions = {"max_retries": 0, "follow_redirects": False, "headers": HEADERS}
"""Options of every request. A copy of the client with this setting would cost each session a switch to a
thread, in which openai looks up the platform, and would miss a key that is changed on the client."""

_MAX_SHOWN = 256
"""How many characters of an id that cannot be used are shown."""

_PATIENCE = 2.0
"""Maximum seconds that a request waits for `RequestLimiter`."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the API.

    Attributes:
        name: Names it in errors and telemetry, such as "list items".
        kind: Decides how it is retried.
        method: The HTTP method.
        path: Relative to the base URL, or a whole URL.
        conversation_id: The conversation, or None while it is being created.
        params: The query, unless the path has it.
        body: The JSON body of a POST.
        waits_for_model: Whether a model works on it: then only the client's own limits of time apply.
    """

    name: str
    kind: RequestKind
    method: Literal["GET", "POST", "DELETE"]
    path: str
    conversation_id: str | None = None
    params: Mapping[str, object] | None = None
    body: object = None
    waits_for_model: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list of items.

    Attributes:
        items: The items in the order of the list.
        has_more: Whether the server says that more follow.
        last_id: The cursor of the next page, or None if the server gave none.
    """

    items: tuple[Item, ...]
    has_more: bool
    last_id: str | None


class ConversationsClient:
    """The Conversations API as seen by one `AsyncOpenAI`.

    Every method raises openai's errors as they come, `RequestTimeoutError` when a request takes longer than
    the timeout, `InvalidResponseError` when a successful response does not have the documented form, and
    `RedirectError` for a redirect that is not followed.

    Args:
        client: Its transport, key and base URL are used.
        timeout: Seconds of wall clock for one request; None for the client's own limits only.
        retries: Decides which requests are sent again, and when.
        include: Values of `include` in addition to those that the replay form needs.
        max_bytes: Maximum size of a request that appends items; their caller splits them.

    Attributes:
        limiter: Limits concurrent requests; None for no limit.

    Raises:
        TypeError: The client is synchronous.
    """

    def __init__(
        self,
        client: AsyncOpenAI,
        *,
        timeout: float | None,
        retries: Retries,
        include: Sequence[str] = (),
        max_bytes: int = MAX_REQUEST_BYTES,
    ) -> None:
        if isinstance(client, openai.OpenAI):
            raise TypeError("openai_client is a synchronous OpenAI client: give an AsyncOpenAI")
        self._client = client
        self.timeout = timeout
        self.max_bytes = max_bytes
        self.retries = retries
        self.limiter: RequestLimiter | None = None
        self._has_warned = False
        self._include = Include(INCLUDE, include, http_client=self.http_client, base_url=self.base_url)

    @property
    def openai_client(self) -> AsyncOpenAI:
        """The client of openai."""
        return self._client

    @property
    def base_url(self) -> str:
        """The URL that conversation ids are relative to."""
        return str(self._client.base_url)

    @property
    def http_client(self) -> object:
        """The HTTP client that owns the connections, shared by all copies of the client."""
        return self._client._client  # noqa: SLF001 -- openai has no public name for it

    @property
    def lacking_include(self) -> tuple[str, ...]:
        """The values of `include` that the replay form needs and that the server has refused."""
        return self._include.lacking

    async def aclose(self) -> None:
        """Close the client and its connections."""
        await self._client.close()

    async def create_conversation(self, metadata: Mapping[str, str] | None) -> str:
        """Create an empty conversation, in one request that is not retried, and return its id.

        Raises:
            InvalidResponseError: The response has no id that can be used. The conversation exists all the
                same, so the error is lasting.
        """
        name, body = "create conversation", {} if metadata is None else {"metadata": dict(metadata)}
        request = Request(name, RequestKind.CREATE_CONVERSATION, "POST", "/conversations", body=body)
        try:
            created = (await self.send_once(request)).get("id")
        except InvalidResponseError as error:
            error.is_lasting = True
            raise
        if is_conversation_id(created):
            return str(created)
        shown = str(created)[:_MAX_SHOWN] if isinstance(created, (str, int)) else None
        problem = "has no conversation id" if shown is None else f"has the conversation id {shown!r}"
        reason = problem if shown is None else f"{problem}, which is not safe in the path of a URL"
        raise InvalidResponseError(name, reason, None, is_lasting=True, conversation_id=shown)

    async def metadata_of(self, conversation_id: str) -> dict[str, str]:
        """Return the metadata of a conversation."""
        request = _retrieval(conversation_id)
        metadata = _about(request, await self.send(request)).get("metadata") or {}
        if not isinstance(metadata, Mapping):
            raise InvalidResponseError(request.name, "has metadata that is not an object", None)
        return {str(key): str(value) for key, value in metadata.items()}

    async def replace_metadata(self, conversation_id: str, metadata: Mapping[str, str]) -> None:
        """Replace all metadata of a conversation.

        Sent twice if a reply is lost: other writers must be excluded by a lock meanwhile.
        """
        path, body = _conversation_path(conversation_id), {"metadata": dict(metadata)}
        request = Request(
            "replace metadata", RequestKind.REPLACE_METADATA, "POST", path, conversation_id, body=body
        )
        _about(request, await self.send(request))

    async def delete_conversation(self, conversation_id: str) -> bool:
        """Delete a conversation, and return whether it was there. The API keeps its items."""
        path = _conversation_path(conversation_id)
        request = Request(
            "delete conversation", RequestKind.DELETE_CONVERSATION, "DELETE", path, conversation_id
        )
        return await self._was_there(request, conversation_id)

    async def delete_response(self, response_id: str) -> bool:
        """Delete a stored response, and return whether it was there."""
        path = _response_path(response_id)
        request = Request("delete response", RequestKind.DELETE_RESPONSE, "DELETE", path)
        return await self._was_there(request, response_id)

    async def delete_file(self, file_id: str) -> bool:
        """Delete an uploaded file, and return whether it was there."""
        path = f"/files/{quote(file_id, safe='')}"
        return await self._was_there(Request("delete file", RequestKind.DELETE_FILE, "DELETE", path), file_id)

    async def _was_there(self, request: Request, object_id: str) -> bool:
        """Send a deletion, and return whether the object was there.

        A 404 after a request whose outcome is unknown means that this request was applied.

        Raises:
            InvalidResponseError: The answer is about another object, or says that it was not deleted.
        """
        outcomes: list[Outcome] = []
        try:
            answer = await self.send(request, outcomes=outcomes)
        except NotFoundError:
            return Outcome.UNKNOWN in outcomes
        if answer.get("deleted", True) is not True or answer.get("id", object_id) != object_id:
            raise InvalidResponseError(request.name, "does not say that the object was deleted", None)
        return True

    async def create_items(
        self, conversation_id: str, items: Sequence[Item], *, known: Collection[str] = ()
    ) -> list[str]:
        """Append at most 20 items, in one request that is not retried, and return their ids.

        A response proves that they are stored if it lists as many items, of the same types and roles, in the
        same order, under new ids. Their contents may differ: servers normalise them.

        Args:
            conversation_id: The conversation.
            items: The items.
            known: Ids of items that were stored before.

        Raises:
            InvalidResponseError: The response does not prove it: their outcome is unknown.
        """
        name, path, body = "create items", _items_path(conversation_id), {"items": list(items)}
        answer = await self.send_once(
            Request(name, RequestKind.APPEND, "POST", path, conversation_id, body=body)
        )
        listed = _page(name, answer).items
        if len(listed) != len(items):
            raise InvalidResponseError(name, f"lists {len(listed)} items, not the {len(items)} sent", None)
        if not all(map(_answers, items, listed)):
            raise InvalidResponseError(name, "lists items of other types or roles than those sent", None)
        ids = [item["id"] for item in listed if isinstance(item.get("id"), str) and item["id"]]
        if len(set(ids)) != len(items) or not set(ids).isdisjoint(known):
            raise InvalidResponseError(name, "does not list each item under an id of its own", None)
        return ids

    async def list_items(
        self,
        conversation_id: str,
        *,
        limit: int,
        order: Order,
        after: str | None = None,
        exempt: bool = False,
    ) -> Page:
        """Return one page of at most 100 items. `exempt`: its retries are not paid for.

        If the server lacks a value of `include` that the replay form needs, it is left out from now on.
        """
        query: dict[str, object] = {"limit": limit, "order": order}
        if after is not None:
            query["after"] = after

        def including(values: Sequence[str]) -> Request:
            path, params = self._with_query(_items_path(conversation_id), query, values)
            return Request("list items", RequestKind.READ, "GET", path, conversation_id, params)

        while True:
            sent = (*self._include.needed, *self._include.given)
            try:
                answer = await self.send(including(sent), exempt=exempt)
                break
            except openai.APIStatusError as error:
                if not is_about_include(error, sent):
                    raise
                lacking = refused(error, sent)
                if not set(lacking).isdisjoint(self._include.given):
                    raise
            if not lacking:
                answer = await self._send_by_trial(including, exempt=exempt)
                break
            self._leave_out(lacking)
        return _page("list items", answer, limit=limit)

    async def _send_by_trial(self, including: Callable[[Sequence[str]], Request], *, exempt: bool) -> Item:
        """Send a request with all values of `include` that the server has, where it does not say which.

        Each value is tried in one request, with those that were taken before.
        """
        needed, taken = self._include.needed, self._include.given
        answer: Item | None = None
        for value in needed:
            if len(taken) - len(self._include.given) == len(needed) - 1:
                break  # all others are taken: it is this one
            try:
                answer = await self.send(including((*taken, value)), exempt=exempt)
            except openai.APIStatusError as error:
                if not is_about_include(error, needed):
                    raise
            else:
                taken = (*taken, value)
        if answer is None:
            answer = await self.send(including(taken), exempt=exempt)
        self._leave_out([value for value in needed if value not in taken])
        return answer

    def _leave_out(self, values: Sequence[str]) -> None:
        new = self._include.leave_out(values)
        if new:
            address = address_of(self.base_url)
            logger.warning("%s lacks include=%s: it is left out, and items may lack parts", address, new)

    async def delete_item(
        self,
        conversation_id: str,
        item_id: str,
        *,
        exempt: bool = False,
        retry_locked: bool = True,
        outcomes: list[Outcome] | None = None,
    ) -> None:
        """Delete one item.

        A 404 to the first request means that someone else has deleted it; after a request whose outcome is
        unknown, that this request was applied.

        Args:
            conversation_id: The conversation.
            item_id: The item.
            exempt: Its retries are not paid for.
            retry_locked: Try again when another writer holds the conversation.
            outcomes: Receives the outcome of each attempt that fails.

        Raises:
            NotFoundError: The item was not there, and none of the requests has deleted it.
        """
        outcomes = [] if outcomes is None else outcomes
        path = _item_path(conversation_id, item_id)
        request = Request("delete item", RequestKind.DELETE_ITEM, "DELETE", path, conversation_id)
        try:
            await self.send(request, exempt=exempt, retry_locked=retry_locked, outcomes=outcomes)
        except NotFoundError:
            if Outcome.UNKNOWN not in outcomes:
                raise

    async def has_item(self, conversation_id: str, item_id: str) -> bool:
        """Return whether a conversation has an item."""
        path = _item_path(conversation_id, item_id)
        return await self._is_found(Request("retrieve item", RequestKind.READ, "GET", path, conversation_id))

    async def retrieve_response(self, response_id: str, include: Sequence[str]) -> Item | None:
        """Return a stored response, or None if the server does not have it."""
        path = _response_path(response_id)
        params = {"include": list(include)} if include else None
        request = Request("retrieve response", RequestKind.READ, "GET", path, params=params)
        try:
            return await self.send(request, exempt=True)
        except NotFoundError:
            return None

    async def cancel_response(self, response_id: str) -> None:
        """Cancel a response that runs in the background.

        Raises:
            openai.APIStatusError: It has ended, or is unknown.
        """
        path = f"{_response_path(response_id)}/cancel"
        await self.send(Request("cancel response", RequestKind.CANCEL_RESPONSE, "POST", path), exempt=True)

    async def count_input_tokens(self, body: Mapping[str, object]) -> int:
        """Return how many tokens the input of a response would have.

        Args:
            body: The body of the request: the model, the input, and what else counts.

        Raises:
            TokenCountError: The server does not count.
        """
        request = Request(COUNT_TOKENS, RequestKind.READ, "POST", "/responses/input_tokens", body=dict(body))
        answer = await self._send_if_offered(request, TokenCountError)
        tokens = answer.get("input_tokens")
        if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
            raise InvalidResponseError(request.name, "has no number of tokens under 'input_tokens'", None)
        return tokens

    async def compact(self, body: Mapping[str, object]) -> Item:
        """Return what replaces items for a model: `output`, with a compaction item, and `usage`.

        The server stores nothing that a later request sees, so that the request is repeated as a read is. It
        takes as long as a response of the model: only the client's own limits of time apply.

        Args:
            body: The body of the request: the model, the input, and the instructions.

        Raises:
            CompactionError: The server does not compact.
            InvalidResponseError: There is no compaction item in the output.
        """
        request = Request(
            COMPACT, RequestKind.READ, "POST", "/responses/compact", body=dict(body), waits_for_model=True
        )
        answer = await self._send_if_offered(request, CompactionError)
        output = answer.get("output")
        items = output if isinstance(output, list) and all(isinstance(item, dict) for item in output) else []
        if not any(is_compaction(item) and item.get("encrypted_content") for item in items):
            raise InvalidResponseError(request.name, "has no compaction item under 'output'", None)
        return answer

    async def _send_if_offered(
        self, request: Request, not_offered: type[TokenCountError | CompactionError]
    ) -> Item:
        """Send a request, again as the policy says, to a part of the API that many servers do not have."""
        attempts = self.retries.attempts(request.kind)
        answer: Item = {}
        async for attempt in attempts:
            with attempt:
                answer = await self._send_once_if_offered(request, not_offered)
                attempts.succeeded()
        return answer

    async def _send_once_if_offered(
        self, request: Request, not_offered: type[TokenCountError | CompactionError]
    ) -> Item:
        try:
            return await self.send_once(request)
        except openai.APIStatusError as error:
            if error.status_code not in _NOT_OFFERED or error.code == "model_not_found":
                raise
            address = address_of(self.base_url).rstrip("/")
            raise not_offered(address, error.status_code, error.message) from error

    @asynccontextmanager
    async def confirming_not_found(self, conversation_id: str) -> AsyncIterator[None]:
        """Turn a 404 inside into `ConversationNotFoundError` if the conversation itself answers 404 too.

        Otherwise the 404 was about an item, and is raised as it is.
        """
        try:
            yield
        except NotFoundError as error:
            if await self._is_found(_retrieval(conversation_id)):
                raise
            raise ConversationNotFoundError(conversation_id) from error

    async def send(
        self,
        request: Request,
        *,
        exempt: bool = False,
        retry_locked: bool = True,
        outcomes: list[Outcome] | None = None,
    ) -> Item:
        """Send a request, again as the policy says, and return the JSON object of the response."""
        attempts = self.retries.attempts(
            request.kind,
            conversation_id=request.conversation_id,
            exempt=exempt,
            retry_locked=retry_locked,
        )
        answer: Item = {}
        async for attempt in attempts:
            with attempt, counting_sends(self.http_client) as sends:
                try:
                    answer = await self.send_once(request)
                except Exception as error:
                    if outcomes is not None:
                        failure = self.retries.classify(error)
                        was_repeated = len(sends) > 1
                        outcomes.append(Outcome.UNKNOWN if was_repeated or not failure else failure.outcome)
                    raise
                attempts.succeeded()
        return answer

    async def send_once(self, request: Request) -> Item:
        """Send a request once, when the limiter admits it, and return the JSON object of the response.

        An empty body answers a deletion: the object is empty then.
        """
        if self._client.is_closed():
            raise ClosedClientError
        response: Any = None
        async with self.limiter.one() if self.limiter else nullcontext():
            started = time.perf_counter()
            try:
                timeout = None if request.waits_for_model else self.timeout
                with anyio.move_on_after(timeout), limited(self.http_client, request.name):
                    target = request
                    for following in reversed(range(MAX_REDIRECTS + 1)):
                        try:
                            response = await self._call(target)
                            break
                        except openai.APIStatusError as error:  # openai would repeat a write as a GET
                            target = self._redirected(target, error, is_last=not following)
            except BaseException as error:
                tell_request(request.name, self, started, error=error)
                if found_no_connection(error):
                    self._warn_once(request.name, error)
                if isinstance(error.__cause__, InvalidResponseError):  # openai 2 wraps every error
                    raise error.__cause__ from None
                if type(error).__module__.partition(".")[0] in _HTTP_LIBRARIES:  # openai does not know it
                    raise InvalidResponseError(request.name, "is not HTTP", None) from None
                raise
            late = RequestTimeoutError(request.name, self.timeout or 0) if response is None else None
            tell_request(request.name, self, started, response=response, error=late)
        if late is not None:
            raise late
        self._has_warned = False
        return json_object(request.name, response, may_be_empty=request.method == "DELETE")

    def _warn_once(self, name: str, error: BaseException) -> None:
        """Log the first of several requests in a row that found no connection."""
        if not self._has_warned:
            address = address_of(self.base_url)
            logger.warning("%r found no connection to %s (%s)", name, address, cause_of(error))
        self._has_warned = True

    async def _is_found(self, request: Request) -> bool:
        try:
            await self.send(request)
        except NotFoundError:
            return False
        return True

    def _redirected(self, request: Request, error: openai.APIStatusError, *, is_last: bool) -> Request:
        """Return the request to which a redirect is followed; raise any other error."""
        if not 300 <= error.status_code < 400:
            raise error
        url = followed(request.name, error.response, self.base_url)
        if is_last:
            raise endless(request.name, error.response)
        return self._at(request, url)

    def _at(self, request: Request, url: str) -> Request:
        """Return a request to a whole URL instead."""
        if not self._client.default_query:
            return replace(request, path=url, params=None)
        path, _, query = url.partition("?")
        params = parse_qs(query, keep_blank_values=True)
        return replace(
            request,
            path=path,
            params={
                name.removesuffix("[]"): values if name.endswith("[]") else values[-1]
                for name, values in params.items()
            },
        )

    def _call(self, request: Request) -> Awaitable[Any]:
        options: RequestOptions = _ONCE if request.params is None else {**_ONCE, "params": request.params}
        if request.method == "GET":
            return self._client.get(request.path, options=options, cast_to=_RESPONSE)
        if request.method == "POST":
            return self._client.post(request.path, body=request.body, options=options, cast_to=_RESPONSE)
        return self._client.delete(request.path, options=options, cast_to=_RESPONSE)

    def _with_query(
        self, path: str, query: dict[str, object], include: Sequence[str]
    ) -> tuple[str, Mapping[str, object] | None]:
        """Return the path of a request for a page, and its params.

        openai sends a whole URL a third faster than a path with params. But where the client has a query of
        its own, as for Azure, openai would drop repeated parameters from a whole URL.
        """
        if self._client.default_query:
            return path, {**query, "include": list(include)}
        pairs = [*query.items(), *(("include[]", value) for value in include)]
        return f"{self.base_url}{path.lstrip('/')}?{urlencode(pairs)}", None


class RequestLimiter:
    """Limits concurrent requests to the connections that an HTTP client keeps open.

    One request more would open a connection for itself alone, and for each request the client searches all
    of its connections: a thousand at once take far longer than a hundred at a time. A request that has
    waited for `patience` is sent without a slot, so that slow responses do not block others.

    Args:
        count: Maximum number of requests at once.
        patience: Maximum seconds that a request waits.
    """

    def __init__(self, count: int, *, patience: float = _PATIENCE) -> None:
        self._semaphore = asyncio.Semaphore(count)
        self._patience = patience

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Occupy a slot, or go on without one."""
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


def open_client() -> AsyncOpenAI:
    """Return a new client configured from the environment (OPENAI_API_KEY, OPENAI_BASE_URL, …).

    Raises:
        openai.OpenAIError: The environment has no credentials.
    """
    return AsyncOpenAI()


def _page(name: str, answer: Item, *, limit: int | None = None) -> Page:
    """Return the page in a response; servers may leave out all of its fields but `data`."""
    items = answer.get("data")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidResponseError(name, "has no list of items under 'data'", None)
    has_more = answer.get("has_more")
    last_id = (items[-1].get("id") if items else None) or answer.get("last_id")
    return Page(
        items=tuple(items),
        has_more=len(items) == limit if has_more is None else bool(has_more),
        last_id=last_id if isinstance(last_id, str) else None,
    )


def _answers(sent: Item, listed: Item) -> bool:
    """Return whether a listed item may be what the server made of a sent one."""
    kinds = [(item.get("type") or "message", item.get("role")) for item in (sent, listed)]
    return kinds[0] == kinds[1]


def _about(request: Request, answer: Item) -> Item:
    """Return the object of a conversation, if it is that of the request's."""
    if answer.get("id") != request.conversation_id:
        raise InvalidResponseError(request.name, "is not about the conversation of the request", None)
    return answer


def _retrieval(conversation_id: str) -> Request:
    path = _conversation_path(conversation_id)
    return Request("retrieve conversation", RequestKind.READ, "GET", path, conversation_id)


def _conversation_path(conversation_id: str) -> str:
    return f"/conversations/{conversation_id}"


def _items_path(conversation_id: str) -> str:
    return f"{_conversation_path(conversation_id)}/items"


def _response_path(response_id: str) -> str:
    return f"/responses/{quote(response_id, safe='')}"


def _item_path(conversation_id: str, item_id: str) -> str:
    return f"{_items_path(conversation_id)}/{quote(item_id, safe='')}"
