"""Programs that make their own clients are tested as they are; their surroundings are restored."""

import pytest

PROGRAM = '''
"""A program that knows nothing of tests: it makes its clients where it needs them."""

from agents import Agent, Runner, function_tool
from openai import AsyncOpenAI
from openai_sessions import OpenAIConversationsSession


@function_tool
def add(a: int, b: int) -> int:
    return a + b


async def ask(question, conversation_id=None):
    agent = Agent(name="Guide", instructions="Answer in one short sentence.", tools=[add])
    async with OpenAIConversationsSession(conversation_id=conversation_id) as session:
        result = await Runner.run(agent, question, session=session)
        return result.final_output, session.session_id


async def forget(conversation_id):
    async with AsyncOpenAI() as client:
        await client.conversations.delete(conversation_id)
'''

ASYNC = '''
import pytest
from openai_sessions import ConversationNotFoundError
from program import ask, forget

pytestmark = pytest.mark.usefixtures("openai_environment")


@pytest.mark.parametrize("number", range(3))
async def test_program(number, conversations):
    """Each test has an emulator of its own, and none meets a connection of an earlier event loop."""
    answer, conversation_id = await ask("What is in San Francisco?")
    assert answer == "You said: What is in San Francisco?"
    assert await ask("And then?", conversation_id) == ("You said: And then?", conversation_id)
    assert [request.path for request in conversations.requests].count("/v1/responses") == 2
    await forget(conversation_id)
    with pytest.raises(ConversationNotFoundError):
        await ask("Still there?", conversation_id)


async def test_tool(conversations):
    conversations.reply([{"type": "function_call", "name": "add", "arguments": {"a": 2, "b": 3}}])
    conversations.reply("That makes 5.")
    assert (await ask("What is 2 + 3?"))[0] == "That makes 5."
'''

SYNC = """
import asyncio

import pytest
from agents import Agent, Runner
from openai_sessions import OpenAIConversationsSession
from program import ask


def test_two_loops(openai_environment):
    _, conversation_id = asyncio.run(ask("Hello"))
    assert asyncio.run(ask("And then?", conversation_id))[0] == "You said: And then?"


# httpx reads every body through asynchronous generators, which the loop of run_sync counts as late.
@pytest.mark.filterwarnings("ignore:asynchronous generator .* was scheduled after:ResourceWarning")
def test_run_sync(openai_environment):
    session = OpenAIConversationsSession()
    agent = Agent(name="Guide")
    for question in ("Hello", "And then?"):
        result = Runner.run_sync(agent, question, session=session)
        assert result.final_output == f"You said: {question}"
    asyncio.get_event_loop_policy().get_event_loop().run_until_complete(session.aclose())
"""


@pytest.mark.exhaustive
def test_program_of_the_agents_sdk(project):
    project.write("program.py", PROGRAM)
    project.write("test_async.py", ASYNC)
    project.write("test_sync.py", SYNC)
    project.run().assert_outcomes(passed=6)


RESTORED = """
import os

import agents
import openai
from agents.models import _openai_shared, openai_provider
from agents.tracing import get_trace_provider

NAMES = [
    "OPENAI_AGENTS_DISABLE_TRACING", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"
]


def surroundings():
    return (
        {name: os.environ.get(name) for name in NAMES},
        _openai_shared.get_default_openai_client(),
        _openai_shared.get_default_openai_key(),
        openai_provider._http_client,
        get_trace_provider(),
    )


agents.set_default_openai_client(openai.AsyncOpenAI(api_key="sk-theirs"), use_for_tracing=False)
agents.set_default_openai_key("sk-theirs", use_for_tracing=False)
BEFORE = surroundings()


def test_within(openai_environment):
    with openai.OpenAI() as client:
        assert client.conversations.create().object == "conversation"
        assert client.base_url == openai_environment + "/"
        assert client.api_key == "sk-stand-in"
        assert (client.organization, client.project) == (None, None)
    variables, *state = surroundings()
    assert set(variables.values()) == {openai_environment, "sk-stand-in", "1", None}
    assert not any(now is then for now, then in zip(state, BEFORE[1:], strict=True))


def test_of_a_session_alone(conversation_session):
    assert os.environ["OPENAI_API_KEY"] == "sk-theirs"
    assert _openai_shared.get_default_openai_key() == "sk-theirs"
    with agents.trace("not sent") as trace:
        assert trace.export() is None


def test_after():
    assert surroundings() == BEFORE
"""


@pytest.mark.exhaustive
def test_surroundings_are_restored(project, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-theirs")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-theirs")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-theirs")
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://192.0.2.1:3128")  # not asked for what is on loopback
    project.run_tests(RESTORED).assert_outcomes(passed=3)


IMPORTED_LATE = """
import sys

async def test_that_imports_agents(conversations):
    assert "agents" not in sys.modules
    import agents
    with agents.trace("not sent") as trace:
        assert trace.export() is None

def test_after():
    import agents
    from agents.tracing.setup import GLOBAL_TRACE_PROVIDER
    assert GLOBAL_TRACE_PROVIDER is None
"""


@pytest.mark.exhaustive
def test_traces_of_a_program_that_is_imported_by_its_test(project):
    project.run_tests(IMPORTED_LATE, knows_agents=False).assert_outcomes(passed=2)


ANOTHER_AGENTS = """
from openai import AsyncOpenAI
from agents import NAME

async def test_program(openai_environment):
    assert NAME == "a module of the project"
    async with AsyncOpenAI() as client:
        await client.conversations.create()
"""


@pytest.mark.exhaustive
def test_module_of_the_project_that_is_called_agents(project):
    project.write("agents.py", 'NAME = "a module of the project"\n')
    project.run_tests(ANOTHER_AGENTS, knows_agents=False).assert_outcomes(passed=1)
