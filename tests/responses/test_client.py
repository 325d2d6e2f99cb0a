"""The client: its settings, the requests it leaves as they are, closing, and event loops."""

import asyncio
import json

import agents
import openai
import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions.emulator import Fault
from openai_sessions.encryption import EncryptedSession
from openai_sessions.errors import ClientLoopError, ClosedClientError

from .stage import CALL, MODEL


def ask(stage, client, **options):
    return client.responses.create(model=MODEL, input="Hi", conversation=stage.conversation_id, **options)


class Application(openai.AsyncOpenAI):
    """A client of the application's own class."""


async def test_what_goes_out_is_what_the_given_client_sends(stage, address):
    seen = []

    async def note(request):
        seen.append(request)

    http = openai.DefaultAsyncHttpxClient(
        verify=False, headers={"x-http": "1"}, event_hooks={"request": [note], "response": []}
    )
    async with Application(
        api_key="sk-stage", base_url=address.base_url, organization="org", project="p", http_client=http,
        default_headers={"x-mine": "2"}, default_query={"v": "3"}, timeout=7,
    ) as given:  # fmt: skip
        client = OpenAIConversationsSession(openai_client=given).client()
        assert isinstance(client, Application)
        await given.responses.create(model=MODEL, input="Hi")
        await ask(stage, client)
    bare, ours = seen[0], seen[-1]
    assert bare.url == ours.url
    fields = {**dict(ours.headers), "content-length": bare.headers["content-length"]}
    assert dict(bare.headers) == fields
    assert bare.extensions["timeout"] == ours.extensions["timeout"]
    body = json.loads(ours.content)
    assert {**json.loads(bare.content), "conversation": stage.conversation_id} == body


async def test_other_requests_are_retried_by_openai(stage):
    client = stage.session.client()
    throttled = Fault("throttled", retry_after=0.01)
    stage.emulator.inject(throttled, operation="create_response")
    response = await client.responses.create(model=MODEL, input="Hi")
    assert "You said: Hi" == response.output_text
    assert ["create_response"] * 2 == stage.operations[-2:]
    stage.emulator.inject(throttled, operation="retrieve_conversation")
    assert stage.conversation_id == (await client.conversations.retrieve(stage.conversation_id)).id


@pytest.mark.parametrize("options", [{"max_retries": 5}, {"timeout": 5}])
async def test_copies_send_once_too(stage, options):
    stage.emulator.inject(Fault("cut_after_commit"), operation="create_response", times=2)
    client = stage.session.client().with_options(**options)
    await ask(stage, client)
    await ask(stage, client.copy())
    assert ["user", "assistant"] * 2 == stage.stored


async def test_a_conversation_in_extra_body_or_as_an_object_counts(stage):
    stage.emulator.inject(Fault("cut_after_commit"), operation="create_response", times=2)
    client = stage.session.client()
    given = {"conversation": {"id": stage.conversation_id}}
    await client.responses.create(model=MODEL, input="Hi", extra_body=given)
    await client.responses.create(model=MODEL, input="Hi", **given)
    assert ["user", "assistant"] * 2 == stage.stored


async def test_closing_it_closes_nothing_else(stage):
    async with stage.session.client() as client:
        await ask(stage, client)
    with pytest.raises((RuntimeError, openai.APIConnectionError)):
        await ask(stage, client)
    assert 2 == len(await stage.session.get_items())


async def test_a_session_that_is_closed_opens_a_client_again(stage, address, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", address.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-own")
    async with OpenAIConversationsSession() as session:
        client = session.client()
        conversation = await session.ensure_conversation()
        await client.responses.create(model=MODEL, input="Hi", conversation=conversation)
        await session.aclose()
        await client.responses.create(model=MODEL, input="Hi", conversation=conversation)
        assert 4 == len(await session.get_items())


async def test_the_given_client_closed(stage):
    client = stage.session.client()
    await stage.client.close()
    with pytest.raises(ClosedClientError):
        await ask(stage, client)


async def test_the_given_client_closed_before_the_output_of_a_call(stage):
    stage.emulator.reply(CALL)
    client = stage.session.client()
    await ask(stage, client)
    await stage.client.close()
    output = {"type": "function_call_output", "call_id": "call_1", "output": "5"}
    with pytest.raises(ClosedClientError):
        await client.responses.create(model=MODEL, input=[output], conversation=stage.conversation_id)


async def test_the_given_client_in_another_loop(stage):
    client = stage.session.client()
    await ask(stage, client)
    with pytest.raises(ClientLoopError):
        await asyncio.to_thread(asyncio.run, ask(stage, client))


async def test_over_aiohttp(stage, address):
    http = openai.DefaultAioHttpClient(verify=False)
    async with openai.AsyncOpenAI(base_url=address.base_url, api_key="sk-stage", http_client=http) as given:
        session = OpenAIConversationsSession(conversation_id=stage.conversation_id, openai_client=given)
        stage.emulator.inject(Fault("cut_after_commit"), operation="create_response")
        assert "You said: Hi" == (await ask(stage, session.client())).output_text
        stage.emulator.inject(Fault("cut_mid_stream_after_commit"), operation="create_response")
        events = [event async for event in await ask(stage, session.client(), stream=True)]
    assert "response.completed" == events[-1].type
    assert ["user", "assistant"] * 2 == stage.stored


async def test_the_default_client_of_the_agents_sdk(stage):
    agents.set_default_openai_client(stage.session.client(), use_for_tracing=False)
    try:
        stage.emulator.inject(Fault("cut_after_commit"), operation="create_response")
        agent = agents.Agent(name="Guide", model=MODEL)
        result = await agents.Runner.run(agent, "Hi", conversation_id=stage.conversation_id)
    finally:
        agents.set_default_openai_client(None, use_for_tracing=False)
    assert "You said: Hi" == result.final_output
    assert ["user", "assistant"] == stage.stored


def test_an_encrypted_session_has_none(stage):
    session = EncryptedSession("a", stage.session, "a key of the test")
    with pytest.raises(TypeError, match="cannot read its tokens"):
        session.client()
    with pytest.raises(TypeError, match="cannot read its tokens"):
        session.turn(server_managed=True)
