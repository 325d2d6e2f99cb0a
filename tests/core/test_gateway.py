"""Single exchanges: time, retries, and answers that are not what the API promises."""

from __future__ import annotations

import itertools

import anyio
import openai
import pytest
from respx import MockResponse

from openai_sessions import OpenAIConversationsSession, RequestTimeoutError
from openai_sessions._api.client import ConversationsClient
from openai_sessions._api.retries import Retries
from openai_sessions._items.types import INCLUDE
from openai_sessions.errors import InvalidResponseError
from openai_sessions.testing import respx_router
from tests.wire import FAST, HTTP_FAMILY, arguments, error, page

USER = {"role": "user", "content": "Hi"}
ITEMS = "/conversations/conv_1/items"

_numbers = itertools.count()
"""Each client has a server of its own: what is known of a conversation is kept by its address and id."""


@pytest.fixture
async def client():
    http_client = openai.DefaultAsyncHttpxClient(verify=False)  # certificates take long to load
    async with openai.AsyncOpenAI(
        api_key="sk-gateway", base_url=f"https://gateway-{next(_numbers)}.test/v1", http_client=http_client
    ) as client:
        yield client


@pytest.fixture
def router(client):
    with respx_router(base_url=str(client.base_url)) as router:
        yield router


def session_on(client, **options) -> OpenAIConversationsSession:
    given = arguments(**{"conversation_id": "conv_1", "retry_policy": FAST, **options})
    return OpenAIConversationsSession(openai_client=client, **given)


def response(status, body, headers=None) -> MockResponse:
    return MockResponse(status, json=body, headers=headers)


async def never(request):
    await anyio.sleep_forever()


async def test_a_request_without_an_answer_ends_at_the_timeout(client):
    router = respx_router(base_url=str(client.base_url), assert_all_called=False)  # it counts answers
    router.get(ITEMS).mock(side_effect=never)
    with (
        router,
        pytest.raises(
            RequestTimeoutError, match=r"'list items' got no complete response within 0\.02 s"
        ) as caught,
    ):
        await session_on(client, timeout=0.02).get_items()
    assert (caught.value.operation, caught.value.timeout) == ("list items", 0.02)
    assert isinstance(caught.value, TimeoutError)


async def test_without_a_timeout_a_request_may_take_its_time(client, router):
    async def slowly(request):
        await anyio.sleep(0.02)
        return response(*page())

    router.get(ITEMS).mock(side_effect=slowly)
    assert await session_on(client, timeout=None).get_items() == []


@pytest.mark.parametrize(
    "failure",
    [error(status, retry_after_ms="1") for status in (408, 409, 429, 500, 503)],
    ids=lambda failure: str(failure[0]),
)
async def test_a_transient_failure_of_a_read_is_hidden(client, router, failure):
    answers = [response(*failure), response(*failure), response(*page())]
    route = router.get(ITEMS).mock(side_effect=answers)
    assert await session_on(client).get_items() == []
    assert route.call_count == 3


@pytest.mark.parametrize("failure", [HTTP_FAMILY.ConnectError("refused"), HTTP_FAMILY.ReadTimeout("slow")])
async def test_a_cut_connection_of_a_read_is_hidden(client, router, failure):
    route = router.get(ITEMS).mock(side_effect=[failure, response(*page())])
    assert await session_on(client).get_items() == []
    assert route.call_count == 2


@pytest.mark.parametrize("failure", [error(401), error(403), error(422), error(429, "insufficient_quota")])
async def test_a_lasting_failure_of_a_read_is_not_repeated(client, router, failure):
    route = router.get(ITEMS).mock(return_value=response(*failure))
    with pytest.raises(openai.APIStatusError):
        await session_on(client).get_items()
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("body", "problem"), [(b"<html>", "is not JSON"), (b"[]", "is not a JSON object"), (b"", "is not JSON")]
)
async def test_a_success_that_is_not_what_the_api_promises_is_an_error(client, router, body, problem):
    router.get(ITEMS).respond(content=body, headers={"x-request-id": "req_1"})
    with pytest.raises(InvalidResponseError) as caught:
        await session_on(client).get_items()
    assert str(caught.value) == (
        f"The response to 'list items' {problem} (x-request-id: req_1). "
        "Check the client's base_url, and any proxy in between."
    )


OPAQUE = [
    "conv_6a3f11765ab88196bb163daa1e6dc3030eea6ca4e48c1c16",
    "conv_0f8fad5b-d9cb-469f-a165-70867728950e",
    "0f8fad5b-d9cb-469f-a165-70867728950e",
    "conversation:eu.1~a",
    "conv_bGl0ZWxsbTpjb252Xzg+Yw==",
    "7",
]


@pytest.mark.parametrize("conversation_id", OPAQUE)
async def test_any_id_that_is_safe_in_a_path_is_used_and_resumed(client, router, conversation_id):
    router.post("/conversations").respond(json={"id": conversation_id})
    items = f"/conversations/{conversation_id}/items"
    router.post(items).respond(json=page("m1")[1])
    route = router.get(items).mock(return_value=response(*page("m1")))
    session = session_on(client, conversation_id=None)
    await session.add_items([{"role": "user", "content": "m1"}])
    assert conversation_id == session.session_id
    resumed = session_on(client, conversation_id=conversation_id)
    assert await resumed.get_items() == [{"role": "user", "content": "m1"}]
    assert items.encode() in route.calls.last.request.url.raw_path


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{}", None),
        (b'{"id": null}', None),
        (b'{"id": ["a"]}', None),
        (b'{"id": ""}', ""),
        (b'{"id": 7}', "7"),
        (b'{"id": "../files"}', "../files"),
        (b'{"id": ".."}', ".."),
        (b'{"id": "conv_1/items"}', "conv_1/items"),
        (b'{"id": "conv_1?x"}', "conv_1?x"),
        (b'{"id": "conv 1"}', "conv 1"),
        (b'{"id": "conv%201"}', "conv%201"),
        (b'{"id": "%b"}' % (b"x" * 1000), "x" * 256),
        (b"[]", None),
        (b"<html>", None),
    ],
)
async def test_a_creation_whose_answer_is_unusable_is_not_repeated_and_told_of(client, router, body, told):
    route = router.post("/conversations").respond(content=body)
    orphans = []
    session = session_on(client, conversation_id=None, on_orphan=orphans.append, metadata={"topic": "test"})
    with pytest.raises(InvalidResponseError, match="'create conversation'") as caught:
        await session.add_items([USER])
    assert session.conversation_id is None
    assert route.call_count == 1
    assert [({"topic": "test"}, told)] == [(each.metadata, each.conversation_id) for each in orphans]
    assert told == caught.value.conversation_id


async def test_no_error_shows_a_key_or_an_item(client, router):
    router.route(path=ITEMS).respond(500, content=b"<html>")
    with pytest.raises(openai.APIStatusError) as caught:
        await session_on(client).add_items([{"role": "user", "content": "a secret"}])
    assert "a secret" not in repr(caught.value)
    assert "sk-gateway" not in repr(caught.value)


def test_a_synchronous_client_is_refused():
    with pytest.raises(TypeError, match="give an AsyncOpenAI"):
        ConversationsClient(openai.OpenAI(api_key="sk-x"), timeout=1, retries=Retries())


@pytest.mark.parametrize("base_url", ["http://gateway.test/v1", "http://gateway.test/proxy/v1/"])
async def test_a_page_is_asked_for_below_the_base_url_to_the_letter(client, base_url):
    client = client.with_options(base_url=base_url)
    with respx_router(base_url=base_url) as router:
        route = router.get(ITEMS).mock(return_value=response(*page()))
        await ConversationsClient(client, timeout=None, retries=Retries()).list_items(
            "conv_1", limit=100, order="asc", after="msg_1"
        )
        await client.conversations.items.list(
            "conv_1", limit=100, order="asc", after="msg_1", include=list(INCLUDE)
        )
        ours, of_openai = (call.request.url for call in route.calls)
    assert ours.copy_with(query=None) == of_openai.copy_with(query=None)
    assert sorted(ours.query.split(b"&")) == sorted(of_openai.query.split(b"&"))


async def test_a_query_of_the_clients_own_goes_with_that_of_a_page(client, router):
    azure = openai.AsyncAzureOpenAI(
        api_key="sk-gateway",
        azure_endpoint=str(client.base_url),
        api_version="2026-01-01",
        http_client=client._client,
    )
    route = router.get(path__regex=f".*{ITEMS}$").mock(return_value=response(*page()))
    for each in (azure, client.with_options(default_query={"api-version": "2026-01-01"})):
        client = ConversationsClient(each, timeout=None, retries=Retries())
        await client.list_items("conv_1", limit=100, order="asc", after="msg_1")
    expected = {
        ("api-version", "2026-01-01"),
        ("limit", "100"),
        ("order", "asc"),
        ("after", "msg_1"),
        *(("include[]", each) for each in INCLUDE),
    }
    assert [set(call.request.url.params.multi_items()) for call in route.calls] == [expected, expected]
    assert len(INCLUDE) + 4 == len(route.calls.last.request.url.params.multi_items())


async def test_a_key_that_is_changed_is_followed(client, router):
    route = router.get(ITEMS).mock(return_value=response(*page()))
    session = session_on(client)
    await session.get_items()
    client.api_key = "sk-rotated"
    await session.get_items()
    sent = [call.request.headers["authorization"] for call in route.calls]
    assert sent == ["Bearer sk-gateway", "Bearer sk-rotated"]


async def test_the_sessions_of_a_client_find_out_the_platform_once(client, router, monkeypatch):
    """Finding it out takes a switch to a thread, which a worker with many sessions would pay for each."""
    found_out = []

    def get_platform():
        found_out.append("Linux")
        return "Linux"

    monkeypatch.setattr("openai._base_client.get_platform", get_platform)
    router.get(ITEMS).mock(return_value=response(*page()))
    for _ in range(3):
        await session_on(client).get_items()
    assert found_out == ["Linux"]
