"""Four processes without a lock, and users who try again on another one after an error."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from typing import Any

import agents
import openai

from openai_sessions import OpenAIConversationsSession, RequestSettings, UnsettledWriteError
from openai_sessions.session import RetryBudget
from tools.chaos.worlds import POLICY, TIMEOUT, TOO_LATE, ServedWorld, Server, client_over, text_of

WORKERS = 4
USERS = 8
LARGEST = 45
"""The largest number of items of a write: three requests."""

MOST_TRIES = 50

IMPATIENT = replace(POLICY, attempts=2, settle_after=0.25)
"""Calls do raise; and a server that is slow because the machine is busy is not taken for one that is late."""


@dataclass(slots=True)
class WorkersResult:
    """The outcome of a run.

    Attributes:
        writes: The number of writes that users made, each acknowledged in the end.
        calls: The number of calls that it took.
        deleted: The number of items that were acknowledged, and are not stored.
        duplicated: The number of items stored beside an equal one.
        late: The number of those whose first copy the server applied later than `settle_after` after it cut
            the connection.
        out_of_order: The number of items of a write that precede its item before.
        errors: The number of calls that raised, by the name of the error.
    """

    writes: int = 0
    calls: int = 0
    deleted: int = 0
    duplicated: int = 0
    late: int = 0
    out_of_order: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def is_right(self) -> bool:
        """Whether nothing went wrong but what cannot be told."""
        return not (self.deleted or self.duplicated or self.out_of_order)


def try_workers(kind: str, *, writes: int, seed: int, rate: float) -> WorkersResult:
    """Run users who make so many writes each through the session class of a kind: a key of `KINDS`."""
    with closing(Server()) as server:
        return asyncio.run(_run(server, kind, writes, seed, rate))


async def _run(server: Server, kind: str, writes: int, seed: int, rate: float) -> WorkersResult:
    choices, world = random.Random(seed), ServedWorld(server, rate, TOO_LATE)  # noqa: S311 - reproducible
    result = WorkersResult()
    conversations = [await _conversation(server) for _ in range(USERS // 2)]
    with ExitStack() as stack:
        workers = [
            stack.enter_context(closing(Worker(server.base_url, kind, conversations))) for _ in range(WORKERS)
        ]
        everybody = [
            User(number, number % len(conversations), workers, random.Random(choices.random()), result)  # noqa: S311
            for number in range(USERS)
        ]
        world.storm(choices.randrange(10**9))
        await asyncio.gather(*(user.make(writes) for user in everybody))
        world.calm()
        for conversation in range(len(conversations)):
            for worker in workers:
                await worker.do("read", conversation)
    late = Counter(server.run("late"))
    for conversation, conversation_id in enumerate(conversations):
        stored = await world.stored(conversation_id) or []
        for user in everybody:
            if user.conversation == conversation:
                user.judge(stored, late)
    await world.aclose()
    return result


async def _conversation(server: Server) -> str:
    async with openai.AsyncOpenAI(api_key="sk-chaos", base_url=server.base_url) as client:
        return (await client.conversations.create()).id


class User:
    """Somebody who writes to one conversation, which another user writes to at the same time.

    Args:
        number: The number of the user.
        conversation: The number of the conversation.
        workers: Each call goes to any of them.
        choices: The choices of workers and sizes.
        result: What is counted.
    """

    def __init__(
        self,
        number: int,
        conversation: int,
        workers: Sequence[Worker],
        choices: random.Random,
        result: WorkersResult,
    ) -> None:
        self.conversation = conversation
        self._number = number
        self._workers = workers
        self._choices = choices
        self._result = result
        self._written: list[str] = []
        self._calls: list[Sequence[str]] = []

    async def make(self, writes: int) -> None:
        """Make writes one after another, each until it is stored."""
        for write in range(writes):
            size = self._choices.choice((1, 2, 4, LARGEST))
            texts = [f"{self._number}.{write}/{index}" for index in range(size)]
            await self._store(texts)
            self._written += texts
            self._result.writes += 1

    async def _store(self, texts: Sequence[str]) -> None:
        """Write; after an error try again on another worker, once the receipt is settled there."""
        answer = Answer()
        for _ in range(MOST_TRIES):
            if answer.receipt is not None:
                answer = await self._do("settle", answer.receipt)
                if not answer.is_kept:
                    continue
                # Its items cannot be told from those of others: look at the history.
                seen = (await self._do("read")).texts
                if seen is not None:
                    texts = [text for text in texts if text not in seen]
                    answer = Answer()
            elif texts:
                answer = await self._do("add", texts)
                self._result.calls += 1
                if answer.error is None:
                    self._calls.append(texts)
                    return
                self._result.errors[answer.error] += 1
            else:
                return
        raise TimeoutError(f"no worker stored {texts[0]} in {MOST_TRIES} tries")

    async def _do(self, action: str, *arguments: Any) -> Answer:
        return await self._choices.choice(self._workers).do(action, self.conversation, *arguments)

    def judge(self, stored: Sequence[str], late: Mapping[str, int]) -> None:
        """Compare what the user was told with what the conversation contains, oldest first.

        Args:
            stored: The texts of its items.
            late: How often each text was applied too late.
        """
        copies = Counter(stored)
        places = {text: place for place, text in enumerate(stored)}
        for text in self._written:
            extra = copies[text] - 1
            of_late = min(max(extra, 0), late.get(text, 0))
            self._result.deleted += extra < 0
            self._result.late += of_late
            self._result.duplicated += max(extra, 0) - of_late
        for before, text in chain.from_iterable(map(pairwise, self._calls)):
            if copies[before] == copies[text] == 1:
                self._result.out_of_order += places[before] > places[text]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker says of a call.

    Attributes:
        error: The name of its error, or None.
        receipt: The receipt of the error, or None.
        is_kept: Whether a settlement has kept items, or could not tell which they are.
        texts: The texts that a read has returned.
    """

    error: str | None = None
    receipt: Mapping[str, Any] | None = None
    is_kept: bool = False
    texts: Sequence[str] | None = None


class Worker:
    """A process with a session object on each conversation."""

    def __init__(self, base_url: str, kind: str, conversations: Sequence[str]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_work, args=(theirs, base_url, kind, list(conversations)), daemon=True
        )
        self._process.start()
        theirs.close()
        self._turn = asyncio.Lock()

    async def do(self, action: str, conversation: int, *arguments: Any) -> Answer:
        """Have a call made; one at a time."""
        async with self._turn:
            self._pipe.send((action, conversation, *arguments))
            answer: Answer = await asyncio.to_thread(self._pipe.recv)
            return answer

    def close(self) -> None:
        """Stop the process."""
        self._pipe.close()
        self._process.join()
        self._process.close()


def _work(pipe: Any, base_url: str, kind: str, conversations: Sequence[str]) -> None:
    async def serve() -> None:
        http_client, make_session = KINDS[kind]
        client = client_over(http_client, base_url)
        sessions = [make_session(conversation_id, client) for conversation_id in conversations]
        while True:
            try:
                action, conversation, *arguments = await asyncio.to_thread(pipe.recv)
            except EOFError:
                break
            pipe.send(await _call(sessions[conversation], action, *arguments))
        await client.close()

    asyncio.run(serve())


async def _call(session: Any, action: str, argument: Any = None) -> Answer:
    try:
        if action == "read":
            return Answer(texts=[text_of(item) for item in await session.get_items()])
        if action == "settle":
            return Answer(is_kept=bool((await session.settle(argument)).kept))
        await session.add_items([{"role": "user", "content": text} for text in argument])
    except UnsettledWriteError as error:
        is_kept = action == "settle" and not error.stored_ids  # it cannot tell which items are of the write
        return Answer(type(error).__name__, error.receipt, is_kept)
    except Exception as error:  # noqa: BLE001 -- every error is counted
        return Answer(type(error).__name__, argument if action == "settle" else None)
    return Answer()


def _ours(conversation_id: str, client: openai.AsyncOpenAI) -> OpenAIConversationsSession:
    settings = RequestSettings(timeout=TIMEOUT, retry_policy=IMPATIENT, retry_budget=RetryBudget(10**9))
    return OpenAIConversationsSession(
        conversation_id=conversation_id, openai_client=client, requests=settings
    )


def _sdk(conversation_id: str, client: openai.AsyncOpenAI) -> agents.OpenAIConversationsSession:
    return agents.OpenAIConversationsSession(conversation_id=conversation_id, openai_client=client)


KINDS: dict[str, tuple[Any, Any]] = {
    "ours": (openai.DefaultAsyncHttpxClient, _ours),
    "aiohttp": (openai.DefaultAioHttpClient, _ours),
    "sdk": (openai.DefaultAsyncHttpxClient, _sdk),
}
"""The HTTP client of a worker, and how to make its sessions."""
