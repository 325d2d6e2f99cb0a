"""The `demo` command: an agent that remembers, then a lost reply, beside the Agents SDK's own session class.

It runs on the emulator with scripted replies, and prints what happened in this run. With `--live` the first
part runs on OpenAI; replies are only lost on the emulator.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import agents
from agents import Agent, OpenAIResponsesModel, RunConfig, Runner
from agents.exceptions import AgentsException
from openai import APIConnectionError, APIStatusError, AsyncOpenAI, DefaultAsyncHttpxClient, OpenAIError
from rich.console import Console
from rich.text import Text

from openai_sessions import __version__
from openai_sessions._items.text import message_text
from openai_sessions._secrets import spellings, without
from openai_sessions.cli._errors import CommandError, ExitCode
from openai_sessions.cli._output import counted
from openai_sessions.cli._running import POLICY, key_of_environment
from openai_sessions.emulator import Emulator, Fault
from openai_sessions.errors import SessionError
from openai_sessions.session import OpenAIConversationsSession, RequestSettings

QUESTIONS = ("What city is the Golden Gate Bridge in?", "What state is it in?")

_ANSWERS = {
    "What city": ("Golden Gate Bridge", "San Francisco."),
    "What state": ("San Francisco", "California."),
}
"""How a question starts, what an earlier message must contain for the scripted reply, and the reply."""

WRITTEN = (
    {"role": "user", "content": "Book one seat to Oslo."},
    {"role": "assistant", "content": "One seat is booked."},
)
"""The items whose reply is lost."""


def run_offline(console: Console | None = None) -> None:
    """Run both parts on an emulator of its own, with scripted replies.

    Args:
        console: Where it is printed; by default standard output.
    """
    printer = Printer(console or Console(highlight=False))
    printer.title("scripted replies, local emulator: nothing leaves this machine")
    with Emulator() as emulator, emulator.serve() as base_url:
        emulator.reply(lambda request: answer(request.texts), times=None)
        asyncio.run(_demonstrate_offline(printer, emulator, base_url))
    printer.next_steps()


def run_live(model: str) -> None:
    """Run the first part on OpenAI, or on the server that OPENAI_BASE_URL names.

    Args:
        model: The name of the model.

    Raises:
        CommandError: There is no key, or a request failed.
    """
    key = key_of_environment()
    if not key:
        raise CommandError("--live needs an API key: set OPENAI_API_KEY.", exit_code=ExitCode.USAGE)
    logging.getLogger("openai.agents").addHandler(logging.NullHandler())  # errors are reported below
    printer, requests = Printer(Console(highlight=False)), RequestLog()
    client = AsyncOpenAI(api_key=key, http_client=requests.http_client())
    printer.title(f"{client.base_url.host} with {model}")
    try:
        asyncio.run(_demonstrate_live(printer, client, requests, model))
    except (OpenAIError, SessionError, AgentsException) as error:
        raise CommandError(_explain(error, client), exit_code=ExitCode.FAILED) from error
    printer.note("A lost reply can only be shown on the emulator: openai-sessions demo")
    printer.next_steps()


def answer(texts: Sequence[str]) -> str:
    """Answer the last of the texts from an earlier one, as a model does that reads the whole conversation.

    Args:
        texts: All texts of the conversation, oldest first.
    """
    *_, question = texts
    for start, (needed, reply) in _ANSWERS.items():
        if question.startswith(start) and any(needed in text for text in texts):
            return reply
    return "I cannot tell: the conversation does not say."


async def _demonstrate_offline(printer: Printer, emulator: Emulator, base_url: str) -> None:
    requests = RequestLog()
    # Proxies of the environment could not reach the emulator.
    client = AsyncOpenAI(
        base_url=base_url, api_key="sk-emulator", http_client=requests.http_client(trust_env=False)
    )
    async with client:
        await _demonstrate_memory(printer, client, requests, "scripted")
        printer.heading(
            f"2  A lost reply: the server stores {len(WRITTEN)} items, then the connection breaks"
        )
        for package, session in (
            (
                f"openai-agents {version('openai-agents')}",
                agents.OpenAIConversationsSession(openai_client=client),
            ),
            (
                f"openai-sessions {__version__}",
                OpenAIConversationsSession(openai_client=client),
            ),
        ):
            printer.subheading(f"{package}: {type(session).__name__}.add_items()")
            await _demonstrate_lost_reply(printer, emulator, session, requests)


async def _demonstrate_live(printer: Printer, client: AsyncOpenAI, requests: RequestLog, model: str) -> None:
    async with client:
        await _demonstrate_memory(printer, client, requests, model)


async def _demonstrate_memory(
    printer: Printer, client: AsyncOpenAI, requests: RequestLog, model_name: str
) -> None:
    """Run an agent twice with one session, read the conversation in another session, and delete it."""
    printer.heading("1  An agent that remembers: two runs with one session")
    model = OpenAIResponsesModel(model=model_name, openai_client=client)
    agent = Agent(name="Guide", instructions="Answer in one short sentence.", model=model)
    session = OpenAIConversationsSession(openai_client=client, requests=RequestSettings(retry_policy=POLICY))
    for question in QUESTIONS:
        printer.message("user", question)
        result = await Runner.run(
            agent, question, session=session, run_config=RunConfig(tracing_disabled=True)
        )
        printer.message("assistant", str(result.final_output))
        made = requests.take()
        to_model = sum(each.path.endswith("/responses") for each in made)
        printer.note(f"{counted(len(made), 'request')}, {to_model} to the model")
    resumed = OpenAIConversationsSession(conversation_id=session.session_id, openai_client=client)
    items = await resumed.get_items()
    read = f"{counted(len(items), 'item')} in {counted(len(requests.take()), 'request')}"
    printer.note(f"A new session with the id {shortened(session.session_id)} reads {read}.")
    await resumed.clear_session()
    requests.take()


async def _demonstrate_lost_reply(
    printer: Printer, emulator: Emulator, session: Any, requests: RequestLog
) -> None:
    """Write two items whose reply is lost, and print the requests and what is stored."""
    emulator.inject(Fault("cut_after_commit"), operation="create_items")
    await session.add_items([dict(item) for item in WRITTEN])
    made = requests.take()
    stored = emulator.items(next(each.conversation_id for each in made if each.conversation_id))
    printer.requests(made)
    printer.outcome(times=len(stored) / len(WRITTEN))
    for item in stored:
        printer.message(item["role"], message_text(item))


def _explain(error: Exception, client: AsyncOpenAI) -> str:
    """Return the error in one line, without the key."""
    if isinstance(error, APIStatusError):
        body = error.body if isinstance(error.body, dict) else {}
        reason = f"{error.status_code}: {body.get('message') or error.message}"
    elif isinstance(error, APIConnectionError):
        reason = f"{client.base_url.host} could not be reached ({error})"
    else:
        reason = str(error)
    line = " ".join(without(reason, spellings(client.api_key)).split())
    return f"The demonstration failed. {line}"[:300]


@dataclass(slots=True)
class SentRequest:
    """A request that the client sent.

    Attributes:
        method: The HTTP method.
        path: The path of the URL.
        is_retry: Whether openai's client sent it again.
        status: The status of the response; None without a response.
    """

    method: str
    path: str
    is_retry: bool = False
    status: int | None = None

    @property
    def conversation_id(self) -> str | None:
        """The conversation in the path, or None."""
        found = re.search(r"/conversations/(\w+)", self.path)
        return found[1] if found else None


class RequestLog:
    """Records the requests of an HTTP client, also those without a response."""

    def __init__(self) -> None:
        self._sent: list[SentRequest] = []

    def http_client(self, *, trust_env: bool = True) -> DefaultAsyncHttpxClient:
        """Return an HTTP client whose requests are recorded."""
        hooks: Mapping[str, Any] = {"request": [self._record_request], "response": [self._record_response]}
        return DefaultAsyncHttpxClient(event_hooks=hooks, trust_env=trust_env)

    def take(self) -> list[SentRequest]:
        """Return the requests since the last call."""
        taken, self._sent = self._sent, []
        return taken

    async def _record_request(self, request: Any) -> None:
        is_retry = request.headers.get("x-stainless-retry-count", "0") != "0"
        request.extensions["sent"] = SentRequest(request.method, request.url.path, is_retry)
        self._sent.append(request.extensions["sent"])

    async def _record_response(self, response: Any) -> None:
        response.request.extensions["sent"].status = response.status_code


_STYLES = {"user": "cyan", "assistant": "green"}


class Printer:
    """Prints the demonstration, in at most 80 columns."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def title(self, note: str) -> None:
        """Print what runs where."""
        self._print()
        self._print(("openai-sessions", "bold"), (f"  {note}", "dim"))

    def heading(self, text: str) -> None:
        """Print the heading of a part."""
        self._print()
        self._print((text, "bold"))

    def subheading(self, text: str) -> None:
        """Print what follows inside a part."""
        self._print()
        self._print(f"   {text}")

    def message(self, role: str, text: str) -> None:
        """Print a message."""
        self._print((f"   {role:<11}", _STYLES.get(role, "")), text)

    def note(self, text: str) -> None:
        """Print a remark."""
        self._print((f"   {text}", "dim"))

    def outcome(self, *, times: float) -> None:
        """Print how often the items are stored."""
        stored = {1.0: "once", 2.0: "twice"}.get(times, f"{times:g} times")
        self._print((f"   stored {stored}:", "bold green" if times == 1 else "bold red"))

    def requests(self, requests: Sequence[SentRequest]) -> None:
        """Print requests, one per line."""
        has_lost = False
        for request in requests:
            remark = _remark(request, has_lost=has_lost)
            has_lost = has_lost or request.status is None
            self._print(
                (f"   {request.method:<5} {shortened(request.path):<40}", "dim"),
                (str(request.status or "---"), "dim" if request.status else "red"),
                f"  {remark}",
            )

    def next_steps(self) -> None:
        """Print what to do next."""
        self.heading("What to do next")
        self._print("   With a key, run the first program in README.md on OpenAI.")
        self._print("   Without one, start `openai-sessions serve`: this emulator, and a web page.")
        self._print("   The documentation is in README.md and in docs/, one page per subject.")
        self._print()

    def _print(self, *parts: str | tuple[str, str]) -> None:
        line = Text.assemble(*parts)
        line.rstrip()
        self._console.print(line, soft_wrap=True)


def _remark(request: SentRequest, *, has_lost: bool) -> str:
    if request.status is None:
        return "reply lost"
    if request.is_retry:
        return "the client sends it again"
    return "looks whether it is stored" if has_lost and request.method == "GET" else ""


def shortened(path: str) -> str:
    """Return a path or id with the last four characters of each id: they start with a time, all alike."""
    return re.sub(r"\b([a-z]+_)\w{8,}(\w{4})\b", r"\1...\2", path)
