"""The stand-in answers from earlier texts, and accepts its own key only."""

import openai
import pytest

from openai_sessions import OpenAIConversationsSession
from tests.examples.stand_in import API_KEY, reply


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


async def test_stand_in_serves_responses_and_conversations(server):
    base_url, _ = server
    async with openai.AsyncOpenAI(base_url=base_url, api_key=API_KEY) as client:
        session = OpenAIConversationsSession(openai_client=client)
        await session.add_items([{"role": "user", "content": "What city is the Space Needle in?"}])
        response = await client.responses.create(model="m", input=await session.get_items())
    assert response.output_text == "Seattle."


async def test_stand_in_refuses_another_key(server):
    base_url, _ = server
    async with openai.AsyncOpenAI(base_url=base_url, api_key="sk-wrong") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.responses.create(model="m", input="Hello")
