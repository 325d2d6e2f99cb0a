"""The `new_items` of a run can be added to a session."""

import pytest
from agents import Agent, Runner
from agents.items import ToolApprovalItem

from openai_sessions import InvalidItemError, OpenAIConversationsSession
from openai_sessions.encryption import EncryptedSession

from .scripted import ScriptedModel, add, calls, says, thinks

KEY = "an encryption key of the test"


@pytest.fixture(params=["hosted", "encrypted"])
def session(request, client):
    session = OpenAIConversationsSession(openai_client=client)
    return session if request.param == "hosted" else EncryptedSession("new items", session, KEY)


@pytest.fixture
def agent():
    """An agent that thinks, calls a tool and hands off; its specialist answers."""
    specialist = Agent(name="Specialist", model=ScriptedModel([[says("3.")]]))
    think = thinks("A sum.", encrypted_content="gAAA")
    called = calls("add", '{"a": 1, "b": 2}')
    handoff = calls("transfer_to_specialist")
    model = ScriptedModel([[think, called], [says("It is hard."), handoff]])
    return Agent(name="Adder", model=model, tools=[add], handoffs=[specialist])


async def test_new_items_are_stored_as_the_session_of_the_run_stores_them(agent, session, client):
    of_the_run = OpenAIConversationsSession(openai_client=client)
    result = await Runner.run(agent, "1 + 2?", session=of_the_run)
    await session.add_items([{"role": "user", "content": "1 + 2?"}])
    await session.add_items(result.new_items)
    assert 8 == len(await session.get_items())
    assert await of_the_run.get_items() == await session.get_items()


async def test_an_item_that_waits_for_an_approval_is_no_input(agent, session):
    waiting = ToolApprovalItem(agent=agent, raw_item=calls("add"))
    with pytest.raises(InvalidItemError, match=r"items\[1\] .*ToolApprovalItem cannot be converted"):
        await session.add_items([{"role": "user", "content": "Hello"}, waiting])
    assert [] == await session.get_items()
