"""Cleanup of clients and conversations, for synchronous fixtures of asynchronous tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import openai
import pytest

_CLOSING_TIMEOUT = 30.0
"""Seconds that the event loop of another thread has to close its connections."""

Closing = Callable[[], Coroutine[Any, Any, None]]


class Connections:
    """The connections of an HTTP client: closed when their event loop shuts down, or by `close`.

    An event loop closes its asynchronous generators before it shuts down. One generator in each loop closes
    the connections.
    """

    def __init__(self, http_client: Any) -> None:
        self._http_client = http_client
        self._lifetimes: dict[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = {}
        hooks = http_client.event_hooks
        http_client.event_hooks = {**hooks, "request": [*hooks["request"], self._before_request]}

    async def _before_request(self, _request: Any) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # trio
            return
        if getattr(self._lifetimes.get(loop), "ag_frame", None) is None:
            self._lifetimes[loop] = self._lifetime()
            await anext(self._lifetimes[loop])

    async def _lifetime(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            # Not the client itself: the loop may continue, as with Runner.run_sync.
            client = self._http_client
            for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001 -- no public name
                if transport is not None:
                    await transport.aclose()

    def run(self, closing: Closing) -> None:
        """Run a coroutine function in the loop that last used the client, or in a new one if it is closed."""
        run_in(next((loop for loop in reversed(self._lifetimes) if not loop.is_closed()), None), closing)

    def close(self) -> None:
        """Close the connections of loops that are still open, and the client."""
        for loop, lifetime in self._lifetimes.items():
            if not loop.is_closed():
                run_in(loop, partial(_aclose, lifetime))
        run_in(None, self._http_client.aclose)


async def _aclose(lifetime: AsyncGenerator[None, None]) -> None:
    await lifetime.aclose()


def connections_of(client: openai.AsyncOpenAI) -> Connections:
    """Return the connections of an openai client."""
    return Connections(client._client)  # noqa: SLF001 -- openai has no public name for it


def run_in(loop: asyncio.AbstractEventLoop | None, closing: Closing) -> None:
    """Run a coroutine function in an open event loop, or if None, in a new one in a new thread.

    `asyncio.run` in this thread would unset its current event loop.
    """
    if loop is None:
        failures: list[BaseException] = []
        thread = threading.Thread(target=_run, args=(closing, failures))
        thread.start()
        thread.join()
        if failures:
            raise failures[0]
    elif loop.is_running():
        asyncio.run_coroutine_threadsafe(closing(), loop).result(_CLOSING_TIMEOUT)
    else:
        loop.run_until_complete(closing())


def _run(closing: Closing, failures: list[BaseException]) -> None:
    try:
        asyncio.run(closing())
    except BaseException as failure:  # noqa: BLE001 -- raised again by the waiting thread
        failures.append(failure)


class CreatedConversations:
    """The conversations that were created through any client of openai in this process.

    Programs make their own clients, so that every HTTP client of openai's library is observed. A conversation
    whose response was lost is not noted.
    """

    def __init__(self) -> None:
        self._requests: dict[str, Any] = {}

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note the conversations that are created inside the block."""
        with pytest.MonkeyPatch.context() as patch:
            self._wrap_async(openai.DefaultAsyncHttpxClient.__mro__[1], patch)
            self._wrap(openai.DefaultHttpxClient.__mro__[1], patch)
            yield

    def _wrap_async(self, client_class: Any, patch: pytest.MonkeyPatch) -> None:
        original = client_class.send

        async def send(client: Any, request: Any, *arguments: Any, **options: Any) -> Any:
            response = await original(client, request, *arguments, **options)
            if _creates_conversation(request) and response.is_success:
                await response.aread()
                self._note(response)
            return response

        patch.setattr(client_class, "send", send)

    def _wrap(self, client_class: Any, patch: pytest.MonkeyPatch) -> None:
        original = client_class.send

        def send(client: Any, request: Any, *arguments: Any, **options: Any) -> Any:
            response = original(client, request, *arguments, **options)
            if _creates_conversation(request) and response.is_success:
                response.read()
                self._note(response)
            return response

        patch.setattr(client_class, "send", send)

    def _note(self, response: Any) -> None:
        self._requests[response.json()["id"]] = response.request

    def delete(self) -> None:
        """Delete the noted conversations. OpenAI keeps their items, which can no longer be read.

        Raises:
            pytest.fail.Exception: Some could not be deleted; the message has their ids.
        """
        left = []
        for conversation_id, request in self._requests.items():
            try:
                with _client_like(request) as client:
                    client.conversations.delete(conversation_id)
            except openai.NotFoundError:  # the test deleted it
                continue
            except openai.OpenAIError as error:
                left.append(f"{conversation_id} ({type(error).__name__})")
        if left:
            pytest.fail(
                f"These conversations of the test could not be deleted: {', '.join(left)}. Delete them with "
                "client.conversations.delete(id).",
                pytrace=False,
            )


def _creates_conversation(request: Any) -> bool:
    return bool(request.method == "POST" and request.url.path.rstrip("/").endswith("/conversations"))


def _client_like(request: Any) -> openai.OpenAI:
    """Return a client with the address and the credentials of a request."""
    return openai.OpenAI(
        api_key=request.headers["authorization"].removeprefix("Bearer "),
        organization=request.headers.get("openai-organization"),
        project=request.headers.get("openai-project"),
        base_url=str(request.url.copy_with(query=None)).rstrip("/").removesuffix("/conversations"),
    )
