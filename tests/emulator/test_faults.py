"""Each kind of fault at each operation that it fits: what the client sees, what is stored, what is logged."""

import secrets

import openai
import pytest

from openai_sessions.emulator import FAULT_KINDS, Emulator, Fault
from openai_sessions.emulator._faults import OPERATION_NAMES

from .faulty import DONE, HELD, new_subject
from .wire import HTTP_FAMILY, Wire

UNANSWERED = {
    "cut_before": (openai.APIConnectionError, "ReadError", None),
    "cut_after_commit": (openai.APIConnectionError, "ReadError", None),
    "late_commit": (openai.APIConnectionError, "ReadError", None),
    "stall": (openai.APITimeoutError, "ReadTimeout", None),
    "stall_after_commit": (openai.APITimeoutError, "ReadTimeout", None),
    "truncated_body": (openai.APIConnectionError, "RemoteProtocolError", 200),
}
"""The client's error, the HTTP library's below it, and the status in the log."""

REFUSED = {
    "error_500_before": (openai.InternalServerError, 500, None, "server_error"),
    "error_500_after_commit": (openai.InternalServerError, 500, None, "server_error"),
    "throttled": (openai.RateLimitError, 429, "rate_limit_exceeded", "requests"),
    "quota": (openai.RateLimitError, 429, "insufficient_quota", "insufficient_quota"),
    "locked": (openai.BadRequestError, 400, "conversation_locked", "invalid_request_error"),
}
"""The client's error, its status, its code and its type."""

COMMITTED = {
    "cut_after_commit",
    "stall_after_commit",
    "error_500_after_commit",
    "truncated_body",
    "not_json",
    "empty_page",
    "stale_page",
}


def fitting(kinds):
    return [(kind, name) for kind in kinds for name in OPERATION_NAMES if Fault(kind).fits(name)]


@pytest.fixture(scope="module")
def served():
    with Emulator() as emulator, emulator.serve() as base_url:
        yield emulator, base_url


@pytest.fixture(params=["in process", "on a socket"])
async def subject(request, served, emulator):
    key = f"sk-{secrets.token_hex(8)}"
    if request.param == "in process":
        yield await new_subject(emulator, emulator.client(api_key=key).with_options(max_retries=0))
        return
    emulator, base_url = served
    async with openai.AsyncOpenAI(api_key=key, base_url=base_url, max_retries=0) as client:
        yield await new_subject(emulator, client)
    emulator.clear_faults()


def logged(subject):
    (request,) = subject.emulator.requests
    return request.operation, request.fault, request.status


@pytest.mark.parametrize(("kind", "operation"), fitting(UNANSWERED))
async def test_fault_without_an_answer(subject, kind, operation):
    """The client raises its own error over the HTTP library's, and the log knows at that moment."""
    error, cause, status = UNANSWERED[kind]
    subject.emulator.inject(Fault(kind, delay=0.3), operation=operation)
    with pytest.raises(openai.APIConnectionError) as caught:
        await subject.perform(operation, timeout=0.3 if "stall" in kind else 30)
    assert (operation, kind, status) == logged(subject)
    assert (error, getattr(HTTP_FAMILY, cause)) == (type(caught.value), type(caught.value.__cause__))
    assert caught.value.request.url == caught.value.__cause__.request.url
    assert (DONE[operation] if kind in COMMITTED else HELD) == subject.stored()
    await subject.emulator.late_commits()
    assert (DONE[operation] if kind in {*COMMITTED, "late_commit"} else HELD) == subject.stored()


@pytest.mark.parametrize(("kind", "operation"), fitting(REFUSED))
async def test_fault_with_an_error_for_an_answer(subject, kind, operation):
    error, status, code, error_type = REFUSED[kind]
    subject.emulator.inject(Fault(kind), operation=operation)
    with pytest.raises(openai.APIStatusError) as caught:
        await subject.perform(operation)
    assert (operation, kind, status) == logged(subject)
    assert (error, status) == (type(caught.value), caught.value.status_code)
    assert (code, error_type) == (caught.value.code, caught.value.type)
    assert (DONE[operation] if kind in COMMITTED else HELD) == subject.stored()


@pytest.mark.parametrize("operation", OPERATION_NAMES)
async def test_answer_that_is_no_json(subject, operation):
    subject.emulator.inject(Fault("not_json"), operation=operation)
    answer = await subject.perform(operation)
    assert (operation, "not_json", 200) == logged(subject)
    assert "text/html; charset=utf-8" == answer.headers["content-type"]
    assert answer.text.startswith("<!DOCTYPE html>")
    assert DONE[operation] == subject.stored()


async def test_empty_page_says_that_more_follow(subject):
    subject.emulator.inject(Fault("empty_page"))
    answer = await subject.perform("list_items")
    assert ("list_items", "empty_page", 200) == logged(subject)
    page = {"object": "list", "data": [], "first_id": None, "has_more": True, "last_id": None}
    assert page == answer.http_response.json()


async def test_stale_page_lacks_the_last_write(subject):
    await subject.perform("create_items")
    subject.emulator.inject(Fault("stale_page"))
    subject.emulator.forget_requests()
    assert ["0"] == await subject.texts()
    assert ("list_items", "stale_page", 200) == logged(subject)
    assert ["1", "0"] == await subject.texts()


@pytest.mark.parametrize("operation", OPERATION_NAMES)
async def test_connection_serves_on_after_each_fault(subject, operation):
    """A client that goes on is served by the same emulator as if nothing had been."""
    kinds = [kind for kind in FAULT_KINDS if Fault(kind).fits("list_items")]
    subject.emulator.inject_at_random(1, seed=3, faults=[Fault(kind) for kind in kinds if kind != "stall"])
    for _ in kinds:
        try:
            await subject.perform("list_items")
        except openai.OpenAIError:
            continue
    subject.emulator.clear_faults()
    await subject.perform(operation)
    assert DONE[operation] == subject.stored()


@pytest.mark.parametrize(("seconds", "header"), [(None, None), (2, "2"), (0.05, "0.05"), (0, "0")])
async def test_throttled_answer_tells_how_long_to_wait_where_asked_to(subject, seconds, header):
    subject.emulator.inject(Fault("throttled", retry_after=seconds))
    with pytest.raises(openai.RateLimitError) as caught:
        await subject.perform("list_items")
    assert header == caught.value.response.headers.get("retry-after")


async def test_refused_request_can_meet_a_fault_too(emulator, wire):
    """The cut hides the refusal, and nothing is stored; a page that is none stays the error it is."""
    emulator.inject(Fault("cut_after_commit"))
    emulator.inject(Fault("empty_page"))
    emulator.inject(Fault("error_500_before"), operation="update_conversation")
    with pytest.raises(HTTP_FAMILY.ReadError):
        await wire.add("conv_unknown", {"role": "user", "content": "Hello"})
    assert 404 == (await wire.list("conv_unknown"))[0]
    assert 500 == (await wire.send("POST", "/conversations/conv_unknown", content=b"{"))[0]
    assert [None, 404, 500] == [request.status for request in emulator.requests]


async def test_fault_needs_no_key_and_needs_a_route(emulator):
    emulator.inject(Fault("error_500_before"))
    keyless = Wire(emulator, key=None)
    assert 404 == (await keyless.get("/unknown"))[0]
    assert 500 == (await keyless.get("/conversations/conv_1"))[0]
    assert [(None, None), ("retrieve_conversation", "error_500_before")] == [
        (request.operation, request.fault) for request in emulator.requests
    ]
