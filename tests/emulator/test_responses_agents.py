"""Applications of the Agents SDK with its real model class and HTTP client, and docs/responses.md."""

import agents
import openai
import pytest
from agents import Agent, ModelSettings, RunConfig, Runner, function_tool, handoff

from openai_sessions import OpenAIConversationsSession
from openai_sessions.emulator import Fault
from tests.docs.markdown import code_blocks, promised_output
from tests.examples.stand_in import ROOT, run_python

from .responding import MODEL
from .wire import KEY

DOCUMENT = "docs/responses.md"
UNTRACED = RunConfig(tracing_disabled=True)


@function_tool
def add(a: int, b: int) -> int:
    return a + b


async def run(agent, given, **options):
    return await Runner.run(agent, given, run_config=UNTRACED, **options)


async def run_streamed(agent, given, **options):
    result = Runner.run_streamed(agent, given, run_config=UNTRACED, **options)
    async for _ in result.stream_events():
        pass
    return result


@pytest.fixture
async def client(base_url):
    async with openai.AsyncOpenAI(api_key=KEY, base_url=base_url) as client:
        yield client


@pytest.fixture
def model(client):
    return agents.OpenAIResponsesModel(model=MODEL, openai_client=client)


@pytest.fixture(params=[run, run_streamed], ids=lambda runner: runner.__name__)
def runner(request):
    return request.param


@pytest.fixture
def session(runner, client):
    """This library's session for one runner, the Agents SDK's for the other."""
    session_class = OpenAIConversationsSession if runner is run else agents.OpenAIConversationsSession
    return session_class(openai_client=client)


def calls(name, **arguments):
    return {"type": "function_call", "name": name, "arguments": arguments}


async def stored(session):
    """Return the types of the items of a session, with roles for messages."""
    return [item.get("role") or item["type"] for item in await session.get_items()]


async def test_turns_with_a_session(emulator, model, runner, session):
    """The model sees the first turn in the second."""
    emulator.reply("In San Francisco.")
    emulator.reply(lambda request: f"After {len(request.items) - 1} items: {request.body['instructions']}")
    agent = Agent(name="Guide", instructions="Be brief.", model=model)
    assert "In San Francisco." == (await runner(agent, "Where is it?", session=session)).final_output
    assert "After 2 items: Be brief." == (await runner(agent, "And?", session=session)).final_output
    assert ["user", "assistant"] * 2 == await stored(session)


async def test_function_tool(emulator, model, runner, session):
    emulator.reply([{"type": "reasoning", "id": "rs_1", "summary": []}, calls("add", a=2, b=3)])
    emulator.reply(lambda request: request.items[-1]["output"])
    agent = Agent(name="Adder", model=model, tools=[add])
    assert "5" == (await runner(agent, "2 + 3?", session=session)).final_output
    kept = [kind for kind in await stored(session) if kind != "reasoning"]
    assert ["user", "function_call", "function_call_output", "assistant"] == kept


HOSTED = (
    {"type": "web_search_call", "action": {"type": "search", "query": "rain"}},
    {"type": "file_search_call", "queries": ["rain"]},
    {"type": "code_interpreter_call", "code": "print(1)"},
    {"type": "image_generation_call", "result": "aW1n"},
    {"type": "mcp_list_tools", "server_label": "dice", "tools": [{"name": "roll", "input_schema": {}}]},
    {"type": "mcp_call", "server_label": "dice", "name": "roll", "output": "4"},
)


async def test_hosted_tools(emulator, model, runner, session):
    """The model sees the calls of the first turn in the second, whether they were streamed or not."""
    emulator.reply([*HOSTED, "It rains."])
    emulator.reply(lambda request: " ".join(item["type"] for item in request.items[1:-2]))
    agent = Agent(name="Guide", model=model)
    assert "It rains." == (await runner(agent, "Rain?", session=session)).final_output
    types = [item["type"] for item in HOSTED]
    assert ["user", *types, "assistant"] == await stored(session)
    assert " ".join(types) == (await runner(agent, "Sure?", session=session)).final_output


async def test_handoff(emulator, model, runner, session):
    specialist = Agent(name="Specialist", instructions="Know it all.", model=model)
    front = Agent(name="Front", instructions="Hand it on.", model=model, handoffs=[handoff(specialist)])
    emulator.reply(calls("transfer_to_specialist"))
    emulator.reply(lambda request: request.body["instructions"])
    result = await runner(front, "Who knows?", session=session)
    assert ("Know it all.", "Specialist") == (result.final_output, result.last_agent.name)
    assert 1 == sum(request.operation == "create_conversation" for request in emulator.requests)


async def test_conversation_kept_by_the_api(emulator, client, model, runner):
    """With `conversation_id` the API keeps the turns, and each request contains only new items."""
    conversation = await client.conversations.create()
    emulator.reply(calls("add", a=2, b=3), conversation_id=conversation.id)
    emulator.reply("5, I think.", conversation_id=conversation.id)
    emulator.reply(lambda request: str(len(request.items)), conversation_id=conversation.id)
    agent = Agent(name="Adder", model=model, tools=[add])
    first = await runner(agent, "2 + 3?", conversation_id=conversation.id)
    second = await runner(agent, "Sure?", conversation_id=conversation.id)
    assert ("5, I think.", "5") == (first.final_output, second.final_output)
    sent = [
        len(request.body["input"]) for request in emulator.requests if request.operation == "create_response"
    ]
    assert [1, 1, 1] == sent
    session = OpenAIConversationsSession(conversation_id=conversation.id, openai_client=client)
    expected = ["user", "function_call", "function_call_output", "assistant", "user", "assistant"]
    assert expected == await stored(session)


async def test_previous_response(emulator, model, runner):
    emulator.reply("Hello")
    emulator.reply(lambda request: "|".join(request.texts))
    agent = Agent(name="Guide", model=model)
    first = await runner(agent, "a")
    second = await runner(agent, "b", previous_response_id=first.last_response_id)
    assert "a|Hello|b" == second.final_output


async def test_output_type(emulator, model, runner):
    emulator.reply('{"response": [1, 2]}')
    agent = Agent(name="Lister", model=model, output_type=list[int])
    assert [1, 2] == (await runner(agent, "Count")).final_output


async def test_required_tool(emulator, model, runner):
    """The emulator invents no call: its error says so, and is not retried."""
    agent = Agent(
        name="Adder", model=model, tools=[add], model_settings=ModelSettings(tool_choice="required")
    )
    with pytest.raises(openai.BadRequestError) as caught:
        await runner(agent, "2 + 3?")
    assert ("no_scripted_reply", 1) == (caught.value.code, len(emulator.requests))


@pytest.mark.exhaustive
async def test_rate_limit_is_retried(emulator, model, runner, session):
    emulator.inject(Fault("throttled", retry_after=0), operation="create_response")
    agent = Agent(name="Guide", model=model)
    assert "You said: Hello" == (await runner(agent, "Hello", session=session)).final_output
    assert [429, 200] == [
        request.status for request in emulator.requests if request.operation == "create_response"
    ]


async def test_usage_is_reported(emulator, model, runner):
    emulator.reply("one two three")
    agent = Agent(name="Guide", model=model, instructions="Be brief.")
    usage = (await runner(agent, "Hello there")).context_wrapper.usage
    assert (1, 4, 3, 7) == (usage.requests, usage.input_tokens, usage.output_tokens, usage.total_tokens)


async def test_session_id_is_a_conversation_for_the_openai_package(emulator, client, session):
    """The session reads what `responses.create` adds."""
    await session.add_items([{"role": "user", "content": "The bridge opened in 1937."}])
    name = await session._get_session_id() if hasattr(session, "_get_session_id") else session.session_id
    emulator.reply(lambda request: request.texts[0])
    response = await client.responses.create(model=MODEL, input="Who am I?", conversation=name)
    assert "The bridge opened in 1937." == response.output_text
    assert ["user", "user", "assistant"] == await stored(session)


PROGRAM = """
import asyncio
from agents import Agent, Runner
from openai_sessions import OpenAIConversationsSession

async def main():
    agent = Agent(name="Guide", instructions="Be brief.")
    async with OpenAIConversationsSession() as session:
        for question in ("Hello", "Again"):
            print((await Runner.run(agent, question, session=session)).final_output)

asyncio.run(main())
"""


def test_unchanged_program_runs_on_the_emulator(emulator, base_url):
    """Its default model and clients use OPENAI_BASE_URL."""
    finished = run_python("-c", PROGRAM, base_url=base_url)
    assert (0, ["You said: Hello", "You said: Again"]) == (
        finished.returncode,
        finished.stdout.splitlines(),
    ), finished.stderr
    assert 2 == sum(request.operation == "create_response" for request in emulator.requests)


@pytest.mark.exhaustive
def test_document_runs_and_prints_what_it_says():
    blocks = code_blocks((ROOT / DOCUMENT).read_text(), "python")
    assert [3, 2, 2, 3, 2, 2, 1] == [len(promised_output(block)) for block in blocks]
    finished = run_python("-m", "tests.docs.run_blocks", DOCUMENT, base_url="http://127.0.0.1:9/v1")
    assert (0, "") == (finished.returncode, finished.stderr)
