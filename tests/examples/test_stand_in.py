"""The stand-in answers as recordings of the service do, and from its input only."""

import json

import openai
import pytest

from openai_sessions import OpenAIConversationsSession
from tests.examples.stand_in import ROOT, reply, response_body, texts

RECORDING = ROOT.parent / "shared/recordings/openai-dotnet__ResponseUsingConversationsAsync.json"


def shape(value):
    """Return the keys and types of a JSON value."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value)


def test_response_has_the_shape_of_a_recorded_one():
    if not RECORDING.exists():
        pytest.skip("the recordings are not beside this checkout")
    exchanges = json.loads(RECORDING.read_text())["exchanges"]
    recorded = next(each for each in exchanges if each["request"]["url"].endswith("/v1/responses"))
    expected = {
        name: shape(value)
        for name, value in recorded["response"]["body"].items()
        if name not in ("conversation", "tool_usage")  # where a conversation or a tool was given
    }
    assert expected == shape(response_body({"model": "m", "input": "Tell me a joke."}))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["What city is the Space Needle in?"], "Seattle."),
        (["What state is it in?"], "I cannot tell."),
        (["Seattle.", "What state is it in?"], "Washington."),
    ],
)
def test_reply_needs_what_was_said_before(said, expected):
    assert expected == reply(said)


def test_texts_of_strings_and_parts():
    given = [
        {"role": "user", "content": "a"},
        {"type": "function_call"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "b"}, {"type": "refusal"}]},
    ]
    assert texts(given) == ["a", "", "b"]


async def test_stand_in_serves_responses_and_conversations(server):
    base_url, _ = server
    async with openai.AsyncOpenAI(base_url=base_url, api_key="sk-stand-in") as client:
        session = OpenAIConversationsSession(openai_client=client)
        await session.add_items([{"role": "user", "content": "What city is the Space Needle in?"}])
        response = await client.responses.create(model="m", input=await session.get_items())
    assert response.output_text == "Seattle."


async def test_stand_in_refuses_another_key(server):
    base_url, _ = server
    async with openai.AsyncOpenAI(base_url=base_url, api_key="sk-wrong") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.responses.create(model="m", input="Hello")
