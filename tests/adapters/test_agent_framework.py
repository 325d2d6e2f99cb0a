"""Agents of Agent Framework whose history is in hosted conversations, over the emulator."""

import asyncio
import json

import openai
import pytest

pytest.importorskip("agent_framework", reason="agent-framework-openai is not installed")

from agent_framework import Agent, AgentResponse, AgentSession, Message, SessionContext, tool
from agent_framework.openai import OpenAIChatClient

from openai_sessions import (
    ConversationNotFoundError,
    InvalidItemError,
    OpenAIConversationsSession,
    RequestSettings,
)
from openai_sessions.adapters.agent_framework import OpenAIConversationsHistoryProvider
from openai_sessions.directory import SessionDirectory
from openai_sessions.emulator import Fault
from tests.faults.stage import Gate, Stage
from tests.wire import FAST

SOURCE = "openai_conversations"

WEATHER = [
    {
        "type": "reasoning",
        "encrypted_content": "gAAAA",
        "summary": [{"type": "summary_text", "text": "Look it up."}],
    },
    {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": {"city": "Paris"}},
]
"""What a model says that wants to know the weather."""


def weather(city: str) -> str:
    """Return the weather."""
    return f"It is sunny in {city}."


@pytest.fixture
async def client(emulator):
    async with emulator.client() as client:
        yield client


@pytest.fixture
def provider(client):
    return OpenAIConversationsHistoryProvider(
        openai_client=client, requests=RequestSettings(retry_policy=FAST)
    )


def agent_of(client, provider, **options):
    chat_client = OpenAIChatClient(model="gpt-4.1-mini", async_client=client)
    return Agent(
        client=chat_client, context_providers=[provider], default_options={"store": False}, **options
    )


def copy_of(session):
    """Return a session as another process restores it."""
    return AgentSession.from_dict(json.loads(json.dumps(session.to_dict())))


def id_of(session):
    return session.state[SOURCE]["conversation_id"]


def requests_of(emulator, *operations):
    return [request.body for request in emulator.requests if request.operation in operations]


def texts(messages):
    return [(message.role, message.text) for message in messages]


async def test_run_is_stored_in_one_request_and_shown_to_the_next(emulator, client, provider):
    for reply in (WEATHER, "It is sunny.", "You are welcome."):
        emulator.reply(reply)
    agent = agent_of(client, provider, tools=[weather])
    session = agent.create_session()

    await agent.run("How is Paris?", session=session)

    items = [
        {"role": "user", "content": "How is Paris?"},
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "Look it up."}],
            "encrypted_content": "gAAAA",
        },
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Paris"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "It is sunny in Paris."},
        {
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "It is sunny.", "annotations": []}],
        },
    ]
    assert [items] == [body["items"] for body in requests_of(emulator, "create_items")]
    hosted = OpenAIConversationsSession(conversation_id=id_of(session), openai_client=client)
    assert [*items[:-1], {"role": "assistant", "content": "It is sunny."}] == await hosted.get_items()

    emulator.forget_requests()
    await agent.run("Thanks!", session=session)

    assert ["list_items", "create_response", "create_items"] == [each.operation for each in emulator.requests]
    reasoning_id = emulator.items(id_of(session))[1]["id"]
    (asked,) = requests_of(emulator, "create_response")
    assert [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "How is Paris?"}]},
        {**items[1], "id": reasoning_id},
        {**items[2], "id": "fc_call_1"},
        items[3],
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "It is sunny.", "annotations": []}],
        },
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Thanks!"}]},
    ] == asked["input"]


async def test_streamed_run_is_stored_like_another(emulator, client, provider):
    emulator.reply("Hi there!")
    agent = agent_of(client, provider)
    session = agent.create_session()
    stream = agent.run("Hello", session=session, stream=True)
    async for _ in stream:
        pass
    await stream.get_final_response()
    stored = await provider.get_messages(None, state=session.state[SOURCE])
    assert [("user", "Hello"), ("assistant", "Hi there!")] == texts(stored)


async def test_session_is_resumed_in_another_process(emulator, client, provider):
    emulator.reply("Hi, Ann!")
    emulator.reply("Ann.")
    agent = agent_of(client, provider)
    session = agent.create_session()
    await agent.run("I am Ann.", session=session)

    resumed = copy_of(session)
    async with emulator.client() as elsewhere:
        other = agent_of(elsewhere, OpenAIConversationsHistoryProvider(openai_client=elsewhere))
        await other.run("Who am I?", session=resumed)

    assert [{"conversation_id": id_of(session)}] == list(resumed.state.values())
    stored = await provider.get_messages(session.session_id, state=session.state[SOURCE])
    assert ["I am Ann.", "Hi, Ann!", "Who am I?", "Ann."] == [message.text for message in stored]


@pytest.mark.parametrize("approved", [True, False])
async def test_approval_is_given_in_another_process(emulator, client, provider, approved):
    emulator.reply(WEATHER)
    emulator.reply("It is done.")
    agent = agent_of(client, provider, tools=[tool(weather, approval_mode="always_require")])
    session = agent.create_session()
    (request,) = (await agent.run("How is Paris?", session=session)).user_input_requests

    resumed = copy_of(session)
    answer = Message("user", [request.to_function_approval_response(approved)])
    await agent.run(answer, session=resumed)

    output = "It is sunny in Paris." if approved else "Error: Tool call invocation was rejected by user."
    stored = [(item["type"], item.get("output")) for item in emulator.items(id_of(session))]
    assert [
        ("message", None),
        ("reasoning", None),
        ("function_call", None),
        ("function_call_output", output),
        ("message", None),
    ] == stored


async def test_each_call_of_the_model_can_be_stored_at_once(emulator, client, provider):
    emulator.reply(WEATHER)
    agent = agent_of(client, provider, tools=[weather], require_per_service_call_history_persistence=True)
    session = agent.create_session()
    with pytest.raises(Exception, match="no reply for this request"):
        await agent.run("How is Paris?", session=session)
    assert ["message", "reasoning", "function_call"] == [
        item["type"] for item in emulator.items(id_of(session))
    ]


async def test_failed_run_stores_nothing(emulator, client, provider):
    """The model calls a tool, and then has no answer."""
    emulator.reply(WEATHER)
    agent = agent_of(client, provider, tools=[weather])
    session = agent.create_session()
    with pytest.raises(Exception, match="no reply for this request"):
        await agent.run("How is Paris?", session=session)
    assert ["create_response"] * 2 == [request.operation for request in emulator.requests]
    assert {} == session.state[SOURCE]


async def test_lost_replies_store_a_run_once(emulator, client, provider):
    emulator.inject(Fault("cut_after_commit"), operation="create_items")
    agent = agent_of(client, provider)
    session = agent.create_session()
    await agent.run("Hello", session=session)
    assert () == emulator.unmet_faults
    assert 2 == len(emulator.items(id_of(session)))


async def test_cancelled_save_stores_nothing_and_the_session_goes_on(emulator):
    stage, gate = Stage(emulator), Gate()
    stage.at("create_items", 0, gate.after)
    provider = OpenAIConversationsHistoryProvider(openai_client=stage.client)
    state = {}
    saving = asyncio.ensure_future(provider.save_messages("s", [Message("user", ["Hello"])], state=state))
    await gate.reached.wait()
    saving.cancel()
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert () == emulator.items(state["conversation_id"])

    await provider.save_messages("s", [Message("user", ["Again"])], state=state)
    assert [("user", "Again")] == texts(await provider.get_messages("s", state=state))


async def test_two_runs_at_once_that_are_the_first_use_one_conversation(emulator, client, provider):
    agent = agent_of(client, provider)
    session = agent.create_session()
    await asyncio.gather(agent.run("One", session=session), agent.run("Two", session=session))
    assert [id_of(session)] == [conversation.id for conversation in emulator.conversations()]
    assert 4 == len(emulator.items(id_of(session)))


async def test_two_sessions_at_once_have_a_conversation_each(emulator, client, provider):
    agent = agent_of(client, provider)
    sessions = [agent.create_session(session_id="same") for _ in range(2)]
    await asyncio.gather(*(agent.run("Hello", session=session) for session in sessions))
    assert 2 == len(set(map(id_of, sessions))) == len(emulator.conversations())


async def test_conversation_is_found_by_session_id_in_a_directory(emulator, client, tmp_path):
    async with SessionDirectory(
        f"sqlite+aiosqlite:///{tmp_path}/names.db", openai_client=client
    ) as directory:
        await directory.create_tables()
        agent = agent_of(client, OpenAIConversationsHistoryProvider(directory=directory))
        session = agent.create_session(session_id="chat-7")
        await agent.run("Hello", session=session)
        assert {SOURCE: {}} == session.state
        named = await directory.session("chat-7")
        assert ["user", "assistant"] == [item["role"] for item in await named.get_items()]
        provider = OpenAIConversationsHistoryProvider(directory=directory)
        with pytest.raises(ValueError, match="session_id is None"):
            await provider.get_messages(None)


async def test_client_of_the_environment_is_opened_for_each_operation(emulator, monkeypatch):
    with emulator.serve() as base_url:
        monkeypatch.setenv("OPENAI_BASE_URL", base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-emulator")
        provider, state = OpenAIConversationsHistoryProvider(), {}
        await provider.save_messages(None, [Message("user", ["Hello"])], state=state)
        assert [("user", "Hello")] == texts(await provider.get_messages(None, state=state))


async def test_newest_turns_are_loaded(client):
    provider, state = OpenAIConversationsHistoryProvider(openai_client=client, max_turns=1), {}
    messages = [Message(role, [text]) for role, text in [("user", "1"), ("assistant", "2"), ("user", "3")]]
    await provider.save_messages("s", messages, state=state)
    assert [("user", "3")] == texts(await provider.get_messages("s", state=state))


async def test_nothing_to_read_or_store_makes_no_request(emulator, provider):
    state = {}
    assert [] == await provider.get_messages("s", state=state)
    await provider.save_messages("s", [], state=state)
    assert ((), {}) == (emulator.requests, state)


async def test_conversation_that_is_gone_is_not_replaced(emulator, provider):
    state = {"conversation_id": "conv_1"}
    with pytest.raises(ConversationNotFoundError):
        await provider.get_messages("s", state=state)
    with pytest.raises(ConversationNotFoundError):
        await provider.save_messages("s", [Message("user", ["Hello"])], state=state)
    assert ((), {"conversation_id": "conv_1"}) == (emulator.conversations(), state)


async def test_wrong_arguments_are_refused_before_any_request(emulator, client, provider):
    with pytest.raises(TypeError, match="synchronous"):
        OpenAIConversationsHistoryProvider(openai_client=openai.OpenAI(api_key="sk"))
    with pytest.raises(ValueError, match="directory= has a client"):
        OpenAIConversationsHistoryProvider(openai_client=client, directory=SessionDirectory())
    with pytest.raises(TypeError, match="max_turns"):
        OpenAIConversationsHistoryProvider(openai_client=client, max_turns="2")
    with pytest.raises(ValueError, match="state is None"):
        await provider.get_messages("s")
    with pytest.raises(InvalidItemError, match="UTF-8"):
        await provider.save_messages("s", [Message("user", ["\ud800"])], state={})
    assert () == emulator.requests


# What the framework's own tests ask of every history provider.


def test_options_are_those_of_the_frameworks_providers(client):
    provider = OpenAIConversationsHistoryProvider("audit", openai_client=client, load_messages=False)
    assert ("audit", False, True, True, False, None) == (
        provider.source_id,
        provider.load_messages,
        provider.store_inputs,
        provider.store_outputs,
        provider.store_context_messages,
        provider.store_context_from,
    )


async def test_history_is_attributed_to_the_provider(provider):
    session = AgentSession()
    state = session.state.setdefault(SOURCE, {})
    await provider.save_messages(session.session_id, [Message("user", ["Hello"])], state=state)
    context = SessionContext(session_id=session.session_id, input_messages=[])
    await provider.before_run(agent=None, session=session, context=context, state=state)
    (loaded,) = context.context_messages[SOURCE]
    assert {
        "source_id": SOURCE,
        "source_type": "OpenAIConversationsHistoryProvider",
    } == loaded.additional_properties["_attribution"]


@pytest.mark.parametrize(
    ("options", "stored"),
    [
        ({}, ["input", "output"]),
        ({"store_inputs": False}, ["output"]),
        ({"store_outputs": False}, ["input"]),
        ({"store_inputs": False, "store_outputs": False}, []),
        ({"store_context_messages": True}, ["of a", "of b", "input", "output"]),
        ({"store_context_messages": True, "store_context_from": {"b"}}, ["of b", "input", "output"]),
    ],
)
async def test_what_is_stored_is_chosen_by_options(client, options, stored):
    provider = OpenAIConversationsHistoryProvider(openai_client=client, **options)
    session = AgentSession()
    state = session.state.setdefault(SOURCE, {})
    context = SessionContext(session_id="s", input_messages=[Message("user", ["input"])])
    for source in ("a", "b", SOURCE):
        context.extend_messages(source, [Message("user", [f"of {source}"])])
    context._response = AgentResponse(messages=[Message("assistant", ["output"])])
    await provider.after_run(agent=None, session=session, context=context, state=state)
    assert stored == [message.text for message in await provider.get_messages("s", state=state)]
