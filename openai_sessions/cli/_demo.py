"""What the model says offline: it answers three questions, each from what was said before."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents import Agent, OpenAIResponsesModel, RunConfig, Runner
from agents.exceptions import AgentsException
from openai import APIConnectionError, APIStatusError, AsyncOpenAI, DefaultAsyncHttpxClient, OpenAIError
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from openai_sessions.cli._errors import CommandError
from openai_sessions.cli._running import key_of_environment
from openai_sessions.emulator import Emulator
from openai_sessions.errors import SessionError
from openai_sessions.session import OpenAIConversationsSession

QUESTIONS = (
    "What city is the Golden Gate Bridge in?",
    "What state is it in?",
    "How many people live there?",
)

_ANSWERS = {
    "What city": ("Golden Gate Bridge", "San Francisco."),
    "What state": ("San Francisco", "California."),
    "How many people": ("California", "About 39 million."),
}
"""A question's first words, what must have been said for it to be answered, and the answer."""

_NO_IDEA = "I cannot tell: nobody has said what you mean."


def answer(said: Sequence[str]) -> str:
    """Answer the last of the texts from those before it.

    Args:
        said: All texts of the conversation, oldest first.
    """
    *_, question = said
    for beginning, (needed, reply) in _ANSWERS.items():
        if question.startswith(beginning) and any(needed in text for text in said):
            return reply
    return _NO_IDEA


_STYLES = {"user": "cyan", "assistant": "green"}


@dataclass(frozen=True, slots=True)
class SentRequest:
    """One request as the client sent it, and the status that came back."""

    method: str
    path: str
    status: int

    def __str__(self) -> str:
        note = "  asks the model" if self.path.endswith("/responses") else ""
        return f"{self.method:<6} {shortened(self.path)}{note}"


class Transcript:
    """Print a conversation, and under each step the requests made since the one before.

    Args:
        console: Where to print.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._requests: list[SentRequest] = []
        self._shown = 0

    async def record(self, response: Any) -> None:
        """Take note of an exchange: the `response` hook of an HTTP client."""
        request = response.request
        self._requests.append(SentRequest(request.method, request.url.path, response.status_code))

    def heading(self, text: str, *, note: str = "") -> None:
        """Begin a part of the demonstration."""
        self._console.print()
        self._console.print(Text.assemble((text, "bold"), "  ", (note, "dim")))

    def say(self, role: str, text: str) -> None:
        """Print what was said by the user or the assistant."""
        line = Table.grid(padding=(0, 1))
        line.add_column(width=10)
        line.add_column()
        line.add_row(Text(role, style=_STYLES.get(role, "")), Text(text))
        self._console.print(Padding(line, (0, 0, 0, 2), expand=False))

    def show_items(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Print the messages among items of a history."""
        for item in items:
            if item.get("role"):
                self.say(str(item["role"]), text_of(item))

    def show_requests(self) -> None:
        """Print the requests that were made since the last time."""
        for request in self._requests[self._shown :]:
            line = Text(f"{'':13}{request}", style="dim")
            line.pad_right(max(0, 70 - len(line)))
            line.append(str(request.status), style="dim green" if request.status < 400 else "red")
            self._console.print(line, soft_wrap=True)
        self._shown = len(self._requests)

    def show_total(self) -> None:
        """Print how many requests were made in all, by operation."""
        count = len(self._requests)
        self._console.print()
        self._console.print(Text(f"{count} requests in all:", style="bold"))
        totals: dict[str, int] = {}
        for request in self._requests:
            totals[_operation(request)] = totals.get(_operation(request), 0) + 1
        for operation, number in totals.items():
            self._console.print(f"  {number:>3}  {operation}", highlight=False)


def shortened(path: str) -> str:
    """Keep the end of each id in a path: its beginning is a time, and the same for many."""
    return re.sub(r"\b([a-z]+_)\w{8,}(\w{4})\b", r"\1...\2", path)


def text_of(item: Mapping[str, Any]) -> str:
    """Return the text of a message, whose content is a string or a list of parts."""
    content = item.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if "text" in part)


def _operation(request: SentRequest) -> str:
    return f"{request.method:<6} {re.sub(r'[a-z]+_[a-z0-9]{8,}', '{id}', request.path)}"


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
