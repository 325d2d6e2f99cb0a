"""The HTTP around the operations: paths, headers, bodies, the request log, and API keys."""

import hashlib
import json

import openai
import pytest

from openai_sessions.emulator import EmulatedRequest, Emulator

from .wire import KEY, Wire, user

OTHER_KEY = "sk-other-key"


async def test_response_is_json_indented_by_two_spaces(wire, conversation):
    answer = await wire.http.get(f"/v1/conversations/{conversation}")
    assert answer.text == json.dumps(answer.json(), indent=2)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/v1/conversations/conv_unknown", "/v1/unknown"])
async def test_response_has_the_headers_of_the_api(wire, path):
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
async def test_body_that_is_not_json_is_a_400(wire, conversation, content):
    status, answer = await wire.send("POST", f"/conversations/{conversation}/items", content=content)
    assert (status, answer["error"]["type"], answer["error"]["code"]) == (
        400,
        "invalid_request_error",
        "invalid_json",
    )
    assert answer["error"]["message"] == (
        "Invalid body: failed to parse JSON value. Please check the value to ensure it is valid JSON. "
        "(Common errors include trailing commas, missing closing brackets, missing quotation marks, etc.)"
    )


async def test_requests_are_logged_in_order(emulator, wire, conversation):
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


async def test_log_can_be_cleared(emulator, conversation):
    before = emulator.requests
    emulator.forget_requests()
    assert (len(before), emulator.requests) == (1, ())


async def test_client_that_disconnects_within_its_body_changes_nothing(emulator, wire, conversation):
    sent = []
    path = f"/v1/conversations/{conversation}/items"
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {KEY}".encode())],
    }

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    emulator.forget_requests()
    await emulator(scope, receive, send)
    assert emulator.requests == ()
    assert await wire.texts(conversation) == []


@pytest.fixture
def guarded():
    with Emulator(api_keys=[KEY, OTHER_KEY]) as emulator:
        yield emulator


@pytest.mark.parametrize("key", [None, ""], ids=["no header", "empty"])
async def test_request_without_a_key_is_a_401(emulator, key):
    answer = await Wire(emulator, key=key).http.get("/v1/conversations/conv_1")
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (401, "invalid_request_error", None)
    assert answer.headers["www-authenticate"] == 'Bearer realm="OpenAI API"'


async def test_scheme_other_than_bearer_is_a_401(wire):
    status, _ = await wire.send("GET", "/conversations/conv_1", headers={"authorization": "Basic eDp5"})
    assert status == 401


async def test_unknown_key_is_a_401_that_does_not_repeat_it(guarded):
    answer = await Wire(guarded, key="sk-wrong-key-of-this-test").http.get("/v1/conversations/conv_1")
    assert answer.status_code == 401
    assert answer.json()["error"] == {
        "message": "Incorrect API key provided: ********. "
        "You can find your API key at https://platform.openai.com/account/api-keys.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }
    assert answer.headers["www-authenticate"] == 'Bearer realm="OpenAI API"'


async def test_unknown_key_raises_in_the_client(guarded):
    with pytest.raises(openai.AuthenticationError) as caught:
        await guarded.client().conversations.create()
    assert caught.value.code == "invalid_api_key"


@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
async def test_known_keys_are_served(guarded, key):
    assert (await guarded.client(api_key=key).conversations.create()).object == "conversation"


@pytest.mark.parametrize("api_keys", [None, [KEY, OTHER_KEY]], ids=["any key", "given keys"])
async def test_each_key_sees_only_its_own_conversations(api_keys):
    with Emulator(api_keys=api_keys) as emulator:
        conversation_id = await Wire(emulator, key=KEY).new_conversation(user("Hello"))
        other = Wire(emulator, key=OTHER_KEY)
        path = f"/conversations/{conversation_id}"
        answers = [
            await other.get(path),
            await other.get(f"{path}/items"),
            await other.add(conversation_id, user("mine now")),
            await other.delete(path),
        ]
        assert {status for status, _ in answers} == {404}
        assert await Wire(emulator, key=KEY).texts(conversation_id) == ["Hello"]


async def test_keys_are_not_kept(tmp_path):
    """The file contains only a digest, the request log nothing."""
    file = tmp_path / "conversations.db"
    with Emulator(file) as emulator:
        await Wire(emulator, key=KEY).new_conversation()
        assert KEY not in repr(emulator.requests)
        assert KEY not in repr(vars(emulator))
    content = file.read_bytes()
    assert KEY.encode() not in content
    assert hashlib.sha256(KEY.encode()).hexdigest().encode() in content
