"""While a router is active, a request that no route matches is not sent, and raises."""

import time

import openai
import pytest
from respx.models import AllMockedAssertionError

from openai_sessions import OpenAIConversationsSession
from openai_sessions.testing import respx_router
from tests.wire import HTTP_FAMILY

USER = {"role": "user", "content": "Hi"}


def test_the_server_is_reached_without_a_router(sync_client, server):
    created = sync_client.with_options(base_url=server.base_url).conversations.create()

    assert (created.id, server.requests) == ("from the server", ["POST /v1/conversations"])


def test_an_unmatched_request_is_refused_and_named(sync_client, server):
    client = sync_client.with_options(base_url=server.base_url)

    router = respx_router(base_url=server.base_url)
    router.get("/models").respond(json={})
    with pytest.raises(AllMockedAssertionError) as raised, router:
        client.conversations.create()

    assert str(raised.value) == f"RESPX: <Request('POST', '{server.base_url}/conversations')> not mocked!"
    assert isinstance(raised.value, openai.OpenAIError)
    assert server.requests == []


async def test_an_unmatched_request_of_an_async_client_is_refused_and_named(client, server):
    with pytest.raises(AllMockedAssertionError, match=server.base_url):
        async with respx_router():
            await client.with_options(base_url=server.base_url).conversations.create()

    assert server.requests == []


async def test_an_unmatched_request_of_a_session_is_refused_at_once(client, server):
    """Not after the retries of the session, of which the last would come after half a minute."""
    session = OpenAIConversationsSession(
        conversation_id="conv_1", openai_client=client.with_options(base_url=server.base_url)
    )
    with respx_router() as router:
        with pytest.raises(AllMockedAssertionError, match="'GET'"):
            await session.add_items([USER])
        assert (router.calls.call_count, server.requests) == (0, [])


def test_an_unmatched_request_is_not_sent_again_by_openai(sync_client):
    started = time.monotonic()
    with pytest.raises(AllMockedAssertionError), respx_router():
        sync_client.with_options(max_retries=5).conversations.create()
    assert time.monotonic() - started < 3  # five retries take ten seconds


def test_a_client_made_inside_the_block_is_refused_too(server):
    with (
        pytest.raises(AllMockedAssertionError),
        respx_router(),
        openai.OpenAI(api_key="sk-router", base_url=server.base_url) as client,
    ):
        client.conversations.create()

    assert server.requests == []


def test_no_password_of_a_url_is_named(sync_client):
    with pytest.raises(AllMockedAssertionError) as raised, respx_router():
        sync_client.with_options(base_url="http://someone:secret@router.test/v1").conversations.create()

    assert "http://router.test/v1/conversations" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_requests_are_sent_after_the_block(sync_client, server):
    client = sync_client.with_options(base_url=server.base_url)
    with respx_router(base_url=server.base_url) as router:
        router.post("/conversations").respond(json={"id": "from the route"})
        within = client.conversations.create()
    after = client.conversations.create()

    assert [within.id, after.id] == ["from the route", "from the server"]
    assert server.requests == ["POST /v1/conversations"]


def test_a_route_that_passes_through_reaches_the_server_whole(sync_client, server):
    with respx_router(base_url=server.base_url) as router:
        router.post("/conversations").pass_through()
        client = sync_client.with_options(base_url=server.base_url)
        created = client.conversations.create(metadata={"user": "1"})

    assert (created.id, server.requests) == ("from the server", ["POST /v1/conversations"])
    assert server.bodies == [b'{"metadata":{"user":"1"}}']


async def test_a_route_that_passes_through_reaches_the_server_of_an_async_client(client, server):
    with respx_router(base_url=server.base_url) as router:
        router.post("/conversations").pass_through()
        created = await client.with_options(base_url=server.base_url).conversations.create(
            metadata={"user": "1"}
        )

    assert created.id == "from the server"
    assert server.bodies == [b'{"metadata":{"user":"1"}}']


def test_a_streamed_request_body_passes_through_whole(server):
    with (
        respx_router(base_url=server.base_url) as router,
        HTTP_FAMILY.Client(verify=False) as http_client,
    ):
        router.post("/files").pass_through()
        body = iter([b"one, ", b"two"])
        http_client.post(f"{server.base_url}/files", content=body, headers={"content-length": "8"})

    assert server.bodies == [b"one, two"]
