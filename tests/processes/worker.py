"""A process with a session of its own, which does what it is told, line by line.

Each line of its input is an order, answered with a line of output; all are JSON. "open" makes the session,
"close" closes it, and another one may be opened then.
"""

import asyncio
import contextlib
import json
import logging
import os
import sys
import warnings
from pathlib import Path

import openai

from openai_sessions import (
    OpenAIConversationsSession,
    RequestSettings,
    RetryPolicy,
    UnsettledWarning,
    UnsettledWriteError,
)


async def add(session, *, items):
    await session.add_items(items)


async def add_or_leave_a_receipt(session, *, items, path):
    """Write as a stateless worker does: what is left undone is for whoever finds the receipt."""
    try:
        await session.add_items(items)
    except UnsettledWriteError as error:
        await asyncio.to_thread(Path(path).write_text, json.dumps(error.receipt))
        return [len(part) for part in (error.stored_ids, error.unknown, error.not_stored)]


async def settle(session, *, path):
    settlement = await session.settle(json.loads(await asyncio.to_thread(Path(path).read_text)))
    return [len(settlement.deleted), len(settlement.kept)]


async def settle_or_tell(session, *, path):
    """Return as `settle`, or the name of the error."""
    try:
        return await settle(session, path=path)
    except UnsettledWriteError as error:
        return type(error).__name__


async def pop(session):
    return await session.pop_item()


async def pop_or_fail(session):
    """Return the item, or the name of the error."""
    try:
        return await session.pop_item()
    except openai.APIError as error:
        return type(error).__name__


async def get(session):
    return await session.get_items()


async def take_turns(session, *, name, number):
    """Ask and answer in exclusive turns; each answer says how many items the turn has seen."""
    for each in range(number):
        async with session.turn(exclusive=True) as turn:
            seen = len(await turn.get_items())
            await turn.add_items([{"role": "user", "content": f"{name} {each}"}])
            await asyncio.sleep(0)
            await turn.add_items([{"role": "assistant", "content": f"{name} {each} {seen}"}])


ORDERS = {
    function.__name__: function
    for function in (add, add_or_leave_a_receipt, settle, settle_or_tell, pop, pop_or_fail, get, take_turns)
}


@contextlib.asynccontextmanager
async def locking(redis_url, options):
    """Give a lock in Redis, or None without the URL of a Redis server."""
    if redis_url is None:
        yield None
        return
    from redis.asyncio import Redis  # noqa: PLC0415 - only workers that lock need it

    from openai_sessions.redis import redis_lock  # noqa: PLC0415

    async with Redis.from_url(redis_url) as redis:
        yield redis_lock(redis, **options)


async def work(setting):
    """Answer orders until the session is to be closed."""
    os.environ["OPENAI_BASE_URL"] = setting["base_url"]
    policy = RetryPolicy(**setting["policy"])
    async with (
        locking(setting["redis_url"], setting["lock"]) as lock,
        OpenAIConversationsSession(
            conversation_id=setting["conversation_id"],
            lock=lock,
            requests=RequestSettings(retry_policy=policy),
        ) as session,
    ):
        answer("open")
        while (order := next_order())["do"] != "close":
            perform = ORDERS[order.pop("do")]
            answer(await perform(session, **order))


async def main():
    while True:
        await work(next_order())
        answer("closed")


def next_order():
    return json.loads(sys.stdin.readline())


def answer(value):
    print(json.dumps(value), flush=True)  # noqa: T201 - it is a program


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)  # warnings of the library are expected under faults
    warnings.simplefilter("ignore", UnsettledWarning)  # the receipt is in a file by then
    asyncio.run(main())
