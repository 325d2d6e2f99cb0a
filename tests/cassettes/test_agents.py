"""An agent's turns are replayed, whichever address they were recorded on."""

import json
from urllib.parse import urlsplit

import pytest
from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool
from agents import OpenAIConversationsSession as SdkSession

from openai_sessions import OpenAIConversationsSession
from openai_sessions.testing.cassettes import use_cassette
from tests.agents.scripted import ScriptedModel, calls, says
from tests.cassettes.exchanges import NOWHERE, answering, async_client, create, raw
from tests.servers import smg_server

OPENAI = "https://api.openai.com/v1"

QUESTIONS = ("What is 2 + 3?", "And 3 + 3?", "Thanks!")

ANSWERS = ["It is 5.", "It is 6.", "You are welcome."]


@function_tool
def add(a: int, b: int) -> int:
    return a + b


def script(emulator):
    for a, answer in zip((2, 3), ANSWERS, strict=False):
        emulator.reply({"type": "function_call", "name": "add", "arguments": {"a": a, "b": 3}})
        emulator.reply(answer)
    emulator.reply(ANSWERS[2])


def client_of(url, server):
    """Return a client with a base URL whose requests go to a server."""
    client, address = async_client(url), urlsplit(server)

    async def redirect(request):
        request.url = request.url.copy_with(scheme="http", host=address.hostname, port=address.port)

    if server != url:
        client._client.event_hooks["request"].append(redirect)
    return client


async def run(agent, question, session):
    return (await Runner.run(agent, question, session=session)).final_output


async def run_streamed(agent, question, session):
    result = Runner.run_streamed(agent, question, session=session)
    async for _ in result.stream_events():
        pass
    return result.final_output


async def turns(client, model, session, runner=run):
    """Run the turns; return the answers, the id of the conversation and its history."""
    agent = Agent(name="Adder", instructions="Add.", tools=[add], model=model)
    answers = [await runner(agent, question, session) for question in QUESTIONS]
    return answers, session.session_id, await session.get_items()


@pytest.mark.parametrize("make", [OpenAIConversationsSession, SdkSession])
@pytest.mark.parametrize(
    ("urls", "runner"),
    [
        ((None, OPENAI), run),
        pytest.param((None, OPENAI), run_streamed, marks=pytest.mark.exhaustive),
        pytest.param((OPENAI, OPENAI), run, marks=pytest.mark.exhaustive),
        ((OPENAI, NOWHERE), run),
    ],
)
async def test_turns_are_played_on_another_address(urls, runner, make, served, path):
    recorded_on, played_on = urls

    async def play(url, server):
        async with client_of(url, server) as client:
            model = OpenAIResponsesModel("gpt-4.1", client)
            return await turns(client, model, make(openai_client=client), runner)

    script(served)
    async with use_cassette(path):
        recorded = await play(recorded_on or served.url, served.url)
    for _ in range(2):
        async with use_cassette(path, record_mode="none"):
            assert await play(played_on, played_on) == recorded
    assert recorded[0] == ANSWERS


@pytest.mark.parametrize("make", [OpenAIConversationsSession, SdkSession])
async def test_turns_recorded_on_another_server_are_played(make, path):
    """The server has no model: the requests are those of the session."""

    async def play(url):
        steps = [[calls("add", '{"a": 2, "b": 3}')], *([says(answer)] for answer in ANSWERS)]
        async with async_client(url) as client:
            return await turns(client, ScriptedModel(steps), make(openai_client=client))

    with smg_server() as url:
        async with use_cassette(path):
            recorded = await play(url)
    async with use_cassette(path, record_mode="none"):
        assert await play(OPENAI) == recorded
    assert recorded[0] == ANSWERS


def complete(method, path, headers, body):
    """Answer as Chat Completions does, to a stream too."""
    choice = {"index": 0, "finish_reason": "stop"}
    answer = {"id": "chatcmpl-1", "created": 1, "model": "gpt-4.1"}
    message = {"role": "assistant", "content": ANSWERS[0]}
    if json.loads(body).get("stream"):
        chunk = {**answer, "object": "chat.completion.chunk", "choices": [{**choice, "delta": message}]}
        return (
            200,
            [("content-type", "text/event-stream")],
            f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode(),
        )
    whole = {**answer, "object": "chat.completion", "choices": [{**choice, "message": message}]}
    return 200, [("content-type", "application/json")], json.dumps(whole).encode()


@pytest.mark.parametrize("runner", [run, run_streamed])
async def test_chat_completions_are_played_on_another_address(runner, path):
    async def play(url):
        async with async_client(url) as client:
            agent = Agent(name="Adder", model=OpenAIChatCompletionsModel("gpt-4.1", client))
            return await runner(agent, QUESTIONS[0], None)

    with answering(complete) as url:
        async with use_cassette(path):
            await play(url)
    async with use_cassette(path, record_mode="none"):
        assert await play(OPENAI) == ANSWERS[0]


def test_exported_traces_are_ignored(served, path):
    """The SDK exports them from a thread of its own, at any moment."""
    for url in (served.url, NOWHERE):
        with use_cassette(path) as cassette:
            create(url)
            raw("POST", "/v1/traces/ingest", b"{}", to=served.url)
        assert len(cassette) == 1
    assert [request.path for request in served.requests].count("/v1/traces/ingest") == 2
