"""The recorded flows: each uses sessions as an application does, and declares what it must observe.

The same functions are recorded, replayed, and run against the emulator.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from openai_sessions import (
    ConversationNotFoundError,
    OpenAIConversationsSession,
    RequestSettings,
    RetryPolicy,
)
from openai_sessions.emulator import Fault
from openai_sessions.session import RetryEvent

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from openai_sessions.emulator import OperationName

Item = dict[str, Any]

Observed = dict[str, Any]
"""What a flow observed, as JSON."""

HELLO: Item = {"role": "user", "content": "Hello"}
HI: Item = {"role": "assistant", "content": "Hi there!"}
AGAIN: Item = {"role": "user", "content": "Hello again"}
MESSAGES: list[Item] = [
    {"role": "system", "content": "Answer in one short sentence."},
    {"role": "developer", "content": "Answer in English."},
    {"role": "user", "content": "What city is the Golden Gate Bridge in?"},
    {
        "type": "message",
        "role": "user",
        "content": [
            {"type": "input_text", "text": "What state is it in?"},
            {"type": "input_text", "text": "¿Y en qué país?"},
        ],
    },
]
METADATA = {"user": "first user"}
RETRY_AFTER = 0.02
"""The Retry-After of the recorded rate limits, in seconds: each replay waits as long."""


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A fault injected into the emulator before a flow starts; the fields are the arguments of `inject`."""

    fault: Fault
    operation: OperationName
    times: int = 1


@dataclass(frozen=True, slots=True)
class Flow:
    """One use of a session.

    Attributes:
        name: The name of its cassette, without the suffix.
        run: Uses the session and returns what it observed.
        observes: What `run` must return.
        server: The server that it is recorded from.
        why: The reason, if that is not smg.
        faults: The faults that it meets.
        retries: The retries that it must make.
    """

    name: str
    run: Callable[[Stage], Awaitable[Observed]]
    observes: Observed
    server: Literal["smg", "emulator"] = "smg"
    why: str = ""
    faults: tuple[PlannedFault, ...] = ()
    retries: list[str] = field(default_factory=list)

    @property
    def expected(self) -> Observed:
        """What `observe` must return."""
        return {**self.observes, "retries": self.retries}


class Stage:
    """Opens sessions on one client and notes their retries.

    Args:
        client: The client of all sessions; the caller closes it.
        retry_policy: Their retry policy.

    Attributes:
        client: For requests that flows make without a session.
        retried: The retries, such as `"append: throttled"`.
        waited: The wait before each of them, in seconds.
    """

    def __init__(self, client: AsyncOpenAI, retry_policy: RetryPolicy) -> None:
        self.client = client
        self.retried: list[str] = []
        self.waited: list[float] = []
        self._retry_policy = retry_policy

    def session(
        self, conversation_id: str | None = None, *, metadata: dict[str, str] | None = None
    ) -> OpenAIConversationsSession:
        """Return a new session, on an existing conversation or on one that it creates."""
        return OpenAIConversationsSession(
            conversation_id=conversation_id,
            openai_client=self.client,
            metadata=metadata,
            requests=RequestSettings(retry_policy=self._retry_policy, on_retry=self._note_retry),
        )

    def _note_retry(self, event: RetryEvent) -> None:
        self.retried.append(f"{event.operation}: {event.outcome}")
        self.waited.append(event.wait)


async def observe(flow: Flow, stage: Stage) -> Observed:
    """Run a flow and return what it observed, with its retries."""
    return {**await flow.run(stage), "retries": stage.retried}


async def create(stage: Stage) -> Observed:
    """Use a session before it has a conversation, then create one, once."""
    session = stage.session(metadata=METADATA)
    unused = [session.conversation_id, await session.get_items(), await session.pop_item()]
    created = await session.ensure_conversation()
    is_same = created == await session.ensure_conversation() == session.session_id
    conversation = await stage.client.conversations.retrieve(created)
    return {"unused": unused, "one id": is_same, "metadata": conversation.metadata}


async def append(stage: Stage) -> Observed:
    """Append messages in two calls, and read them back."""
    session = stage.session()
    await session.add_items(MESSAGES[:2])
    await session.add_items(MESSAGES[2:])
    return {"items": await session.get_items()}


async def append_45_items(stage: Stage) -> Observed:
    """Append more items than fit into two requests, with a call and its output at the end of the first."""
    session = stage.session()
    await session.add_items(FORTY_FIVE)
    return {"items": await session.get_items()}


async def read_250_items(stage: Stage) -> Observed:
    """Read a history of three pages: for the first time, again, and only its newest items."""
    session = stage.session()
    await session.add_items(TWO_HUNDRED_FIFTY)
    return {
        "first": await session.get_items(),
        "again": await session.get_items(),
        "newest": await session.get_items(limit=20),
    }


async def pop(stage: Stage) -> Observed:
    """Pop items until none is left."""
    session = stage.session()
    await session.add_items([HELLO, HI])
    return {"popped": [await session.pop_item() for _ in range(3)], "left": await session.get_items()}


async def clear(stage: Stage) -> Observed:
    """Delete the conversation, and create another one."""
    session = stage.session()
    await session.add_items([HELLO])
    first = session.session_id
    await session.clear_session()
    cleared = [session.conversation_id, await session.get_items()]
    await session.add_items([AGAIN])
    return {
        "cleared": cleared,
        "new conversation": session.session_id != first,
        "items": await session.get_items(),
    }


async def resume(stage: Stage) -> Observed:
    """Resume a conversation by its id."""
    first = stage.session()
    await first.add_items([HELLO])
    resumed = stage.session(first.session_id)
    newest = await resumed.get_items(limit=1)
    await resumed.add_items([AGAIN])
    return {"newest": newest, "items": await first.get_items(), "popped": await resumed.pop_item()}


async def not_found(stage: Stage) -> Observed:
    """Resume a deleted conversation: only clearing it succeeds."""
    session = stage.session()
    await session.add_items([HELLO])
    gone = session.session_id
    await session.clear_session()
    resumed = stage.session(gone)
    observed = {
        "read": await _is_not_found(resumed.get_items(), gone),
        "write": await _is_not_found(resumed.add_items([HI]), gone),
        "pop": await _is_not_found(resumed.pop_item(), gone),
    }
    await resumed.clear_session()
    return {**observed, "cleared": resumed.conversation_id is None}


async def locked(stage: Stage) -> Observed:
    """Write and pop while another writer holds the conversation."""
    return await _write_and_pop(stage)


async def rate_limited(stage: Stage) -> Observed:
    """Write and read while the server limits the rate; wait for its Retry-After where it sends one."""
    session = stage.session()
    await session.add_items([HELLO, HI])
    return {"items": await session.get_items(), "asked to wait": stage.waited[:2]}


async def lost_reply(stage: Stage) -> Observed:
    """Write and pop while the server answers with a 500 after it has stored or deleted."""
    return await _write_and_pop(stage)


async def _write_and_pop(stage: Stage) -> Observed:
    session = stage.session()
    await session.add_items([HELLO, HI])
    stored = await session.get_items()
    return {"stored": stored, "popped": await session.pop_item(), "left": await session.get_items()}


async def _is_not_found(operation: Awaitable[object], conversation_id: str) -> bool:
    try:
        await operation
    except ConversationNotFoundError as error:
        return error.conversation_id == conversation_id
    return False


def _numbered(numbers: Sequence[int]) -> list[Item]:
    return [{"role": "user", "content": f"n{number}"} for number in numbers]


TWO_HUNDRED_FIFTY = _numbered(range(1, 251))
FORTY_FIVE: list[Item] = [
    *_numbered(range(1, 20)),
    {"type": "function_call", "call_id": "call_weather", "name": "weather", "arguments": '{"city":"Oslo"}'},
    {"type": "function_call_output", "call_id": "call_weather", "output": "rain"},
    *_numbered(range(22, 46)),
]
WRITTEN_AND_POPPED: Observed = {"stored": [HELLO, HI], "popped": HI, "left": [HELLO]}

FLOWS: tuple[Flow, ...] = (
    Flow("create", create, {"unused": [None, [], None], "one id": True, "metadata": METADATA}),
    Flow("append", append, {"items": MESSAGES}),
    Flow(
        "append_45_items",
        append_45_items,
        {"items": FORTY_FIVE},
        server="emulator",
        why="smg adds warnings to its answer about function calls",
    ),
    Flow(
        "read_250_items",
        read_250_items,
        {"first": TWO_HUNDRED_FIFTY, "again": TWO_HUNDRED_FIFTY, "newest": TWO_HUNDRED_FIFTY[-20:]},
    ),
    Flow(
        "pop",
        pop,
        {"popped": [HI, HELLO, None], "left": []},
        server="emulator",
        why="smg stores an assistant's string as output_text, OpenAI as input_text",
    ),
    Flow("clear", clear, {"cleared": [None, []], "new conversation": True, "items": [AGAIN]}),
    Flow("resume", resume, {"newest": [HELLO], "items": [HELLO, AGAIN], "popped": AGAIN}),
    Flow(
        "not_found",
        not_found,
        {"read": True, "write": True, "pop": True, "cleared": True},
        server="emulator",
        why="smg sends a code with its 404, OpenAI null",
    ),
    Flow(
        "locked",
        locked,
        WRITTEN_AND_POPPED,
        server="emulator",
        why="smg does not lock conversations",
        faults=(
            PlannedFault(Fault("locked"), "create_items", times=2),
            PlannedFault(Fault("locked"), "delete_item"),
        ),
        retries=["append: locked", "append: locked", "delete item: locked"],
    ),
    Flow(
        "rate_limited",
        rate_limited,
        {"items": [HELLO, HI], "asked to wait": [RETRY_AFTER, RETRY_AFTER]},
        server="emulator",
        why="smg cannot limit the rate of one request and not of the next",
        faults=(
            PlannedFault(Fault("throttled", retry_after=RETRY_AFTER), "create_items", times=2),
            PlannedFault(Fault("throttled"), "list_items"),
        ),
        retries=["append: throttled", "append: throttled", "read: throttled"],
    ),
    Flow(
        "lost_reply",
        lost_reply,
        WRITTEN_AND_POPPED,
        server="emulator",
        why="smg cannot fail after it has stored",
        faults=(
            PlannedFault(Fault("error_500_after_commit"), "create_items"),
            PlannedFault(Fault("error_500_after_commit"), "delete_item"),
        ),
        retries=["delete item: unknown"],
    ),
)
"""All flows. Each has a cassette of its name."""
