"""What the Agents SDK asks of a session beside its methods, in each order in which the two are imported."""

import json
import os

import agents
import pytest
from agents.models import _openai_shared

from openai_sessions import (
    ConversationNotFoundError,
    OpenAIConversationsSession,
    start_openai_conversations_session,
)
from tests import programs
from tests.selection import one_in

OURS = "from openai_sessions import OpenAIConversationsSession"
THEIRS = "import agents"
MADE = """
from openai import AsyncOpenAI
client = AsyncOpenAI(api_key="sk-emulator")
unused = OpenAIConversationsSession(openai_client=client)
resumed = OpenAIConversationsSession(openai_client=client, conversation_id="conv_1")
limited = OpenAIConversationsSession(openai_client=client, session_settings={"limit": 3})
"""
FACTS = """
import json
print(json.dumps({
    "unused": isinstance(unused, agents.Session),
    "resumed": isinstance(resumed, agents.Session),
    "made_last": isinstance(OpenAIConversationsSession(openai_client=client), agents.Session),
    "settings": type(unused.session_settings) is agents.SessionSettings,
    "settings_of_a_dict": type(limited.session_settings) is agents.SessionSettings,
    "limit": limited.session_settings.limit,
}))
"""
ORDERS = {
    "ours_first": (OURS, THEIRS, MADE),
    "session_before_theirs": (OURS, MADE, THEIRS),
    "theirs_first": (THEIRS, OURS, MADE),
}


@pytest.mark.parametrize("order", one_in(3, ORDERS))
@pytest.mark.exhaustive
def test_session_is_what_the_sdk_asks_for(order):
    """An instance of `agents.Session`, used or unused, with settings of the SDK's class."""
    program = "\n".join((*ORDERS[order], FACTS))
    finished = programs.run("-W", "error", "-c", program, env=os.environ, imported=programs.OF_OPENAI)

    assert (0, "") == (finished.returncode, finished.stderr)
    assert {
        "unused": True,
        "resumed": True,
        "made_last": True,
        "settings": True,
        "settings_of_a_dict": True,
        "limit": 3,
    } == json.loads(finished.stdout)


@pytest.fixture
def default_client(client):
    """Make the client the default of the Agents SDK, and take it back afterwards."""
    agents.set_default_openai_client(client, use_for_tracing=False)
    yield client
    _openai_shared.set_default_openai_client(None)


async def test_default_client_of_the_sdk_is_used_and_stays_open(default_client, emulator):
    async with OpenAIConversationsSession() as session:
        await session.add_items([{"role": "user", "content": "Hello"}])

    assert [200, 200] == [request.status for request in emulator.requests]
    assert not default_client.is_closed()


async def test_default_client_of_the_sdk_starts_a_conversation_and_stays_open(default_client):
    conversation_id = await start_openai_conversations_session()

    resumed = OpenAIConversationsSession(conversation_id=conversation_id)
    assert [] == await resumed.get_items()
    assert not default_client.is_closed()


async def test_given_client_wins_over_the_default_of_the_sdk(default_client, emulator):
    async with emulator.client(api_key="sk-other") as client:
        session = OpenAIConversationsSession(openai_client=client)
        await session.add_items([{"role": "user", "content": "Hello"}])

        resumed = OpenAIConversationsSession(conversation_id=session.session_id)
        with pytest.raises(ConversationNotFoundError, match=session.session_id):
            await resumed.get_items()
