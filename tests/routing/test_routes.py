"""Routes, patterns and side effects of respx, on whichever HTTP library openai uses."""

import json

import httpx  # the one of respx, whichever openai uses
import openai
import pytest

from openai_sessions import OpenAIConversationsSession, RequestSettings
from openai_sessions.emulator import Emulator
from openai_sessions.testing import respx_router
from tests.wire import FAST, HTTP_FAMILY, page

ITEMS = "/conversations/conv_1/items"


def test_a_route_answers_a_client():
    """Also one that was made before the block."""
    with openai.OpenAI(api_key="sk-router") as client, respx_router() as router:
        route = router.post("/conversations", json={"metadata": {"user": "1"}})
        route.respond(json={"id": "conv_1"}, headers={"x-request-id": "req_1"})
        answer = client.conversations.with_raw_response.create(metadata={"user": "1"})

        assert (answer.parse().id, answer.headers["x-request-id"]) == ("conv_1", "req_1")
        assert route.call_count == 1
        sent = router.calls.last.request
        assert isinstance(sent, httpx.Request)
        assert (sent.method, str(sent.url)) == ("POST", "https://api.openai.com/v1/conversations")
        assert json.loads(sent.content) == {"metadata": {"user": "1"}}
        assert sent.headers["authorization"] == "Bearer sk-router"


async def test_routes_answer_a_session(client):
    with respx_router() as router:
        listed = router.get(ITEMS, params={"order": "desc"}).respond(json=page("m1")[1])
        deleted = router.delete(f"{ITEMS}/m1").respond(json={"id": "conv_1"})
        session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=client)

        assert await session.pop_item() == {"role": "user", "content": "m1"}
        assert (listed.call_count, deleted.call_count) == (1, 1)


async def test_routes_of_another_base_url(client):
    with respx_router(base_url="http://gateway.test/openai/v1/") as router:
        router.post("/conversations").respond(json={"id": "conv_1"})
        created = await client.with_options(base_url="http://gateway.test/openai/v1").conversations.create()

    assert created.id == "conv_1"


@respx_router()
async def test_a_decorated_test_gets_the_router(respx_mock, client):
    respx_mock.post("/conversations").respond(json={"id": "conv_1"})

    assert (await client.conversations.create()).id == "conv_1"


def test_a_router_may_derive_another(sync_client):
    with respx_router()(base_url="http://derived.test/v1") as router:
        router.post("/conversations").respond(json={"id": "conv_1"})
        created = sync_client.with_options(base_url="http://derived.test/v1").conversations.create()

    assert created.id == "conv_1"


async def test_answers_in_turn(client):
    with respx_router() as router:
        answers = [httpx.Response(500), httpx.Response(429), httpx.Response(200, json=page("m1")[1])]
        route = router.get(ITEMS).mock(side_effect=answers)
        session = OpenAIConversationsSession(
            conversation_id="conv_1", openai_client=client, requests=RequestSettings(retry_policy=FAST)
        )

        assert await session.get_items() == [{"role": "user", "content": "m1"}]
        assert route.call_count == 3


async def test_a_coroutine_function_answers_an_async_client(client):
    async def answer(request):
        return httpx.Response(200, json={"id": request.url.path.rpartition("/")[2]})

    with respx_router() as router:
        router.get(path__startswith="/conversations/").mock(side_effect=answer)

        assert (await client.conversations.retrieve("conv_7")).id == "conv_7"


@pytest.mark.parametrize(
    ("failure", "expected", "cause"),
    [
        (httpx.ConnectError, openai.APIConnectionError, "ConnectError"),
        (httpx.ConnectTimeout("slow"), openai.APITimeoutError, "ConnectTimeout"),
        (httpx.ReadTimeout, openai.APITimeoutError, "ReadTimeout"),
        (HTTP_FAMILY.ReadTimeout("slow"), openai.APITimeoutError, "ReadTimeout"),
        (httpx.RemoteProtocolError("cut"), openai.APIConnectionError, "RemoteProtocolError"),
    ],
    ids=repr,
)
async def test_an_error_is_that_of_openais_library(client, sync_client, failure, expected, cause):
    """A time-out is told from another failure, and each by its cause, by openai and by a session."""
    with respx_router() as router:
        router.get("/conversations/conv_1").mock(side_effect=failure)
        with pytest.raises(openai.APIConnectionError) as of_async:
            await client.conversations.retrieve("conv_1")
        with pytest.raises(openai.APIConnectionError) as of_sync:
            sync_client.conversations.retrieve("conv_1")

    for raised in (of_async, of_sync):
        assert type(raised.value) is expected
        assert isinstance(raised.value.__cause__, HTTP_FAMILY.TransportError)
        assert cause == type(raised.value.__cause__).__name__


async def test_an_error_of_openais_library_stays_the_same_object(client):
    """So do errors of it that a program has derived."""
    failure = type("Cut", (HTTP_FAMILY.ReadError,), {})("cut")
    with respx_router() as router:
        router.get("/conversations/conv_1").mock(side_effect=failure)
        with pytest.raises(openai.APIConnectionError) as raised:
            await client.conversations.retrieve("conv_1")

    assert failure is raised.value.__cause__


EVENTS = [
    {"type": "response.output_text.delta", "delta": "Hi", "item_id": "msg_1"},
    {"type": "response.output_text.delta", "delta": "!", "item_id": "msg_1"},
]


def server_sent(events):
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]


async def test_an_answer_may_be_streamed_to_an_async_client(client):
    async def chunks():
        for chunk in server_sent(EVENTS):
            yield chunk

    with respx_router() as router:
        router.post("/responses").respond(content=chunks(), content_type="text/event-stream")
        stream = await client.responses.create(model="m", input="Hello", stream=True)

        assert [event.delta async for event in stream] == ["Hi", "!"]


def test_an_answer_may_be_streamed_to_a_client(sync_client):
    with respx_router() as router:
        router.post("/responses").respond(content=iter(server_sent(EVENTS)), content_type="text/event-stream")
        stream = sync_client.responses.create(model="m", input="Hello", stream=True)

        assert [event.delta for event in stream] == ["Hi", "!"]


async def test_a_stream_may_be_cut(client):
    async def chunks():
        yield server_sent(EVENTS)[0]
        raise HTTP_FAMILY.ReadError("cut")

    with respx_router() as router:
        router.post("/responses").respond(content=chunks(), content_type="text/event-stream")
        stream = await client.responses.create(model="m", input="Hello", stream=True)
        events = aiter(stream)

        assert (await anext(events)).delta == "Hi"
        with pytest.raises((openai.APIConnectionError, HTTP_FAMILY.ReadError)):
            await anext(events)


def test_a_route_that_was_not_called_is_named():
    with pytest.raises(AssertionError) as raised, respx_router() as router:
        router.get("/models", name="the models").respond(json={})

    assert str(raised.value).startswith("RESPX: some routes were not called!")


def test_a_route_that_was_not_called_may_be_allowed():
    with respx_router(assert_all_called=False) as router:
        router.get("/models").respond(json={})


async def test_a_client_with_a_custom_transport_is_not_intercepted():
    with Emulator() as emulator, respx_router():
        created = await emulator.client().conversations.create()

    assert created.id.startswith("conv_")
