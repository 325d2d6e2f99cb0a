"""Single exchanges: time, retries, and answers that are not what the API promises."""

from __future__ import annotations

import anyio
import openai
import pytest

from openai_sessions import InvalidResponseError, OpenAIConversationsSession, RequestTimeoutError
from openai_sessions._failures import classify
from openai_sessions._gateway import Gateway
from openai_sessions._item_types import INCLUDE
from openai_sessions._retrying import Retrier
from tests.wire import FAST, HTTP_FAMILY, Wire, error, page

USER = {"role": "user", "content": "Hi"}


def session_on(answer, **options) -> tuple[Wire, OpenAIConversationsSession]:
    wire = Wire(answer)
    options = {"retry_policy": FAST, **options}
    return wire, OpenAIConversationsSession(conversation_id="conv_1", openai_client=wire.client, **options)


async def never(call):
    await anyio.sleep_forever()


async def test_a_request_without_an_answer_ends_at_the_timeout():
    _, session = session_on(never, timeout=0.02)
    with pytest.raises(
        RequestTimeoutError, match=r"'list items' got no complete answer within 0\.02 s"
    ) as caught:
        await session.get_items()
    assert (caught.value.operation, caught.value.timeout) == ("list items", 0.02)
    assert isinstance(caught.value, TimeoutError)


async def test_without_a_timeout_a_request_may_take_its_time():
    async def slowly(call):
        await anyio.sleep(0.02)
        return page()

    _, session = session_on(slowly, timeout=None)
    assert await session.get_items() == []


def flaky(*answers):
    """Answer reads with each of these in turn, then with an empty page."""
    pending = list(answers)

    def respond(call):
        answer = pending.pop(0) if pending else page()
        if isinstance(answer, Exception):
            raise answer
        return answer

    return respond


@pytest.mark.parametrize(
    "failure",
    [error(status, retry_after_ms="1") for status in (408, 409, 429, 500, 503)],
    ids=lambda failure: str(failure[0]),
)
async def test_a_transient_failure_of_a_read_is_hidden(failure):
    wire, session = session_on(flaky(failure, failure))
    assert await session.get_items() == []
    assert len(wire.calls) == 3


@pytest.mark.slow
@pytest.mark.parametrize("failure", [HTTP_FAMILY.ConnectError("refused"), HTTP_FAMILY.ReadTimeout("slow")])
async def test_a_cut_connection_of_a_read_is_hidden(failure):
    wire, session = session_on(flaky(failure))
    assert await session.get_items() == []
    assert len(wire.calls) == 2


@pytest.mark.parametrize("failure", [error(401), error(403), error(422), error(429, "insufficient_quota")])
async def test_a_lasting_failure_of_a_read_is_not_repeated(failure):
    wire, session = session_on(flaky(failure))
    with pytest.raises(openai.APIStatusError):
        await session.get_items()
    assert len(wire.calls) == 1


@pytest.mark.parametrize(
    ("body", "problem"), [(b"<html>", "is not JSON"), (b"[]", "is not a JSON object"), (b"", "is not JSON")]
)
async def test_a_success_that_is_not_what_the_api_promises_is_an_error(body, problem):
    _, session = session_on(lambda call: (200, body, {"x-request-id": "req_1"}))
    with pytest.raises(InvalidResponseError) as caught:
        await session.get_items()
    assert str(caught.value) == f"The answer to 'list items' {problem} (x-request-id: req_1)."


@pytest.mark.parametrize("answer", [{}, {"id": None}, {"id": "../files"}])
async def test_a_created_conversation_without_a_proper_id_is_an_error(answer):
    wire = Wire(lambda call: (200, answer))
    session = OpenAIConversationsSession(openai_client=wire.client, retry_policy=FAST)
    with pytest.raises(InvalidResponseError, match="'create conversation' has no conversation id"):
        await session.add_items([USER])
    assert session.conversation_id is None


async def test_no_error_shows_a_key_or_an_item():
    _, session = session_on(lambda call: (500, b"<html>"))
    with pytest.raises(openai.APIStatusError) as caught:
        await session.add_items([{"role": "user", "content": "a secret"}])
    assert "a secret" not in repr(caught.value)
    assert "sk-wire" not in repr(caught.value)


def test_a_synchronous_client_is_refused():
    with pytest.raises(TypeError, match="give an AsyncOpenAI"):
        Gateway(openai.OpenAI(api_key="sk-x"), timeout=1, retrier=Retrier(classify=classify))


@pytest.mark.parametrize("base_url", ["http://wire.test/v1", "http://wire.test/proxy/v1/"])
async def test_a_page_is_asked_for_below_the_base_url_to_the_letter(base_url):
    urls = []

    def answer(request):
        urls.append(str(request.url))
        return HTTP_FAMILY.Response(200, json=page()[1])

    client = openai.AsyncOpenAI(
        api_key="sk-wire",
        base_url=base_url,
        http_client=openai.DefaultAsyncHttpxClient(transport=HTTP_FAMILY.MockTransport(answer)),
    )
    await Gateway(client, timeout=None, retrier=Retrier(classify=classify)).list_items(
        "conv_1", limit=100, order="asc", after="msg_1"
    )
    await client.conversations.items.list(
        "conv_1", limit=100, order="asc", after="msg_1", include=list(INCLUDE)
    )
    ours, of_openai = map(HTTP_FAMILY.URL, urls)
    assert ours.copy_with(query=None) == of_openai.copy_with(query=None)
    assert sorted(ours.query.split(b"&")) == sorted(of_openai.query.split(b"&"))


async def test_a_query_of_the_clients_own_goes_with_that_of_a_page():
    wire = Wire(lambda _: page())
    azure = openai.AsyncAzureOpenAI(
        api_key="sk-wire",
        azure_endpoint="http://azure.test",
        api_version="2026-01-01",
        http_client=wire.client._client,
    )
    for client in (azure, wire.client.with_options(default_query={"api-version": "2026-01-01"})):
        gateway = Gateway(client, timeout=None, retrier=Retrier(classify=classify))
        await gateway.list_items("conv_1", limit=100, order="asc", after="msg_1")
    expected = {
        "api-version": ["2026-01-01"],
        "limit": ["100"],
        "order": ["asc"],
        "after": ["msg_1"],
        "include[]": list(INCLUDE),
    }
    assert [call.query for call in wire.calls] == [expected, expected]
