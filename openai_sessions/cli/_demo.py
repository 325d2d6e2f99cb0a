"""`openai-sessions demo`: three turns of an agent, and its memory found again by id."""

from __future__ import annotations

import asyncio
import logging

from agents import Agent, OpenAIResponsesModel, RunConfig, Runner
from agents.exceptions import AgentsException
from openai import APIConnectionError, APIStatusError, AsyncOpenAI, DefaultAsyncHttpxClient, OpenAIError
from rich.console import Console

from openai_sessions.cli._errors import CommandError
from openai_sessions.cli._scripted import QUESTIONS, answer
from openai_sessions.cli._transcript import Transcript
from openai_sessions.cli._workspace import key_of_environment
from openai_sessions.emulator import Emulator
from openai_sessions.errors import SessionError
from openai_sessions.session import OpenAIConversationsSession

_LONGEST_ERROR = 300


def run_offline() -> None:
    """Run the demonstration on an emulator of its own, with the model's answers scripted."""
    transcript = Transcript(Console(highlight=False))
    transcript.heading("openai-sessions", note="on the emulator, with a scripted model and no key")
    with Emulator() as emulator, emulator.serve() as base_url:
        emulator.reply(lambda request: answer(request.texts), times=None)
        http_client = _counting(transcript, trust_env=False)  # a proxy would not find the emulator
        client = AsyncOpenAI(base_url=base_url, api_key="sk-emulator", http_client=http_client)
        asyncio.run(_demonstrate(transcript, client, "scripted"))


def run_live(model: str) -> None:
    """Run the demonstration on OpenAI, or on what OPENAI_BASE_URL names.

    Args:
        model: The name of the model to ask.

    Raises:
        CommandError: There is no key, or a request failed.
    """
    key = key_of_environment()
    if not key:
        raise CommandError("--live needs an API key: set OPENAI_API_KEY.", exit_code=2)
    logging.getLogger("openai.agents").addHandler(logging.NullHandler())  # errors are explained below
    transcript = Transcript(Console(highlight=False))
    client = AsyncOpenAI(api_key=key, http_client=_counting(transcript))
    transcript.heading("openai-sessions", note=f"on {client.base_url.host}, with {model}")
    try:
        asyncio.run(_demonstrate(transcript, client, model))
    except (OpenAIError, SessionError, AgentsException) as error:
        raise CommandError(_explain(error, client), exit_code=1) from error


def _counting(transcript: Transcript, *, trust_env: bool = True) -> DefaultAsyncHttpxClient:
    return DefaultAsyncHttpxClient(event_hooks={"response": [transcript.record]}, trust_env=trust_env)


async def _demonstrate(transcript: Transcript, client: AsyncOpenAI, model_name: str) -> None:
    model = OpenAIResponsesModel(model=model_name, openai_client=client)
    agent = Agent(name="Guide", instructions="Answer in one short sentence.", model=model)
    async with client:
        conversation_id = await _talk(transcript, client, agent)
        await _resume(transcript, client, conversation_id)
    transcript.show_total()


async def _talk(transcript: Transcript, client: AsyncOpenAI, agent: Agent[None]) -> str:
    transcript.heading("Three turns with one session", note="each answer needs the one before")
    session = OpenAIConversationsSession(openai_client=client)
    untraced = RunConfig(tracing_disabled=True)
    for question in QUESTIONS:
        transcript.say("user", question)
        result = await Runner.run(agent, question, session=session, run_config=untraced)
        transcript.say("assistant", str(result.final_output))
        transcript.show_requests()
    return session.session_id


async def _resume(transcript: Transcript, client: AsyncOpenAI, conversation_id: str) -> None:
    transcript.heading("Resumed by its id in a second session")
    transcript.say("id", conversation_id)
    session = OpenAIConversationsSession(conversation_id=conversation_id, openai_client=client)
    transcript.show_items(await session.get_items())
    transcript.show_requests()

    transcript.heading("pop_item()", note="takes the newest item away")
    popped = await session.pop_item()
    transcript.show_items([popped] if popped else [])
    transcript.show_requests()

    transcript.heading("clear_session()", note="deletes the conversation")
    await session.clear_session()
    transcript.show_requests()


def _explain(error: Exception, client: AsyncOpenAI) -> str:
    """Put an error in one line, without the key."""
    if isinstance(error, APIStatusError):
        body = error.body if isinstance(error.body, dict) else {}
        reason = f"{error.status_code}: {body.get('message') or error.message}"
    elif isinstance(error, APIConnectionError):
        reason = f"{client.base_url.host} could not be reached ({error})"
    else:
        reason = str(error)
    line = " ".join(reason.replace(client.api_key, "sk-...").split())
    return f"The demonstration failed. {line}"[:_LONGEST_ERROR]
