"""Chains and chat models of LangChain whose messages are in hosted conversations, over the emulator."""

import asyncio
import warnings

import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed")

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from openai_sessions import EncryptedSession, InvalidItemError, OpenAIConversationsSession, sync
from openai_sessions.adapters.langchain import OpenAIConversationsChatMessageHistory
from openai_sessions.emulator import Fault
from tests.faults.stage import Gate, Stage

HELLO, HI = HumanMessage("Hello"), AIMessage("Hi there!")

PROMPT = ChatPromptTemplate.from_messages(
    [("system", "Be brief."), MessagesPlaceholder("history"), ("human", "{question}")]
)


@pytest.fixture
def session(emulator):
    with sync.OpenAIConversationsSession(openai_client=emulator.client()) as session:
        yield session


@pytest.fixture
async def async_session(emulator):
    async with OpenAIConversationsSession(openai_client=emulator.client()) as session:
        yield session


def chain_of(session, *answers, **keys):
    """Return a chain that answers one after another, and the messages that its model was shown."""
    shown = []
    model = GenericFakeChatModel(messages=iter(map(AIMessage, answers)))
    recorded = RunnableLambda(lambda value: shown.append(list(value.messages)) or value)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "RunnableWithMessageHistory is deprecated")
        chain = RunnableWithMessageHistory(
            PROMPT | recorded | model,
            lambda: OpenAIConversationsChatMessageHistory(session),
            input_messages_key="question",
            history_messages_key="history",
        )
    return chain, shown


def operations(emulator):
    return [request.operation for request in emulator.requests]


def expected(*messages):
    return [SystemMessage("Be brief."), *messages]


def test_chain_remembers(emulator, session):
    chain, shown = chain_of(session, "Hi there!", "Ann.")
    chain.invoke({"question": "Hello"})
    assert ["create_conversation", "create_items"] == operations(emulator)
    assert [
        {"role": "user", "content": "Hello"},
        {
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hi there!", "annotations": []}],
        },
    ] == emulator.requests[-1].body["items"]

    emulator.forget_requests()
    chain.invoke({"question": "Who am I?"})
    assert ["list_items", "create_items"] == operations(emulator)
    assert [expected(HELLO), expected(HELLO, HI, HumanMessage("Who am I?"))] == shown


async def test_chain_remembers_without_a_thread(emulator, async_session):
    chain, shown = chain_of(async_session, "Hi there!", "Ann.")
    await chain.ainvoke({"question": "Hello"})
    async for _ in chain.astream({"question": "Who am I?"}):
        pass
    assert ["create_conversation", "create_items", "list_items", "create_items"] == operations(emulator)
    assert [expected(HELLO), expected(HELLO, HI, HumanMessage("Who am I?"))] == shown
    history = OpenAIConversationsChatMessageHistory(async_session)
    assert [HELLO, HI, HumanMessage("Who am I?"), AIMessage("Ann.")] == await history.aget_messages()


def test_streamed_chain_is_stored_like_another(session):
    chain, _ = chain_of(session, "Hi there!")
    assert ["Hi", " ", "there!"] == [chunk.content for chunk in chain.stream({"question": "Hello"})][:3]
    assert [HELLO, HI] == OpenAIConversationsChatMessageHistory(session).messages


def test_chain_that_fails_stores_nothing(emulator, session):
    chain, _ = chain_of(session)
    with pytest.raises(StopIteration):
        chain.invoke({"question": "Hello"})
    assert () == emulator.requests


def test_chain_logs_that_its_history_failed(emulator, session, caplog):
    """A fact of LangChain that docs/langchain.md tells."""
    emulator.inject(Fault("quota"), operation="create_items")
    chain, _ = chain_of(session, "Hi there!")
    assert "Hi there!" == chain.invoke({"question": "Hello"}).content
    assert "Error in RootListenersTracer" in caplog.text
    assert () == emulator.items(session.session_id)


async def test_history_over_a_synchronous_session_serves_both(emulator, session):
    history = OpenAIConversationsChatMessageHistory(session)
    await history.aadd_messages([HELLO, HI])
    assert [HELLO, HI] == await history.aget_messages() == history.messages
    assert "Human: Hello\nAI: Hi there!" == str(history)
    await history.aclear()
    history.add_user_message("Hello")
    history.add_ai_message("Hi there!")
    assert [HELLO, HI] == history.messages
    history.clear()
    assert ([], ()) == (history.messages, emulator.conversations())


async def test_history_over_an_async_session_says_what_to_use(emulator, async_session):
    history = OpenAIConversationsChatMessageHistory(async_session)
    for method in (lambda: history.messages, lambda: history.add_messages([HELLO]), history.clear):
        with pytest.raises(TypeError, match=r"this history has an async session: use ainvoke\(\)"):
            method()
    await history.aadd_messages([HELLO])
    await history.aclear()
    assert ([], ()) == (await history.aget_messages(), emulator.conversations())


async def test_nothing_to_read_or_store_makes_no_request(emulator, async_session):
    history = OpenAIConversationsChatMessageHistory(async_session)
    await history.aadd_messages([])
    assert ([], ()) == (await history.aget_messages(), emulator.requests)


async def test_session_may_be_encrypted(emulator, async_session):
    cryptography = pytest.importorskip("cryptography.fernet")
    key = cryptography.Fernet.generate_key()
    async with EncryptedSession("user", async_session, key) as encrypted:
        history = OpenAIConversationsChatMessageHistory(encrypted)
        await history.aadd_messages([HELLO, HI])
        assert [HELLO, HI] == await history.aget_messages()
    assert {"user"} == {item["role"] for item in emulator.items(async_session.session_id)}


@pytest.mark.parametrize("make", ["sync", "async"])
async def test_lost_reply_stores_messages_once(emulator, session, async_session, make):
    history = OpenAIConversationsChatMessageHistory(session if make == "sync" else async_session)
    emulator.inject(Fault("cut_after_commit"), operation="create_items")
    await history.aadd_messages([HELLO, HI])
    assert () == emulator.unmet_faults
    assert [HELLO, HI] == await history.aget_messages()


async def test_cancelled_save_stores_nothing(emulator):
    stage, gate = Stage(emulator), Gate()
    stage.at("create_items", 0, gate.after)
    session = OpenAIConversationsSession(openai_client=stage.client)
    history = OpenAIConversationsChatMessageHistory(session)
    saving = asyncio.ensure_future(history.aadd_messages([HELLO, HI]))
    await gate.reached.wait()
    saving.cancel()
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert [] == await history.aget_messages()


async def test_two_processes_share_a_conversation(emulator, async_session):
    await async_session.add_items([{"role": "user", "content": "Hello"}])
    other = OpenAIConversationsSession(
        conversation_id=async_session.session_id, openai_client=emulator.client()
    )
    await OpenAIConversationsChatMessageHistory(other).aadd_messages([HI])
    assert [HELLO, HI] == await OpenAIConversationsChatMessageHistory(async_session).aget_messages()


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (RemoveMessage(id="1"), "it is a RemoveMessage, which no item can hold: use HumanMessage"),
        (ChatMessage("Once", role="narrator"), "it is a ChatMessage with the role 'narrator', which no item"),
        (FunctionMessage("3", name="add"), "it is a FunctionMessage, which no item can hold"),
        (
            AIMessage("", tool_calls=[{"name": "add", "args": {}, "id": None}]),
            "one of its tool calls has no id to answer it by",
        ),
        (HumanMessage([{"type": "image", "base64": "iVBORw0KGgo="}]), "one of its blocks has no 'mime_type'"),
        (AIMessage([{"text": "Hi"}]), "one of its blocks has no 'type'"),
    ],
    ids=["remove", "chat", "function", "call without id", "image without type", "block without type"],
)
async def test_message_that_cannot_be_stored_is_refused_before_any_request(
    emulator, async_session, message, reason
):
    history = OpenAIConversationsChatMessageHistory(async_session)
    with pytest.raises(InvalidItemError, match=rf"items\[1\] cannot be stored: {reason}"):
        await history.aadd_messages([HELLO, message])
    assert () == emulator.requests


WEATHER = [
    {
        "type": "reasoning",
        "encrypted_content": "gAAAA",
        "summary": [{"type": "summary_text", "text": "Look it up."}],
    },
    {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": {"city": "Paris"}},
]
"""What a model says that wants to know the weather."""


@pytest.mark.exhaustive
@pytest.mark.parametrize("output_version", ["responses/v1", "v1"])
def test_chat_model_of_openai_is_shown_its_items_again(emulator, session, output_version):
    chat_models = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
    for reply in (WEATHER, "It is sunny.", "You are welcome."):
        emulator.reply(reply)
    history = OpenAIConversationsChatMessageHistory(session)
    with emulator.serve() as base_url:
        model = chat_models.ChatOpenAI(
            model="gpt-5",
            base_url=base_url,
            api_key="sk-emulator",
            use_responses_api=True,
            store=False,
            output_version=output_version,
            include=["reasoning.encrypted_content"],
        )
        history.add_messages([HumanMessage("How is Paris?")])
        called = model.invoke(history.messages)
        history.add_messages([called, ToolMessage("Sunny.", tool_call_id="call_1")])
        history.add_messages([model.invoke(history.messages)])
        model.invoke([*history.messages, HumanMessage("Thanks!")])
        model.root_client.close()

    asked = [request.body["input"] for request in emulator.requests if request.operation == "create_response"]
    assert [
        {"type": "message", "role": "user", "content": "How is Paris?"},
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "Look it up."}],
            "encrypted_content": "gAAAA",
        },
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Paris"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "Sunny."},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "It is sunny.", "annotations": []}],
        },
        {"type": "message", "role": "user", "content": "Thanks!"},
    ] == [{key: value for key, value in item.items() if key != "id"} for item in asked[-1]]
    assert ["message", "reasoning", "function_call", "function_call_output", "message"] == [
        item["type"] for item in emulator.items(session.session_id)
    ]
