"""Answers of the agent, which go on without the browser.

An answer is written by a task of the worker that got the question. Its events are in Redis, where any worker
reads them. For each conversation, Redis has these keys:
- `chat:lock:{name}` is held while an answer is written. Its lease ends if the worker dies.
- `chat:events:{name}` is a stream of the events of the newest answer. Their ids are `{run}-{number}`.
- `chat:lock:closed:{name}`, or `chat:lock:closed:user:{user}` for all conversations of a user, is held during
  a deletion. It stops answers, and refuses new ones.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from typing import Any, NamedTuple, TypeVar

import anyio
from agents import Agent, Runner
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import LockError, ResponseError
from typing_extensions import Self

from openai_sessions.directory import NamedSession, SessionDirectory
from openai_sessions.redis import redis_lock

T = TypeVar("T")

logger = logging.getLogger("chat")

BRANCH = "main"
"""The only branch of each conversation. Opening a branch never creates a name."""

ENDS = ("done", "failed")
"""The kinds of event that end an answer."""

FAILED = "The answer failed. Nothing of it is stored."
INTERRUPTED = "The answer was interrupted."

SECONDS_TO_FINISH = 20
"""How long a worker that is told to stop goes on with its answers."""

SECONDS_KEPT = 3600
"""How long Redis keeps the events of an answer after its start, and again after its end."""

MAX_EVENTS = 20_000
"""How many events of an answer Redis keeps. A reader that is further behind misses those between."""


def redis_client(url: str) -> Redis:
    """Return a client for `Runs`, which sends a command again if the connection is lost."""
    retry = Retry(ExponentialBackoff(cap=1), retries=3)
    return Redis.from_url(url, decode_responses=True, protocol=2, retry=retry)


class Event(NamedTuple):
    """An event of an answer: the `question`, a `delta` of the text, and at the end `done` or `failed`.

    The id is None for the end of an answer whose worker died.
    """

    id: str | None
    kind: str
    text: str = ""

    @property
    def run(self) -> int:
        """The number of the answer."""
        return int((self.id or "0").partition("-")[0])


class BusyError(Exception):
    """An answer is being written in the conversation, or the conversation is being deleted."""


@asynccontextmanager
async def _unless_busy(lock: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Hold a lock in this block.

    Raises:
        BusyError: It was not free in time. What the block raises passes through.
    """
    async with AsyncExitStack() as stack:
        try:
            held = await stack.enter_async_context(lock)
        except LockError:
            raise BusyError from None
        yield held


class Runs:
    """The answers that this worker writes, and the events of those of all workers.

    Args:
        directory: The conversations.
        redis: See `redis_client`.
        agent: The agent that answers.
        lease: Seconds after which an answer whose worker died counts as interrupted.
    """

    def __init__(self, directory: SessionDirectory, redis: Redis, agent: Agent[Any], *, lease: float) -> None:
        self._directory = directory
        self._redis: Any = redis
        self._agent = agent
        # A worker releases the lock a moment after the event `done`, and that user may be fast.
        self._lock = redis_lock(redis, lease=lease, prefix="chat:lock:", timeout=0.5)
        self._patient_lock = redis_lock(redis, lease=lease, prefix="chat:lock:", timeout=3 * lease)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wait for the answers of this worker, and interrupt those that take too long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=SECONDS_TO_FINISH)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def start(self, name: str, user: str, text: str) -> int:
        """Start an answer in a task of this worker; return its number.

        Raises:
            BusyError: An answer is being written in the conversation, or the conversation is being deleted.
            NameNotFoundError: The conversation does not exist.
            UserMismatchError: It belongs to another user.
        """
        async with AsyncExitStack() as stack:
            lock = await stack.enter_async_context(_unless_busy(self._lock(name)))
            if await self._is_closed(name, user):
                raise BusyError
            # The session writes under this lock, and not at all once it is lost.
            session = await self._directory.session(name, BRANCH, user=user, lock=lambda _: nullcontext(lock))
            events = Events(self._redis, name, await self._redis.incr("chat:runs"))
            await events.begin(text)
            task = asyncio.create_task(self._run(session, user, text, events, stack.pop_all()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return events.run

    async def _run(
        self, session: NamedSession, user: str, text: str, events: Events, lock: AsyncExitStack
    ) -> None:
        end = ("failed", INTERRUPTED)
        async with lock:
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._cancel_when_closed, events.name, user, tasks.cancel_scope)
                    await self._answer(session, text, events)
                    end = ("done", "")
                    tasks.cancel_scope.cancel()
            except Exception:
                logger.exception("answer %d in %s failed", events.run, events.name)
                end = ("failed", FAILED)
            finally:
                await events.end(*end)

    async def _answer(self, session: NamedSession, text: str, events: Events) -> None:
        """Let the agent answer. Question and answer are stored in one write at the end, or not at all."""
        async with session.turn() as turn:
            result = Runner.run_streamed(self._agent, text, session=turn)
            try:
                async for event in result.stream_events():
                    if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                        await events.add("delta", event.data.delta)
            finally:
                result.cancel()

    async def _cancel_when_closed(self, name: str, user: str, scope: anyio.CancelScope) -> None:
        while not await self._is_closed(name, user):  # noqa: ASYNC110 -- any worker may close it
            await asyncio.sleep(0.3)
        scope.cancel()

    async def _is_closed(self, name: str, user: str) -> bool:
        closed = (f"chat:lock:closed:{name}", f"chat:lock:closed:user:{user}")
        return bool(await self._redis.exists(*closed))

    @asynccontextmanager
    async def closed(self, key: str) -> AsyncIterator[None]:
        """Stop the answers in a conversation, or of `user:{user}`, and refuse new ones in this block.

        Raises:
            BusyError: Another request does so at this moment.
        """
        async with _unless_busy(self._lock(f"closed:{key}")):
            yield

    @asynccontextmanager
    async def stopped(self, name: str) -> AsyncIterator[None]:
        """Wait until the answer in a closed conversation has stopped, and remove its events.

        Raises:
            BusyError: It did not stop within three leases.
        """
        async with _unless_busy(self._patient_lock(name)):
            await self._redis.delete(f"chat:events:{name}")
            yield

    async def active(self, name: str) -> int | None:
        """Return the number of the answer that is being written in a conversation, or None."""
        newest = await self._newest(name)
        if newest is None or newest.kind in ENDS or not await self._redis.exists(f"chat:lock:{name}"):
            return None
        return newest.run

    async def is_newest(self, name: str, run: int) -> bool:
        """Return whether an answer is the newest of its conversation, and Redis still has its events."""
        newest = await self._newest(name)
        return newest is not None and newest.run == run

    async def _newest(self, name: str) -> Event | None:
        for event_id, fields in await self._redis.xrevrange(f"chat:events:{name}", count=1):
            return Event(event_id, **fields)
        return None

    async def follow(self, name: str, run: int, *, after: int = 0) -> AsyncIterator[Event]:
        """Yield the events of an answer that follow the one with the number `after`, until its end.

        If the worker that wrote it died, or a newer answer has replaced its events, the last event is
        `failed`, without an id.
        """
        last = f"{run}-{after}"
        while True:
            # Checked before the read: what a worker wrote before it died is read first.
            is_active = await self._redis.exists(f"chat:lock:{name}")
            read = await self._redis.xread({f"chat:events:{name}": last}, count=100, block=1000)
            found = [Event(event_id, **fields) for _, entries in read for event_id, fields in entries]
            for event in found:
                if event.run != run:
                    break
                yield event
                if event.kind in ENDS:
                    return
                last = event.id or last
            else:
                if found or is_active:
                    continue
            yield Event(None, "failed", INTERRUPTED)
            return


class Events:
    """The events of one answer, as its worker writes them.

    Args:
        redis: The client.
        name: The conversation.
        run: The number of the answer.
    """

    def __init__(self, redis: Redis, name: str, run: int) -> None:
        self.name = name
        self.run = run
        self._redis = redis
        self._key = f"chat:events:{name}"
        self._count = 0

    async def begin(self, question: str) -> None:
        """Replace the events of the answer before."""
        await self._redis.delete(self._key)
        await self.add("question", question)
        await self._redis.expire(self._key, SECONDS_KEPT)

    async def add(self, kind: str, text: str) -> None:
        """Add an event once, although it is sent again if the reply is lost."""
        self._count += 1
        try:
            await self._redis.xadd(
                self._key, {"kind": kind, "text": text}, id=f"{self.run}-{self._count}", maxlen=MAX_EVENTS
            )
        except ResponseError as error:
            if "equal or smaller" not in str(error):
                raise

    async def end(self, kind: str, text: str) -> None:
        """Add the last event."""
        with anyio.CancelScope(shield=True):
            await self.add(kind, text)
            await self._redis.expire(self._key, SECONDS_KEPT)
