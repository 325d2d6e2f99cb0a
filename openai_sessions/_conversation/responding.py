"""Responses in a conversation, each requested once.

openai repeats a `POST /responses` whose reply was lost, and the question, the answer and their tool calls are
then in the conversation twice. Here, as for an append in `writing.py`:

1. the newest items of the conversation are remembered;
2. the request is sent once; a 2xx counts if it is a response in this conversation;
3. a request whose outcome is unknown is searched for behind the remembered items, twice, and sent again only
   if it is not found. A response that is found is returned as the server has it, or rebuilt from its items;
4. a stream that is cut is completed from the response that is stored.

No lock is held: a tool, or the reader of a stream, may use the session meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio

from openai_sessions._api.client import ConversationsClient
from openai_sessions._api.clients import Clients
from openai_sessions._api.responses import (
    checked_response,
    conversation_of,
    event_response,
    guarded_body,
    is_event_stream,
    json_response,
    read,
    replaced,
    request_error,
    response_id_in,
    response_of,
    send_once,
)
from openai_sessions._api.retries import Failure, Outcome, RequestKind
from openai_sessions._conversation.locked import LockedConversation
from openai_sessions._conversation.reading import read_newest
from openai_sessions._conversation.state import CannotTellError, shared_conversation
from openai_sessions._items.events import EventSplitter, StreamProgress, decoded_event, encoded_event
from openai_sessions._items.forms import same_item
from openai_sessions._items.responses import (
    answered_calls,
    calls_in,
    input_items,
    output_at,
    rebuilt_response,
)
from openai_sessions._items.turns import ends_turn
from openai_sessions._items.types import Item
from openai_sessions.errors import (
    ClosedClientError,
    IncompleteResponseError,
    InvalidResponseError,
    TurnStateError,
)

logger = logging.getLogger("openai_sessions")

_REMEMBERED = 20
"""How many of the newest items are read before a request."""

_MAX_ANCHORS = 64

_MAX_TAILS = 1_000
"""Maximum number of conversations whose latest reply a guard remembers."""

_DEFAULT_TIMEOUT = 600.0
"""Seconds that a response may take if the client has no timeout: that of openai's clients."""

GOES_ON = (
    "the block of this turn has ended, and a run that uses its client goes on: end it inside the block, for "
    "example with `result.cancel()` if it is streamed"
)
"""The message of the error for a request after the end of a turn."""

RUNNING = ("queued", "in_progress")
"""The statuses of a response that has not ended."""


@dataclass(eq=False, slots=True)
class SentResponse:
    """A request for a response in a conversation, and what is known of it.

    Attributes:
        conversation_id: The conversation.
        items: The items that its input adds; None if the input is malformed.
        anchors: The newest ids known before the request, oldest first. Empty if there were none.
        sends: How often it was sent without an answer that counts.
        response_id: The id of the response, once it is known.
        input_ids: The ids of the input items, where a search has found them.
        output_ids: The ids of the output items that have been seen.
        was_sent: Whether it was sent.
        is_known: Whether it has been answered or found, or was refused.
        is_running: Whether its response ran in the background when it was last seen.
        is_stored: Whether its response has completed, so that the conversation has its items.
        is_answer: Whether it is stored, and its output ends with a message of the assistant.
    """

    conversation_id: str
    items: tuple[Item, ...] | None
    anchors: tuple[str, ...]
    sends: int = 0
    response_id: str | None = None
    input_ids: list[str] = field(default_factory=list)
    output_ids: list[str] = field(default_factory=list)
    was_sent: bool = False
    is_known: bool = False
    is_running: bool = False
    is_stored: bool = False
    is_answer: bool = False

    def copies_in(self, listed: Sequence[Item], answered: Collection[str] = ()) -> list[StoredCopy]:
        """Return each copy of the response in a listing that goes back to an anchor.

        Args:
            listed: The newest items, oldest first.
            answered: Ids of output items of other responses.

        Raises:
            CannotTellError: The listing does not tell.
        """
        if self.items is None:
            raise CannotTellError("the input of the request is not a string or a list of items")
        start, seen = _start(listed, self.anchors), frozenset(self.output_ids)
        copies = []
        for end in self._ends_of_input(listed, start):
            inputs = ids_of(listed[end - len(self.items) : end])
            copy = StoredCopy(inputs, output_at(listed, end))
            is_ours = not seen.isdisjoint(copy.output_ids) if seen else not copy.is_of(answered)
            if is_ours and (copy.output or self.items):
                copies.append(copy)
        if len(copies) > max(1, self.sends):
            raise CannotTellError(
                f"{len(copies)} copies were found of a request that was sent {self.sends} times"
            )
        return copies

    def _ends_of_input(self, listed: Sequence[Item], start: int) -> Iterator[int]:
        """Yield the position behind each copy of the input from a position on."""
        items = self.items or ()
        if not items:
            yield start
            return
        position = start
        while position + len(items) <= len(listed):
            window = listed[position : position + len(items)]
            if all(map(same_item, items, window)) and len(ids_of(window)) == len(items):
                position += len(items)
                yield position
            else:
                position += 1


@dataclass(frozen=True, slots=True)
class StoredCopy:
    """The items of one response as they are listed.

    Attributes:
        input_ids: The ids of its input items.
        output: Its output items; none if only its input is stored so far.
    """

    input_ids: list[str]
    output: list[Item]

    @property
    def output_ids(self) -> list[str]:
        """The ids of the output items."""
        return ids_of(self.output)

    def is_of(self, answered: Collection[str]) -> bool:
        """Return whether it is that of another response."""
        return any(item_id in answered for item_id in self.output_ids)


@dataclass(frozen=True, slots=True)
class _Tail:
    """The end of a conversation after the latest reply: its newest ids, and the ids of its calls."""

    anchors: tuple[str, ...]
    calls: frozenset[str]


class _Activity:
    """What a guard has in progress, so that another task can stop it."""

    def __init__(self) -> None:
        self._is_stopped = False
        self._steps: set[tuple[asyncio.AbstractEventLoop, anyio.CancelScope]] = set()
        self._open: set[tuple[asyncio.AbstractEventLoop, Any]] = set()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Wait inside for the server, unless the guard is stopped.

        Raises:
            TurnStateError: It is.
        """
        if not self._is_stopped:
            with anyio.CancelScope() as scope:
                step = asyncio.get_running_loop(), scope
                self._steps.add(step)
                try:
                    yield
                finally:
                    self._steps.discard(step)
            if not scope.cancelled_caught:
                return
        raise TurnStateError(GOES_ON)

    @contextmanager
    def reading(self, response: Any) -> Iterator[None]:
        """Read a stream inside."""
        stream = asyncio.get_running_loop(), response
        self._open.add(stream)
        try:
            yield
        finally:
            self._open.discard(stream)

    async def stop(self) -> None:
        """Cut what is in progress, in this event loop and in others."""
        self._is_stopped = True
        here = asyncio.get_running_loop()
        for loop, scope in list(self._steps):
            with suppress(RuntimeError):  # that loop is closed
                loop.call_soon_threadsafe(scope.cancel)
        await asyncio.sleep(0)
        for loop, response in list(self._open):
            if loop is here:
                with suppress(Exception):
                    await response.aclose()


class ResponseGuard:
    """Sends each request for a response in a conversation once, and every other request as it is.

    Args:
        clients: The source of the client for the running event loop.
        on_sent: Called with each request for a response, before it is sent.
        on_answered: Awaited with the id of the conversation after each response that is an answer, before the
            last event of a stream; must not raise.
    """

    def __init__(
        self,
        clients: Clients,
        on_sent: Callable[[SentResponse], object] = lambda _: None,
        on_answered: Callable[[str], Awaitable[object]] | None = None,
    ) -> None:
        self._clients = clients
        self._on_sent = on_sent
        self._on_answered = on_answered
        self._tails: dict[str, _Tail] = {}
        self._activity = _Activity()

    async def stop(self) -> None:
        """Cut the requests for responses that are in progress, and refuse others."""
        await self._activity.stop()

    async def send(self, request: Any, options: Mapping[str, Any], *, stream: bool) -> Any:
        """Send a request of an HTTP library and return its response.

        Raises:
            openai.OpenAIError: No response arrived.
            IncompleteResponseError: It is not known what became of it.
            ClientLoopError, ClosedClientError: Nothing was sent.
        """
        client = await self._clients.client()
        body = guarded_body(request)
        if body is None:
            http: Any = client.http_client
            return await http.send(request, stream=stream, **options)
        if client.openai_client.is_closed():
            raise ClosedClientError
        with self._activity.step():
            sent = await self._remembered(client, body)
            self._on_sent(sent)
            exchange = _Exchange(
                client, request, options, body, sent, self._learn, self._on_answered, self._activity
            )
            return await exchange.run()

    async def _remembered(self, client: ConversationsClient, body: Item) -> SentResponse:
        """Return the request with the newest ids of its conversation.

        They are read, unless it answers a call of the latest reply: no other request has the id of that call.
        """
        conversation_id, items = conversation_of(body) or "", input_items(body.get("input"))
        tail = self._tails.get(conversation_id)
        if tail is not None and not tail.calls.isdisjoint(answered_calls(items or ())):
            return SentResponse(conversation_id, items, tail.anchors)
        newest = await read_newest(client, conversation_id, _REMEMBERED)
        return SentResponse(conversation_id, items, tuple(ids_of(newest)))

    def _learn(self, sent: SentResponse, output: Sequence[Item]) -> None:
        self._tails.pop(sent.conversation_id, None)
        anchors = (*sent.anchors, *ids_of(output))[-_MAX_ANCHORS:]
        self._tails[sent.conversation_id] = _Tail(anchors, calls_in(output))
        if len(self._tails) > _MAX_TAILS:
            del self._tails[next(iter(self._tails))]


class _Exchange:
    """One request for a response, until its response is known."""

    def __init__(  # noqa: PLR0913, PLR0917 -- what the guard knows of the request
        self,
        client: ConversationsClient,
        request: Any,
        options: Mapping[str, Any],
        body: Item,
        sent: SentResponse,
        learn: Callable[[SentResponse, Sequence[Item]], None],
        on_answered: Callable[[str], Awaitable[object]] | None,
        activity: _Activity,
    ) -> None:
        self._client = client
        self._request = request
        self._options = options
        self._body = body
        self._sent = sent
        self._learn = learn
        self._on_answered = on_answered
        self._activity = activity
        self._known = shared_conversation(client.base_url, sent.conversation_id)
        timeout = request.extensions.get("timeout", {}).get("read")
        self._patience = _DEFAULT_TIMEOUT if timeout is None else timeout

    async def run(self) -> Any:
        """Send the request, and return the response for openai."""
        self._known.tail.expire()  # another writer is about to add items: the model
        attempts = self._client.retries.attempts(
            RequestKind.RESPOND, conversation_id=self._sent.conversation_id, locked_for=self._patience
        )
        response: Any = None
        try:
            async for attempt in attempts:
                with attempt:
                    try:
                        response = await self._send_once()
                        attempts.succeeded()
                    except Exception as error:
                        if not attempts.must_look(error):
                            raise
                        with attempts.looking():
                            response = await self._found_response(error)
                        if response is None:
                            raise
        except Exception as error:
            refusal = response_of(error)
            if refusal is None:
                raise
            return refusal  # for openai to raise
        await self._tell_answer()
        return response

    async def _tell_answer(self) -> None:
        """Call `on_answered`, once, if the response is an answer."""
        if self._sent.is_answer and self._on_answered is not None:
            on_answered, self._on_answered = self._on_answered, None
            await on_answered(self._sent.conversation_id)

    async def _send_once(self) -> Any:
        """Send the request once; return its response, or its stream from the first output on."""
        self._sent.response_id = None
        self._sent.was_sent = True
        self._sent.is_known = False  # an earlier refusal says nothing of this one
        try:
            response = await send_once(
                self._client.http_client, self._request, self._options, self._client.base_url
            )
            if self._body.get("stream") and is_event_stream(response):
                return await self._opened(response)
            content = await read(response, self._note_id)
            whole = replaced(response, content)
            answer = checked_response(whole, self._sent.conversation_id)
        except BaseException as error:
            failure = self._client.retries.classify(error)
            if failure is None or failure.outcome is Outcome.UNKNOWN:
                self._sent.sends += 1
            else:
                self._sent.is_known = not self._sent.sends
            raise
        self._note(answer)
        return self._as_response(answer) if self._body.get("stream") else whole

    def _as_response(self, answer: Item) -> Any:
        """Return the HTTP response that has a response object, as the request asked for it."""
        if self._body.get("stream"):
            return event_response(self._request, _encoded(StreamProgress(), answer))
        return json_response(self._request, answer)

    def _note_id(self, begun: bytes) -> None:
        self._sent.response_id = response_id_in(begun) or self._sent.response_id

    def _note(self, answer: Item) -> None:
        """Record a response that has arrived or was found."""
        self._sent.response_id = answer.get("id") or self._sent.response_id
        self._sent.output_ids = ids_of(answer["output"])
        self._sent.is_known = True
        self._sent.is_running = answer.get("status") in RUNNING
        self._sent.is_stored = answer.get("status") == "completed"
        self._sent.is_answer = self._sent.is_stored and ends_turn(answer["output"])
        self._known.answer(self._sent.output_ids)
        self._learn(self._sent, answer["output"])

    # Searching

    async def _found_response(self, error: Exception) -> Any:
        answer = await self._found(error)
        return None if answer is None else self._as_response(answer)

    async def _found(self, failure: Exception | None) -> Item | None:
        """Return the response whose reply was lost; None if two searches do not find it.

        Raises:
            IncompleteResponseError: It could not be found out.
        """
        try:
            return await self._look()
        except CannotTellError as error:
            raise self._incomplete(str(error), is_stored=None) from failure
        except IncompleteResponseError:
            raise
        except Exception as error:
            raise self._incomplete(f"the search failed: {type(error).__name__}", is_stored=None) from error

    async def _look(self) -> Item | None:
        retries, policy = self._client.retries, self._client.retries.policy
        until = retries.clock() + policy.deadline + self._patience
        for number in range(1, 1_000_000):
            answer = await self._stored() or await self._listed()
            if answer is not None and self._is_returned(answer):
                self._note(answer)
                return answer
            if answer is None and number > 1:
                return None
            wait = policy.settle_after
            if number > 1:
                wait = max(wait, policy.wait(Failure(Outcome.LOCKED), number - 1, random=0))
            if retries.clock() + wait > until:
                break
            await retries.sleep(wait)
        raise self._incomplete("it is still running", is_stored=None)

    def _is_returned(self, answer: Item) -> bool:
        """Return whether a response is given to the caller: once it has ended, or runs in the background."""
        in_background = bool(self._body.get("background") and answer["id"] and not self._body.get("stream"))
        return answer["status"] not in RUNNING or in_background

    async def _stored(self) -> Item | None:
        """Return the response as the server stores it, if its id is known."""
        response_id, include = self._sent.response_id, self._body.get("include")
        if response_id is None:
            return None
        values = include if isinstance(include, list) else ()
        answer = await self._client.retrieve_response(response_id, values)
        if answer is None or answer.get("object") != "response" or not isinstance(answer.get("output"), list):
            return None
        return answer if conversation_of(answer) == self._sent.conversation_id else None

    async def _listed(self) -> Item | None:
        """Return the response rebuilt from its items, if the conversation has them."""
        sent = self._sent
        locked = LockedConversation(self._client, sent.conversation_id, self._known)
        copies = sent.copies_in(await locked.back_to([sent.anchors]), self._known.answered)
        if not copies:
            return None
        first, *others = copies
        rebuilt = rebuilt_response(self._body, sent.conversation_id, sent.response_id or "", first.output)
        if not first.output:  # perhaps not yet
            return {**rebuilt, "status": "in_progress"}
        await locked.delete([item_id for copy in others for item_id in (*copy.input_ids, *copy.output_ids)])
        sent.input_ids = first.input_ids
        logger.warning(
            "%s: the reply to a request for a response was lost; the response is rebuilt from its items, "
            "without its usage",
            sent.conversation_id,
        )
        return rebuilt

    def _incomplete(self, reason: str, *, is_stored: Literal[False] | None) -> IncompleteResponseError:
        return IncompleteResponseError(
            self._sent.conversation_id, self._sent.response_id, is_stored=is_stored, reason=reason
        )

    # Streams

    async def _opened(self, response: Any) -> Any:
        """Return the stream of a response from its first output on: before, it may be sent again."""
        progress, events, held = StreamProgress(), _events_of(response), list[bytes]()
        try:
            async for raw in events:
                self._take(progress, raw)
                held.append(raw)
                if progress.has_content or self._body.get("background"):
                    following = self._following(response, progress, held, events)
                    return event_response(self._request, following, response, events)
        except BaseException as error:
            await response.aclose()
            if isinstance(error, Exception):
                raise request_error(error, self._request) from error
            raise
        raise InvalidResponseError("create response", "is a stream without output", None)

    async def _following(
        self,
        response: Any,
        progress: StreamProgress,
        held: Sequence[bytes],
        events: AsyncIterator[bytes],
    ) -> AsyncIterator[bytes]:
        """Yield the events of a stream; if it is cut, complete it."""
        failure: Exception | None = None
        with self._activity.reading(response):
            for raw in held:
                yield raw
            try:
                while (following := await self._next(events)) is not None:
                    self._take(progress, following)
                    await self._tell_answer()
                    yield following
            except TurnStateError:
                raise
            except Exception as error:  # noqa: BLE001 -- raised below, unless the response can be completed
                failure = request_error(error, self._request)
        if progress.is_over:
            return
        self._sent.sends += 1
        with self._activity.step():
            answer = await self._found(failure)
        if answer is None:
            raise self._incomplete("its stream was cut", is_stored=False) from failure
        await self._tell_answer()
        async for raw in _encoded(progress, answer):
            yield raw

    async def _next(self, events: AsyncIterator[bytes]) -> bytes | None:
        with self._activity.step():
            return await anext(events, None)

    def _take(self, progress: StreamProgress, raw: bytes) -> None:
        event = decoded_event(raw)
        if event is None:
            return
        progress.take(event)
        self._sent.response_id = progress.response.get("id") or self._sent.response_id
        item = event.get("item")
        if isinstance(item, dict) and item.get("id") and item["id"] not in self._sent.output_ids:
            self._sent.output_ids.append(item["id"])
        if progress.is_over and isinstance(progress.response.get("output"), list):
            self._note(progress.response)


async def _events_of(response: Any) -> AsyncIterator[bytes]:
    splitter = EventSplitter()
    async for part in response.aiter_bytes():
        for raw in splitter.feed(part):
            yield raw


async def _encoded(progress: StreamProgress, answer: Item) -> AsyncIterator[bytes]:
    for event in progress.remaining(answer):
        yield encoded_event(event)


def ids_of(items: Sequence[Item]) -> list[str]:
    """Return the ids of items that have one."""
    return [item["id"] for item in items if isinstance(item.get("id"), str)]


def _start(listed: Sequence[Item], anchors: Collection[str]) -> int:
    """Return the position behind the newest anchor."""
    if not anchors:
        return 0
    for position in reversed(range(len(listed))):
        if listed[position].get("id") in anchors:
            return position + 1
    raise CannotTellError("none of the items known before the request still exists")
