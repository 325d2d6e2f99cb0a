"""Every model class of the Agents SDK accepts the history of a session, as that of `SQLiteSession`."""

import openai
import pytest
from agents import Agent, Runner, RunState, SQLiteSession, function_tool

from openai_sessions import OpenAIConversationsSession
from openai_sessions.emulator._server import serving
from openai_sessions.encryption import EncryptedSession
from tests.selection import one_in
from tests.servers import Replaceable

from . import completions
from .completions import ModelServer, openai_chat
from .normalised import normalised
from .scripted import add

KEY = "an encryption key of the test"

PLACE = {"url": "https://example.com", "title": "Capitals", "start_index": 0, "end_index": 6}
CITATION = {"type": "url_citation", **PLACE}
SUM = '{"a": 1, "b": 2}'

QUESTIONS = ("1 + 2?", "The capital of France?", "Bye.")

COMPLETIONS = (
    {
        "content": "Let me add.",
        "refusal": "I will not.",
        "reasoning_content": "A sum.",
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "add", "arguments": SUM}}],
    },
    {"content": "3."},
    {"content": "Paris.", "annotations": [{"type": "url_citation", "url_citation": PLACE}]},
    {"content": "Bye."},
)


def says(*parts, **fields):
    return {"type": "message", "role": "assistant", "content": list(parts), **fields}


def text(value, *annotations):
    return {"type": "output_text", "text": value, "annotations": list(annotations)}


REFUSAL = {"type": "refusal", "refusal": "I will not."}

RESPONSES = (
    [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        says(text("Let me add."), REFUSAL),
        {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": SUM},
    ],
    "3.",
    says(text("Paris.", CITATION)),
    "Bye.",
)

CALL = {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": SUM}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "3"}
USER = {"role": "user", "content": "And?"}
ANSWER = {"role": "assistant", "content": "Hello."}

HISTORIES = {
    "several texts": [says(text("One."), text("Two.", CITATION), status="completed")],
    "a refusal": [says(REFUSAL, status="completed")],
    "a text and a refusal": [says(text("Well."), REFUSAL, status="completed")],
    "a phase": [says(text("Looking."), status="completed", phase="commentary")],
    "an unfinished text": [says(text("Once upon a"), status="incomplete")],
    "an unfinished string": [says(text("Once upon a"), status="in_progress")],
    "an empty answer": [says(text(""), status="completed")],
    "logprobs": [
        says({**text("Hi"), "logprobs": [{"token": "Hi", "logprob": 0.0, "bytes": [], "top_logprobs": []}]})
    ],
    "an answer before a call": [says(text("Let me add.")), CALL, OUTPUT],
    "an answer after a call": [CALL, says(text("I added.")), OUTPUT],
    "reasoning before an answer": [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        says(text("Hi.")),
    ],
    "parts of other roles": [
        {
            "type": "message",
            "role": "developer",
            "content": [{"type": "input_text", "text": "Be brief."}] * 2,
        },
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "auto"}],
        },
    ],
    "an unfinished question": [
        {
            "type": "message",
            "role": "user",
            "status": "incomplete",
            "content": [{"type": "input_text", "text": "Wh"}],
        }
    ],
}


def model_classes(*names):
    """Parametrise a test with functions that open a model.

    LiteLLM and any-llm are large, take seconds to import, and leave warnings behind.
    """
    noisy = (pytest.mark.filterwarnings("ignore"), pytest.mark.exhaustive)
    marks = {name: () if name.startswith("openai") else noisy for name in names}
    opened = [pytest.param(getattr(completions, name), marks=marks[name], id=name) for name in names]
    return pytest.mark.parametrize("opened", opened)


chat_models = model_classes("openai_chat", "litellm", "any_llm_chat")

responses_models = model_classes("openai_responses", "any_llm_responses")


@pytest.fixture(scope="module")
def address():
    application = Replaceable()
    with serving(application, host="127.0.0.1", port=0) as application.base_url:
        yield application


@pytest.fixture
def server(emulator, address):
    address.app = ModelServer(emulator)
    return address.app


@pytest.fixture(params=["hosted", "encrypted"])
def both(request, client):
    """The SDK's session and one of ours, in this order."""
    sqlite = SQLiteSession("beside")
    ours = OpenAIConversationsSession(openai_client=client)
    yield sqlite, ours if request.param == "hosted" else EncryptedSession("beside", ours, KEY)
    sqlite.close()


async def ask(model, session, *questions):
    agent = Agent(name="Guide", model=model, tools=[add])
    return [(await Runner.run(agent, question, session=session)).final_output for question in questions]


@chat_models
async def test_turns_with_chat_completions(opened, address, server, both):
    sent = []
    async with opened(address.base_url) as model:
        for session in both:
            server.replies, server.inputs = list(COMPLETIONS), []
            assert ["3.", "Paris.", "Bye."] == await ask(model, session, *QUESTIONS)
            sent.append(server.inputs)
    assert sent[0] == sent[1]
    assert [1, 3, 5, 7] == [len(messages) for messages in sent[1]]


@responses_models
async def test_turns_with_responses(opened, address, server, both):
    sent = []
    async with opened(address.base_url) as model:
        for session in both:
            server.inputs = []
            for reply in RESPONSES:
                server.emulator.reply(reply)
            assert ["3.", "Paris.", "Bye."] == await ask(model, session, *QUESTIONS)
            sent.append(server.inputs)
    assert list(map(normalised, sent[0])) == list(map(normalised, sent[1]))
    assert [] == [item for item in sent[1][-1] if item.get("role") == "assistant" and "id" in item]
    assert [text("Let me add."), REFUSAL] in [item.get("content") for item in sent[1][-1]]


@chat_models
@pytest.mark.parametrize("history", one_in(3, HISTORIES.values()), ids=HISTORIES)
async def test_histories_of_other_models_with_chat_completions(opened, history, address, server, both):
    async with opened(address.base_url) as model:
        for session in both:
            server.replies = [{"content": "Bye."}]
            await session.add_items([USER, *({"id": "x_1", **item} for item in history)])
            try:
                await ask(model, session, "Bye.")
            except openai.BadRequestError:
                if session is both[0]:
                    pytest.skip("this version of the SDK makes an invalid request of this history")
                raise
    first, second = server.inputs
    assert first == second


async def test_the_string_of_an_assistant_is_sent_as_a_string(address, server, client):
    session = OpenAIConversationsSession(openai_client=client)
    await session.add_items([USER, ANSWER, {**ANSWER, "type": "message", "status": "incomplete"}])
    server.replies.append({"content": "Bye."})
    async with openai_chat(address.base_url) as model:
        await ask(model, session, "Bye.")
    assert [ANSWER, ANSWER] == server.inputs[0][1:3]


@function_tool(needs_approval=True)
def delete(path: str) -> str:
    return f"Deleted {path}."


async def test_a_run_continues_after_an_approval_in_another_process(address, server, client):
    """A serialised state makes parts of the strings of an assistant."""
    session = OpenAIConversationsSession(openai_client=client)
    call = {"id": "call_1", "type": "function", "function": {"name": "delete", "arguments": '{"path": "a"}'}}
    server.replies = [{"content": "Hello."}, {"tool_calls": [call]}, {"content": "Done."}]
    async with openai_chat(address.base_url) as model:
        agent = Agent(name="Guide", model=model, tools=[delete])
        await Runner.run(agent, "Hi.", session=session)
        interrupted = await Runner.run(agent, "Delete a.", session=session)
        state = await RunState.from_json(agent, interrupted.to_state().to_json())
        state.approve(state.get_interruptions()[0])
        assert "Done." == (await Runner.run(agent, state, session=session)).final_output
    assert ANSWER == server.inputs[-1][1]


@pytest.mark.parametrize("role", ["user", "assistant"])
async def test_a_field_that_the_model_class_does_not_know_is_not_sent(role, address, server, client):
    """As `phase` was once."""
    store = EncryptedSession("beside", OpenAIConversationsSession(openai_client=client), KEY)
    await store.add_items([{"role": role, "content": "Hello.", "new_field": 1}])
    server.replies.append({"content": "Bye."})
    async with openai_chat(address.base_url) as model:
        await ask(model, store, "Bye.")
    assert [{"role": role, "content": "Hello."}, {"role": "user", "content": "Bye."}] == server.inputs[0]
