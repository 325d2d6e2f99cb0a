"""The doctor examines servers that misbehave, in process, and says how."""

import asyncio
import json
import ssl

import openai
import pytest

from openai_sessions.cli._examination import MANY, PAIR, QUESTION, Examination
from openai_sessions.cli._failures import diagnosed
from openai_sessions.cli._setup import Access
from openai_sessions.emulator import Fault
from tests.wire import FAST, HTTP_FAMILY

KEY = "sk-of-the-doctor-0123456789"
ACCESS = Access(
    base_url="http://server.test/v1", url_source="OPENAI_BASE_URL", key=KEY, key_variable="OPENAI_API_KEY"
)


def client_of(answer):
    """Return a client whose server is a coroutine function of the request."""
    http_client = openai.DefaultAsyncHttpxClient(transport=HTTP_FAMILY.MockTransport(answer))
    return openai.AsyncOpenAI(api_key=KEY, base_url=ACCESS.base_url, http_client=http_client)


class Altered:
    """The emulator, with requests and responses that a test changes.

    Args:
        emulator: The emulator.
        alter: Given a request and what sends it on, returns the response.
    """

    def __init__(self, emulator, alter):
        self._transport, self._alter = HTTP_FAMILY.ASGITransport(app=emulator), alter

    async def __call__(self, request):
        return await self._alter(request, self.send)

    async def send(self, request):
        response = await self._transport.handle_async_request(request)
        await response.aread()
        return response


async def examined(client, *, report=None, timeout=5.0, model=None):
    """Examine the server of a client; return the results."""
    results = []
    async with client:
        add = report or results.append
        await Examination(client, ACCESS, policy=FAST, timeout=timeout, report=add, model=model).run()
    return results


def failures(results):
    """Return the check, the detail and the remedy of what failed."""
    return [(each.check, each.detail, each.remedy) for each in results if each.status == "failed"]


def notes(results):
    return [(each.check, each.detail) for each in results if each.status == "note"]


def answering(status, body, **headers):
    """Return a client whose server gives one answer to everything."""
    content = body if isinstance(body, str) else json.dumps(body)

    async def answer(_):
        return HTTP_FAMILY.Response(status, text=content, headers=headers)

    return client_of(answer)


def error(message="no", code=None):
    return {"error": {"message": message, "type": "error", "param": None, "code": code}}


KEPT = "The server does not keep what it acknowledges: report it to those who run it."


# Servers that refuse


@pytest.mark.parametrize(
    ("status", "body", "detail", "remedy"),
    [
        (
            401,
            error(f"Incorrect API key provided: {KEY[:5]}***{KEY[-4:]}."),
            "401: the key is not accepted",
            "Set OPENAI_API_KEY to a key of http://server.test/v1.",
        ),
        (
            403,
            error("Project proj_0123456789abcdefgh has no access."),
            "403: Project REDACTED has no access",
            "Give the key in OPENAI_API_KEY the permission to write conversations.",
        ),
        (
            429,
            error("Slow down."),
            "429: Slow down",
            "Wait a minute, or raise the limits of the project.",
        ),
        (
            429,
            error("No credit.", "insufficient_quota"),
            "429: No credit",
            "Add credit, or raise the budget of the project.",
        ),
        (
            500,
            "<html>",
            "500: no reason given",
            "The server failed: look at its log or status page, and try again.",
        ),
        (
            418,
            error("I am a teapot."),
            "418: I am a teapot",
            "The server refuses what OpenAI accepts: report it with this line.",
        ),
        (
            200,
            "<html>Sign in</html>",
            "the response to 'retrieve conversation' is not one of the API, perhaps a web page",
            "Check OPENAI_BASE_URL: the base URL of OpenAI's API ends in /v1.",
        ),
        (
            200,
            {"object": "anything"},
            "has a conversation under an id that was never given",
            "Check the base URL: this is not the Conversations API.",
        ),
    ],
)
async def test_answer_is_told_with_a_remedy(status, body, detail, remedy):
    """One request is sent, and nothing is created."""
    assert [("server", detail, remedy)] == failures(await examined(answering(status, body)))


async def test_redirect_is_told_with_the_base_url_to_set():
    client = answering(301, "", location="https://server.test/v1/conversations/conv_x")
    ((_, detail, remedy),) = failures(await examined(client))
    assert detail.startswith("a redirect with status 301 to https://server.test/v1/")
    assert remedy.startswith("Set OPENAI_BASE_URL to ")


@pytest.mark.parametrize("status", [404, 405])
async def test_server_without_conversations_is_told(status):
    """Its 404 to the first request may as well be about the conversation; not that to the creation."""

    async def answer(request):
        return HTTP_FAMILY.Response(404 if request.method == "GET" else status, text="Not Found")

    results = await examined(client_of(answer))
    assert [("server", "ok"), ("create", "failed")] == [(each.check, each.status) for each in results]
    assert failures(results) == [
        (
            "create",
            f"{status}: the server has no /conversations",
            (
                "Check OPENAI_BASE_URL, which should end in /v1. Not every server of OpenAI's API has "
                "conversations; OpenAI, Azure, smg and the emulator do."
            ),
        )
    ]


async def test_certificate_that_is_not_trusted_is_told():
    connection = openai.APIConnectionError(request=HTTP_FAMILY.Request("GET", "https://server.test"))
    connection.__cause__ = HTTP_FAMILY.ConnectError("")
    connection.__cause__.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    found = diagnosed(connection, "server", ACCESS)
    assert found.detail == "TLS: the certificate of http://server.test/v1 is not trusted"
    assert "SSL_CERT_FILE" in found.remedy


class SeveralAttemptsError(Exception):
    """The group of errors that a host with several addresses raises; Python 3.10 has no such class."""

    exceptions = (ConnectionRefusedError(), ConnectionRefusedError())


@pytest.mark.parametrize(
    ("cause", "detail"),
    [
        (ConnectionResetError(), "connect: {url} closed the connection without a response"),
        (TimeoutError(), "connect: {url} did not accept a connection in time"),
        (SeveralAttemptsError(), "connect: {url} refused the connection"),
        (OSError(101, "x"), "no response from {url} (ConnectError: Network is unreachable)"),
    ],
)
def test_error_of_a_connection_is_told_by_its_cause(cause, detail):
    connection = openai.APIConnectionError(request=HTTP_FAMILY.Request("GET", "http://server.test"))
    connection.__cause__ = HTTP_FAMILY.ConnectError("")
    connection.__cause__.__cause__ = cause
    assert diagnosed(connection, "server", ACCESS).detail == detail.format(url=ACCESS.base_url)


def test_proxy_that_refuses_is_told():
    """It answers a CONNECT, as for https."""
    connection = openai.APIConnectionError(request=HTTP_FAMILY.Request("GET", "https://server.test"))
    connection.__cause__ = HTTP_FAMILY.ProxyError("403 Forbidden")
    assert (
        diagnosed(connection, "server", ACCESS).detail == "the proxy did not connect to http://server.test/v1"
    )


# Servers that answer, and do something else


async def test_creation_that_fails_for_good_leaves_nothing_to_delete(emulator):
    emulator.inject(Fault("error_500_before"), operation="create_conversation", times=99)
    results = await examined(emulator.client())
    assert [("create", "failed")] == [
        (each.check, each.status) for each in results if each.check != "server"
    ][:1]
    assert "delete" not in [each.check for each in results]


async def test_lost_reply_to_the_creation_may_leave_a_conversation(emulator):
    emulator.inject(Fault("cut_after_commit"), operation="create_conversation")
    results = await examined(emulator.client())
    assert failures(results) == []
    assert ("orphan", "a reply to the creation was lost: an empty conversation may remain") in notes(results)


@pytest.mark.parametrize(
    ("kind", "operation", "check", "told"),
    [
        ("cut_after_commit", "create_items", "write", "1 x no reply"),
        ("throttled", "create_items", "write", "1 x 429 rate_limit_exceeded"),
        ("locked", "create_items", "write", "1 x 400 conversation_locked"),
        ("error_500_after_commit", "create_items", "write", "1 x 500"),
        ("truncated_body", "list_items", "read", "1 x no reply"),
        ("cut_after_commit", "delete_item", "pop", "1 x no reply, 1 x 404"),
        ("not_json", "create_items", "write", "an unusable reply"),
        ("not_json", "list_items", "read", "an unusable reply"),
    ],
)
async def test_recovered_requests_are_counted(emulator, kind, operation, check, told):
    emulator.inject(Fault(kind), operation=operation)
    results = await examined(emulator.client())
    assert failures(results) == []
    ((name, detail),) = notes(results)
    assert (name, detail.partition("; recovered from ")[2]) == (check, told)


async def test_list_that_is_late_is_told(emulator):
    emulator.inject(Fault("stale_page"), operation="list_items")
    results = await examined(emulator.client())
    assert failures(results) == []
    assert notes(results) == [("read", "2 items, as written, but only when read again a moment later")]


async def test_item_that_is_stored_twice_is_told(emulator):
    async def alter(request, send):
        response = await send(request)
        if request.method == "POST" and request.url.path.endswith("/items"):
            await send(request)
        return response

    results = await examined(client_of(Altered(emulator, alter)))
    assert failures(results) == [("read", "4 items, but 2 were written", KEPT)]
    assert emulator.conversations() == ()


async def test_list_in_the_wrong_order_is_told(emulator):
    async def alter(request, send):
        order = {"asc": "desc", "desc": "asc"}.get(request.url.params.get("order"))
        url = request.url.copy_set_param("order", order) if order else request.url
        return await send(
            HTTP_FAMILY.Request(request.method, url, headers=request.headers, content=request.content)
        )

    ((check, detail, remedy),) = failures(await examined(client_of(Altered(emulator, alter))))
    assert (check, remedy) == ("read", KEPT)
    assert detail == f"item 1 is {json.dumps(PAIR[1])}, not {json.dumps(PAIR[0])}"


async def test_pop_of_another_item_is_told(emulator):
    async def alter(request, send):
        is_newest = request.url.params.get("limit") == "1"
        url = request.url.copy_set_param("order", "asc") if is_newest else request.url
        return await send(
            HTTP_FAMILY.Request(request.method, url, headers=request.headers, content=request.content)
        )

    (first, *_) = failures(await examined(client_of(Altered(emulator, alter))))
    assert first == ("pop", f"returned {json.dumps(PAIR[0])}, not the newest item", KEPT)


async def test_list_that_starts_again_is_told(emulator):
    async def alter(request, send):
        url = request.url.copy_remove_param("after")
        return await send(
            HTTP_FAMILY.Request(request.method, url, headers=request.headers, content=request.content)
        )

    ((check, detail, _),) = failures(await examined(client_of(Altered(emulator, alter))))
    assert check == "pages"
    assert detail.endswith(f" items in pages of 10, not the {len(MANY) + 1} items of one page in order")


async def test_text_that_is_rewritten_is_told(emulator):
    async def alter(request, send):
        response = await send(request)
        return HTTP_FAMILY.Response(
            response.status_code, content=response.content.replace(b"Hello", b"Hallo")
        )

    ((check, detail, _),) = failures(await examined(client_of(Altered(emulator, alter))))
    assert (check, detail) == (
        "read",
        f'item 1 is {{"role": "user", "content": "Hallo"}}, not {json.dumps(PAIR[0])}',
    )


async def test_value_of_include_that_is_refused_is_told(emulator):
    value = "code_interpreter_call.outputs"

    async def alter(request, send):
        if value in str(request.url.query):
            return HTTP_FAMILY.Response(400, json=error(f"include {value} is unknown"))
        return await send(request)

    results = await examined(client_of(Altered(emulator, alter)))
    assert failures(results) == []
    assert ("include", f"the server refuses {value}; items may lack parts") in notes(results)


async def test_conversation_that_is_gone_a_moment_later_is_told(emulator):
    found = []

    async def alter(request, send):
        response = await send(request)
        if request.method == "DELETE" and "/items" not in request.url.path:
            found.append(request.url.path)
        if request.method == "GET" and request.url.path in found:
            found.remove(request.url.path)
            return HTTP_FAMILY.Response(200, json={"object": "conversation"})
        return response

    results = await examined(client_of(Altered(emulator, alter)))
    assert notes(results) == [("gone", "the conversation is not found after 2 requests")]


async def test_conversation_that_is_not_deleted_is_told(emulator):
    async def alter(request, send):
        if request.method == "DELETE" and "/items" not in request.url.path:
            return HTTP_FAMILY.Response(200, json={"deleted": True})
        return await send(request)

    ((check, detail, _),) = failures(await examined(client_of(Altered(emulator, alter))))
    (left,) = emulator.conversations()
    assert (check, detail) == ("gone", f"{left.id} is still found after it was deleted")


async def test_first_failure_ends_the_checks_and_the_conversation_is_deleted(emulator):
    emulator.inject(Fault("quota"), operation="list_items")
    results = await examined(emulator.client())
    assert [each.check for each in results] == ["server", "create", "write", "read", "delete", "gone"]
    assert emulator.conversations() == ()


# A model


async def test_model_is_asked_in_the_conversation(emulator):
    emulator.reply("Rain.")
    results = await examined(emulator.client(), model="gpt-of-mine")
    (response,) = [each for each in results if each.check == "response"]
    assert (response.status, response.detail) == ("ok", "gpt-of-mine answered, and 2 items were stored")
    (sent,) = [each.body for each in emulator.requests if each.operation == "create_response"]
    assert (sent["model"], sent["input"], sent["conversation"][:5]) == ("gpt-of-mine", QUESTION, "conv_")
    assert emulator.conversations() == ()


async def test_lost_answer_of_a_model_is_recovered_from(emulator):
    """It is stored once: the client of the session looks for it."""
    emulator.inject(Fault("cut_after_commit"), operation="create_response")
    results = await examined(emulator.client(), model="gpt-of-mine")
    assert failures(results) == []
    assert [each for each in notes(results) if each[0] == "response"] == [
        ("response", "gpt-of-mine answered, and 2 items were stored; recovered from 1 x no reply")
    ]


async def test_model_that_is_not_there_is_told(emulator):
    async def alter(request, send):
        if request.url.path.endswith("/responses"):
            return HTTP_FAMILY.Response(404, json=error("The model `x` does not exist.", "model_not_found"))
        return await send(request)

    results = await examined(client_of(Altered(emulator, alter)), model="x")
    assert failures(results) == [
        (
            "response",
            "404: The model `x` does not exist",
            "Check --model, and that the server has it and the Responses API.",
        )
    ]
    assert results[-1].check == "gone"


async def test_question_that_is_not_stored_is_told(emulator):
    async def alter(request, send):
        content = request.content.replace(QUESTION.encode(), b"Hm?")
        headers = {**request.headers, "content-length": str(len(content))}
        return await send(HTTP_FAMILY.Request(request.method, request.url, headers=headers, content=content))

    ((check, detail, _),) = failures(await examined(client_of(Altered(emulator, alter)), model="x"))
    assert (check, detail.partition(" [")[0]) == ("response", "the question was not stored, but")


async def test_answer_that_is_not_stored_is_told(emulator):
    async def alter(request, send):
        response = await send(request)
        if request.url.path.endswith("/responses"):
            (conversation,) = emulator.conversations()
            path = f"/v1/conversations/{conversation.id}/items/{emulator.items(conversation.id)[-1]['id']}"
            await send(
                HTTP_FAMILY.Request(
                    "DELETE", request.url.copy_with(path=path), headers={"authorization": f"Bearer {KEY}"}
                )
            )
        return response

    ((check, detail, remedy),) = failures(await examined(client_of(Altered(emulator, alter)), model="x"))
    assert (check, remedy) == ("response", KEPT)
    assert detail.startswith("the answer was not stored, but ")


@pytest.mark.exhaustive
async def test_model_that_takes_too_long_is_told(emulator):
    emulator.inject(Fault("stall"), operation="create_response", times=99)
    with emulator.serve() as base_url:
        client = openai.AsyncOpenAI(api_key=KEY, base_url=base_url)
        results = await examined(client, model="x", timeout=0.2)
    assert [each[:2] for each in failures(results)] == [("response", "no complete response in time")]


# Cancellation


def holding(emulator, holds):
    """Return a client whose server holds the requests that `holds` names, and an event that one is held."""
    held, forever = asyncio.Event(), asyncio.Event()

    async def alter(request, send):
        if holds(request):
            held.set()
            await forever.wait()
        return await send(request)

    return client_of(Altered(emulator, alter)), held


async def test_cancellation_deletes_the_conversation(emulator):
    client, held = holding(emulator, lambda request: request.url.params.get("limit") == "10")
    results = []
    task = asyncio.ensure_future(examined(client, report=results.append))
    await held.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [each.check for each in results][-3:] == ["history", "delete", "gone"]
    assert emulator.conversations() == ()


async def test_cancelled_creation_may_leave_a_conversation(emulator):
    client, held = holding(emulator, lambda request: request.method == "POST")
    results = []
    task = asyncio.ensure_future(examined(client, report=results.append))
    await held.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [each.check for each in results] == ["server", "orphan"]


@pytest.mark.exhaustive
async def test_second_cancellation_names_what_is_left(emulator):
    client, held = holding(
        emulator,
        lambda request: (
            request.url.params.get("limit") == "10"
            or (request.method == "DELETE" and "item" not in str(request.url))
        ),
    )
    results = []
    task = asyncio.ensure_future(examined(client, report=results.append))
    await held.wait()
    held.clear()
    task.cancel()
    await held.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (left,) = emulator.conversations()
    assert failures(results)[-1][:2] == ("left", f"{left.id} was left behind")


async def test_output_that_fails_does_not_keep_the_conversation(emulator):
    """As with `doctor | head`."""

    def report(result):
        if result.check == "write":
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await examined(emulator.client(), report=report)
    assert emulator.conversations() == ()
