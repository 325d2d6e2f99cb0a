"""The HTTP around the operations: headers, unknown paths, broken bodies, and the log of requests."""

import json

import pytest

from openai_sessions.emulator import EmulatedRequest

from .wire import user


async def test_answer_is_json_indented_by_two_spaces(wire, conversation):
    answer = await wire.http.get(f"/v1/conversations/{conversation}")
    assert answer.text == json.dumps(answer.json(), indent=2)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/v1/conversations/conv_unknown", "/v1/unknown"])
async def test_answer_has_the_headers_of_the_api(wire, path):
    headers = (await wire.http.get(path)).headers
    assert headers["openai-version"] == "2020-10-01"
    assert headers["openai-processing-ms"].isdigit()
    assert headers["x-request-id"].startswith("req_")


async def test_request_ids_differ(wire):
    answers = [await wire.http.get("/v1/conversations/conv_unknown") for _ in range(2)]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 2


@pytest.mark.parametrize(
    "path",
    ["/chat/completions", "/conversations/", "/conversations/conv_1/items/msg_1/x", "/conversations/../x"],
)
async def test_unknown_path_is_a_404(wire, path):
    status, answer = await wire.get(path)
    assert (status, answer["error"]["code"]) == (404, None)
    assert answer["error"]["message"].startswith("Invalid URL (GET /v1/")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/conversations"),
        ("PUT", "/conversations/conv_1"),
        ("DELETE", "/conversations/conv_1/items"),
        ("POST", "/conversations/conv_1/items/msg_1"),
    ],
)
async def test_wrong_method_is_a_405(wire, method, path):
    status, answer = await wire.send(method, path)
    assert (status, answer["error"]["type"]) == (405, "invalid_request_error")


@pytest.mark.parametrize(
    "content",
    [b"{", b"items=1", b"\xff", b'{"items": [NaN]}', b"[" * 100_000],
    ids=["cut", "form", "no utf-8", "nan", "deep"],
)
async def test_body_that_is_no_json_is_a_400(wire, conversation, content):
    status, answer = await wire.send("POST", f"/conversations/{conversation}/items", content=content)
    assert (status, answer["error"]["type"], answer["error"]["code"]) == (400, "invalid_request_error", None)
    assert answer["error"]["message"].startswith("We could not parse the JSON body of your request.")


async def test_requests_are_remembered_in_order(emulator, wire, conversation):
    emulator.forget_requests()
    await wire.add(conversation, user("Hello"))
    await wire.list(conversation, **{"limit": 5, "include[]": ["a", "b"]})
    await wire.get("/unknown")
    items_path = f"/v1/conversations/{conversation}/items"
    assert emulator.requests == (
        EmulatedRequest("POST", items_path, {}, {"items": [user("Hello")]}, 200, "create_items"),
        EmulatedRequest(
            "GET", items_path, {"limit": ["5"], "include[]": ["a", "b"]}, None, 400, "list_items"
        ),
        EmulatedRequest("GET", "/v1/unknown", {}, None, 404, None),
    )


async def test_forgotten_requests_are_gone(emulator, conversation):
    before = emulator.requests
    emulator.forget_requests()
    assert (len(before), emulator.requests) == (1, ())


async def test_client_that_leaves_in_the_middle_of_its_body_changes_nothing(emulator, wire, conversation):
    sent = []
    path = f"/v1/conversations/{conversation}/items"
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer sk-on-the-wire")],
    }

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    emulator.forget_requests()
    await emulator(scope, receive, send)
    assert emulator.requests == ()
    assert await wire.texts(conversation) == []
