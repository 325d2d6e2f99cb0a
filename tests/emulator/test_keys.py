"""Bearer keys: who may ask, and who sees what."""

import hashlib

import openai
import pytest

from openai_sessions.emulator import Emulator

from .wire import Wire, user

KEY = "sk-first-key-of-this-test"
OTHER_KEY = "sk-other-key-of-this-test"


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


async def test_other_scheme_than_bearer_is_a_401(wire):
    status, _ = await wire.send("GET", "/conversations/conv_1", headers={"authorization": "Basic eDp5"})
    assert status == 401


async def test_unknown_key_is_a_401_that_does_not_tell_it(guarded):
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
    """The file knows a digest only, the request log nothing."""
    file = tmp_path / "conversations.db"
    with Emulator(file) as emulator:
        await Wire(emulator, key=KEY).new_conversation()
        assert KEY not in repr(emulator.requests)
        assert KEY not in repr(vars(emulator))
    content = file.read_bytes()
    assert KEY.encode() not in content
    assert hashlib.sha256(KEY.encode()).hexdigest().encode() in content
