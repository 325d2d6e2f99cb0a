"""Single exchanges: time, retries, and answers that are not what the API promises."""

from __future__ import annotations

import anyio
import openai
import pytest

from openai_sessions import InvalidResponseError, OpenAIConversationsSession, RequestTimeoutError
from openai_sessions._gateway import Gateway, _retry_after
from openai_sessions._retrying import retry_read
from tests.wire import HTTP_FAMILY, Wire, error, page

USER = {"role": "user", "content": "Hi"}


def session_on(answer, **options) -> tuple[Wire, OpenAIConversationsSession]:
    wire = Wire(answer)
    return wire, OpenAIConversationsSession(conversation_id="conv_1", openai_client=wire.client, **options)


async def never(call):
    await anyio.sleep_forever()


async def test_a_write_without_an_answer_ends_at_the_timeout_and_is_not_repeated():
    wire, session = session_on(never, timeout=0.02)
    with pytest.raises(
        RequestTimeoutError, match=r"'create items' got no complete answer within 0\.02 s"
    ) as caught:
        await session.add_items([USER])
    assert (caught.value.operation, caught.value.timeout) == ("create items", 0.02)
    assert isinstance(caught.value, TimeoutError)
    assert len(wire.calls) == 1


async def test_without_a_timeout_a_request_may_take_its_time():
    async def slowly(call):
        await anyio.sleep(0.02)
        return page()

    _, session = session_on(slowly, timeout=None)
    assert await session.get_items() == []


@pytest.mark.parametrize(
    "answer",
    [error(429), error(500), error(503), error(408), error(409), HTTP_FAMILY.ReadError("cut")],
    ids=lambda answer: str(answer)[:15],
)
@pytest.mark.parametrize("write", ["add_items", "pop_item", "clear_session", "ensure_conversation"])
async def test_no_write_is_repeated(write, answer):
    """The client's own retries would repeat a POST whose reply was lost."""

    def respond(call):
        if call.method == "GET":
            return page("msg_1")
        if isinstance(answer, Exception):
            raise answer
        return answer

    wire, session = session_on(respond)
    if write == "ensure_conversation":
        session = OpenAIConversationsSession(openai_client=wire.client)
    with pytest.raises(openai.APIError):
        await getattr(session, write)(*([[USER]] if write == "add_items" else []))
    assert [call.method for call in wire.calls if call.method != "GET"] == [wire.calls[-1].method]


async def fails_then_works(failures, *, slept):
    """Run a read whose first attempts fail with `failures`; return how often it was tried."""
    pending = list(failures)
    tries = []

    async def read():
        tries.append(1)
        if pending:
            raise pending.pop(0)
        return len(tries)

    async def sleep(seconds):
        slept.append(seconds)

    return await retry_read(
        read,
        is_transient=lambda e: isinstance(e, OSError),
        retry_after=lambda e: getattr(e, "asked", None),
        sleep=sleep,
    )


async def test_a_read_is_tried_three_times():
    slept = []
    assert await fails_then_works([OSError(), OSError()], slept=slept) == 3
    assert [0.5 <= slept[0] <= 1, 1 <= slept[1] <= 1.5] == [True, True]


async def test_a_read_that_fails_three_times_raises_the_last_error():
    last = OSError("last")
    with pytest.raises(OSError, match="last"):
        await fails_then_works([OSError(), OSError(), last], slept=[])


async def test_a_read_that_fails_for_good_is_not_repeated():
    with pytest.raises(ValueError, match="bad"):
        await fails_then_works([ValueError("bad")], slept=[])


async def test_a_read_waits_as_long_as_the_server_asks():
    throttled = OSError()
    throttled.asked = 7.0
    slept = []
    await fails_then_works([throttled], slept=slept)
    assert slept == [7.0]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "20"}, 0.02),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after-ms": "20", "retry-after": "3"}, 0.02),
        ({"retry-after-ms": "soon", "retry-after": "3"}, 3.0),
        ({"retry-after": "61"}, None),
        ({"retry-after": "-1"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_milliseconds_and_seconds_up_to_a_minute(headers, seconds):
    request = HTTP_FAMILY.Request("GET", "http://wire.test")
    response = HTTP_FAMILY.Response(429, headers=headers, request=request)
    assert _retry_after(openai.RateLimitError("slow down", response=response, body=None)) == seconds
    assert _retry_after(openai.APIConnectionError(request=request)) is None


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
        await session.add_items([USER])
    assert str(caught.value) == f"The answer to 'create items' {problem} (x-request-id: req_1)."


@pytest.mark.parametrize("answer", [{}, {"id": None}, {"id": "../files"}])
async def test_a_created_conversation_without_a_proper_id_is_an_error(answer):
    wire = Wire(lambda call: (200, answer))
    session = OpenAIConversationsSession(openai_client=wire.client)
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
        Gateway(openai.OpenAI(api_key="sk-x"), timeout=1)
