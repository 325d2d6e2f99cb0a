"""Agents of Pydantic AI whose conversations are stored and continued, by real runs."""

import asyncio
import re

import pytest
from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation, ConversationTypeAdapter
from pydantic_ai.exceptions import ApprovalRequired
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import DeferredToolRequests, RunContext
from starlette.applications import Starlette
from starlette.routing import Route

from openai_sessions.adapters.pydantic_ai import OpenAIConversationStore
from openai_sessions.directory import SessionDirectory
from tests.wire import HTTP_FAMILY

from .stage import made, said


async def ask(store, agent, question, **options):
    """Load the conversation, run the agent, and save the turn."""
    conversation = await store.load("7f3a", **options) or Conversation(conversation_id="7f3a")
    result = await agent.run(question, conversation=conversation)
    await store.save(result)
    return result


async def test_run_goes_on_in_another_process(store, other):
    agent = Agent(TestModel(custom_output_text="4"), instructions="Add.")

    @agent.tool_plain
    def add(a: int, b: int) -> int:
        return a + b

    first = await ask(store, agent, "2 + 2?")
    second = await ask(other, agent, "and again?")
    assert first.all_messages() == second.all_messages()[: len(first.all_messages())]
    loaded = await store.load("7f3a")
    assert second.conversation == loaded
    assert (second.usage, 1) == (loaded.usage, loaded.usage.tool_calls)


async def test_run_that_waits_for_an_approval_goes_on_in_another_process(store, other, emulator):
    def call(messages, info):
        returned = [part for part in messages[-1].parts if isinstance(part, ToolReturnPart)]
        if returned:
            return ModelResponse(parts=[TextPart(f"done: {returned[0].content}")])
        return ModelResponse(parts=[ToolCallPart("delete", {"path": "a.txt"}, tool_call_id="call_1")])

    agent = Agent(FunctionModel(call), output_type=[str, DeferredToolRequests])

    @agent.tool
    def delete(context: RunContext, path: str) -> str:
        if not context.tool_call_approved:
            raise ApprovalRequired(metadata={"why": "it is the last copy"})
        return f"deleted {path}"

    paused = await ask(store, agent, "Delete a.txt")
    assert isinstance(paused.output, DeferredToolRequests)
    loaded = await other.load("7f3a")
    requests = loaded.deferred_tool_requests
    assert ({"why": "it is the last copy"}, "delete") == (
        requests.metadata["call_1"],
        requests.approvals[0].tool_name,
    )
    results = requests.build_results(approvals={"call_1": True})
    resumed = await agent.run(conversation=loaded, deferred_tool_results=results)
    await other.save(resumed)
    assert "done: deleted a.txt" == resumed.output
    loaded = await store.load("7f3a")
    assert (None, resumed.conversation) == (loaded.deferred_tool_requests, loaded)


async def test_run_on_the_newest_messages_appends_to_all(store):
    agent = Agent(TestModel(custom_output_text="yes"))
    for question in ("1?", "2?", "3?"):
        result = await ask(store, agent, question, limit=2)
    assert 4 == len(result.all_messages())
    questions = [message.parts[0].content for message in (await store.load("7f3a")).messages[::2]]
    assert ["1?", "2?", "3?"] == questions


async def test_model_of_openai_on_the_same_server(store, client, emulator):
    openai_models = pytest.importorskip("pydantic_ai.models.openai", exc_type=ImportError)
    from pydantic_ai.providers.openai import OpenAIProvider  # noqa: PLC0415 - needs a new openai

    model = openai_models.OpenAIResponsesModel("gpt-5-mini", provider=OpenAIProvider(openai_client=client))
    emulator.reply("San Francisco.")
    emulator.reply(lambda request: f"{len(request.texts)} texts")
    agent = Agent(model)
    await ask(store, agent, "What city is the Golden Gate Bridge in?")
    made(emulator)
    result = await ask(store, agent, "What state is it in?")
    assert "3 texts" == result.output
    assert ["GET /conversations/ID/items", "POST /responses", "POST /conversations/ID/items"] == made(
        emulator
    )
    as_json = ConversationTypeAdapter.dump_json(result.conversation)  # datetimes of a provider become strings
    assert ConversationTypeAdapter.validate_json(as_json) == await store.load("7f3a")


@pytest.mark.exhaustive
def test_run_sync_with_one_event_loop_for_each_call(url, emulator, monkeypatch):
    """The directory has one client for each event loop."""
    agent = Agent(TestModel(custom_output_text="yes"))

    async def turn():
        async with SessionDirectory(url) as directory:
            return await ask(OpenAIConversationStore(directory), agent, "1?")

    with emulator.serve() as base_url:
        monkeypatch.setenv("OPENAI_BASE_URL", base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-emulator")
        for _ in range(2):
            result = asyncio.run(turn())
    assert 4 == len(result.all_messages())


@pytest.mark.exhaustive
async def test_chat_in_a_browser_is_kept_to_its_user(store):
    """The adapter of a chat UI loads and saves by the store; another user does not find the conversation."""
    ui = pytest.importorskip("pydantic_ai.ui.vercel_ai", exc_type=ImportError)
    agent = Agent(TestModel(custom_output_text="Hi there!"))

    async def chat(request):
        scope = request.headers["user"]
        return await ui.VercelAIAdapter.dispatch_request(
            request, agent=agent, conversation_store=store, conversation_scope=scope
        )

    async def send(browser, user, number):
        message = {"id": f"m{number}", "role": "user", "parts": [{"type": "text", "text": f"{number}?"}]}
        body = {"trigger": "submit-message", "id": "7f3a", "messages": [message]}
        return await browser.post("/chat", json=body, headers={"user": user})

    transport = HTTP_FAMILY.ASGITransport(app=Starlette(routes=[Route("/chat", chat, methods=["POST"])]))
    async with HTTP_FAMILY.AsyncClient(transport=transport, base_url="http://chat") as browser:
        replies = [await send(browser, user, number) for number, user in enumerate(("ann", "ann", "bob"))]
    assert [200, 200, 404] == [reply.status_code for reply in replies]
    assert "Hi there!" in "".join(re.findall('"delta":"([^"]*)"', replies[1].text))
    loaded = await store.load("7f3a", scope="ann")
    assert ["0?", "Hi there!", "1?", "Hi there!"] == said(loaded.messages)
