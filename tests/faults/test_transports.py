"""Real connections over each transport: lost replies, repetitions by the transport, refused connections."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

import aiohttp
import openai
import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions._api.retries import Failure, Outcome, classify
from tests.wire import HTTP_FAMILY, arguments

from .on_the_wire import POLICY
from .world import FAILURES, Spot, World, spots, texts, users

ITEMS = users(3)
NEW = users(2, name="new")


def over_httpx(**options: Any) -> Any:
    return openai.DefaultAsyncHttpxClient(verify=False, **options)


def over_aiohttp(**options: Any) -> Any:
    return openai.DefaultAioHttpClient(verify=False, **options)


class Wrapped(HTTP_FAMILY.AsyncBaseTransport):
    """A transport that counts requests, as instrumentation does."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.requests = 0

    async def handle_async_request(self, request: Any) -> Any:
        self.requests += 1
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


def over_wrapped_aiohttp(**options: Any) -> Any:
    return HTTP_FAMILY.AsyncClient(transport=Wrapped(over_aiohttp(**options)._transport))


every_transport = pytest.mark.parametrize("transport", [over_httpx, over_aiohttp])


@pytest.fixture
async def world(emulator, transport):
    """Serve the emulator on a socket; the sessions of the world use the transport."""
    with emulator.serve() as base_url:
        world = World(emulator)
        async with openai.AsyncOpenAI(
            base_url=base_url, api_key="sk-emulator", http_client=transport(), max_retries=0
        ) as world.client:
            yield world


WRITES = {
    "create_items": lambda session: session.add_items(NEW),
    "delete_item": lambda session: session.pop_item(),
    "delete_conversation": lambda session: session.clear_session(),
}


@pytest.mark.parametrize("transport", [over_httpx, over_aiohttp, over_wrapped_aiohttp])
@pytest.mark.parametrize("kind", ["cut_before", "cut_after_commit", "truncated_body"])
async def test_a_reply_that_is_lost(world, kind):
    session = await world.session_with(*ITEMS, retry_policy=POLICY)
    world.inject(Spot(kind, "create_items"))
    await session.add_items(NEW)
    assert texts([*ITEMS, *NEW]) == world.stored(session.session_id)
    world.inject(Spot(kind, "delete_item"))
    assert NEW[-1] == await session.pop_item()
    assert texts([*ITEMS, NEW[0]]) == world.stored(session.session_id)
    assert world.faults() == [kind]


@pytest.mark.exhaustive
@every_transport
@pytest.mark.parametrize("operation", WRITES)
async def test_every_fault_of_every_write(world, operation):
    """What was returned is there, once; what was raised has left nothing behind."""
    for fault in spots(operation, times=(1, 2)):
        if "stall" in fault.kind:
            continue  # the timeout of these tests is long
        session = await world.session_with(*ITEMS, retry_policy=POLICY)
        conversation_id = session.session_id
        world.inject(fault)
        done = popped = None
        with suppress(*FAILURES):
            popped = await WRITES[operation](session)
            done = True
        await world.calm()
        expected = {
            "create_items": texts([*ITEMS, *NEW] if done else ITEMS),
            "delete_item": texts(ITEMS[:-1] if done else ITEMS),
            "delete_conversation": texts(ITEMS),
        }[operation]
        if operation == "delete_item" and not done:
            popped = await session.pop_item()  # what a failed pop has deleted is returned by the next
            expected = texts(ITEMS[:-1])
        assert popped == (ITEMS[-1] if operation == "delete_item" else None), fault
        assert expected == world.stored(conversation_id), fault


@every_transport
async def test_an_item_that_another_process_has_deleted_is_not_returned(world):
    session = await world.session_with(*ITEMS, retry_policy=POLICY)
    first, second = (world.session(session.session_id, retry_policy=POLICY) for _ in range(2))
    popped = await asyncio.gather(first.pop_item(), second.pop_item())
    *_, last = world.stored_ids(session.session_id)
    deleted = asyncio.Event()

    async def delete_first(request: Any) -> None:
        if request.method == "DELETE" and not deleted.is_set():
            deleted.set()
            await world.foreign_delete(session.session_id, last)

    world.client._client.event_hooks["request"].append(delete_first)
    assert sorted(texts(popped)) == texts(ITEMS[1:])
    assert await session.pop_item() is None
    assert deleted.is_set()


@every_transport
async def test_a_refused_connection_is_tried_again_until_the_server_is_back(emulator, transport):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    events = []
    serving = emulator.serve(port=port)
    async with openai.AsyncOpenAI(
        base_url=f"http://127.0.0.1:{port}/v1", api_key="sk-socket", http_client=transport()
    ) as client:

        def on_retry(event: Any) -> None:
            events.append((event.operation, event.outcome))
            if len(events) == 2:
                serving.__enter__()

        session = OpenAIConversationsSession(
            openai_client=client, **arguments(retry_policy=POLICY, on_retry=on_retry)
        )
        try:
            await session.add_items(NEW)
            assert await session.get_items() == NEW
        finally:
            if len(events) >= 2:
                serving.__exit__(None, None, None)
    assert events == [("create conversation", "unreachable")] * 2


@every_transport
async def test_an_append_whose_connection_is_refused_is_not_in_doubt(emulator, transport):
    """The server goes away between two operations: nothing is looked for, and nothing is unsettled."""
    events = []
    with emulator.serve() as base_url:
        client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key="sk-socket",
            http_client=transport(limits=HTTP_FAMILY.Limits(max_keepalive_connections=0, keepalive_expiry=0)),
        )
        session = OpenAIConversationsSession(
            openai_client=client,
            **arguments(
                retry_policy=POLICY, on_retry=lambda event: events.append((event.operation, event.outcome))
            ),
        )
        await session.add_items(ITEMS)
    async with client:
        with pytest.raises(openai.APIConnectionError):
            await session.add_items(NEW)
    assert events == [("append", "unreachable")] * 2
    assert session.unsettled == ()


async def failure_over(http_client: Any, *, method: str = "POST", base_url: str | None = None) -> Failure:
    """Return how a request to nobody is classified."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        base_url = base_url or f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    async with openai.AsyncOpenAI(
        base_url=base_url, api_key="sk-x", http_client=http_client, max_retries=0
    ) as client:
        with pytest.raises(openai.APIConnectionError) as caught:
            await getattr(client, method.lower())("/conversations", cast_to=object)
    return classify(caught.value)


@every_transport
@pytest.mark.parametrize("base_url", [None, "http://nowhere.invalid/v1"])
async def test_a_post_that_found_no_connection_was_never_sent(transport, base_url):
    assert Failure(Outcome.UNREACHABLE) == await failure_over(transport(), base_url=base_url)


async def test_a_delete_over_aiohttp_may_have_been_sent_before():
    assert Failure(Outcome.UNREACHABLE) == await failure_over(over_httpx(), method="DELETE")
    assert Failure(Outcome.UNKNOWN) == await failure_over(over_aiohttp(), method="DELETE")


@every_transport
async def test_a_handshake_that_takes_too_long_was_never_sent(transport):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        base_url = f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        timeout = HTTP_FAMILY.Timeout(5, connect=0.05)
        assert Failure(Outcome.UNREACHABLE) == await failure_over(
            transport(timeout=timeout), base_url=base_url
        )


@every_transport
async def test_a_request_that_found_no_free_connection_was_never_sent(transport):
    limits = HTTP_FAMILY.Limits(max_connections=1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = openai.AsyncOpenAI(
            base_url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1",
            api_key="sk-x",
            http_client=transport(limits=limits, timeout=HTTP_FAMILY.Timeout(5, pool=0.05)),
            max_retries=0,
        )
        async with client:
            first = asyncio.ensure_future(client.post("/conversations", cast_to=object))
            listener.settimeout(0)
            accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
            with accepted, pytest.raises(openai.APITimeoutError) as caught:
                await client.post("/conversations", cast_to=object)
            with pytest.raises(openai.APIConnectionError) as lost:
                await first
    assert (classify(caught.value), classify(lost.value)) == (
        Failure(Outcome.UNREACHABLE),
        Failure(Outcome.UNKNOWN),
    )


class SendsTwice(HTTP_FAMILY.AsyncHTTPTransport):
    """A transport of a user, which sends a request again when its reply is lost."""

    async def handle_async_request(self, request: Any) -> Any:
        return await super().handle_async_request(request)


class RaisesItself(HTTP_FAMILY.AsyncBaseTransport):
    async def handle_async_request(self, request: Any) -> Any:
        raise HTTP_FAMILY.ConnectTimeout("of which nobody knows what it means")


class SendsAgain(HTTP_FAMILY.AsyncClient):
    async def send(self, *args: Any, **kwargs: Any) -> Any:
        return await super().send(*args, **kwargs)


async def ask_elsewhere(_: Any) -> None:
    async with HTTP_FAMILY.AsyncClient(verify=False) as client:
        await client.get("http://nowhere.invalid/")


async def sending_again(request: Any, handler: Any) -> Any:
    return await handler(request)


def over_aiohttp_with_a_middleware() -> Any:
    http_client = over_aiohttp()
    http_client._transport.client = lambda: aiohttp.ClientSession(middlewares=[sending_again])
    return http_client


@pytest.mark.parametrize(
    "http_client",
    [
        over_aiohttp_with_a_middleware,
        lambda: HTTP_FAMILY.AsyncClient(transport=SendsTwice(verify=False)),
        lambda: HTTP_FAMILY.AsyncClient(transport=RaisesItself()),
        lambda: SendsAgain(verify=False),
        lambda: HTTP_FAMILY.AsyncClient(verify=False, event_hooks={"request": [ask_elsewhere]}),
    ],
    ids=["middleware", "transport", "own error", "client", "hook"],
)
async def test_what_unknown_code_lets_through_proves_nothing(http_client):
    assert Failure(Outcome.UNKNOWN) == await failure_over(http_client())
