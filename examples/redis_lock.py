"""Let processes on several machines write to one conversation in turn: `python redis_lock.py [conv_...]`.

Needs OPENAI_API_KEY, the package redis, and a Redis server at REDIS_URL.
"""

import asyncio
import os
import sys
from collections.abc import Callable

from redis.asyncio import Redis
from redis.asyncio.lock import Lock

from openai_sessions import OpenAIConversationsSession, RequestSettings, RetryPolicy

REQUESTS = RequestSettings(timeout=30, retry_policy=RetryPolicy(deadline=20))
LEASE = 30 + 5 * 20 + 10  # the timeout, five deadlines for a write of up to 40 items, and some time to spare


def redis_lock(redis: Redis, *, lease: float = LEASE, patience: float = 4 * LEASE) -> Callable[[str], Lock]:
    """Return a function that makes a new lock for a conversation.

    Args:
        redis: The client.
        lease: Seconds until Redis releases the lock of a process that died. redis-py's default is never.
        patience: Seconds to wait for the lock before `LockError`. redis-py's default is for ever.
    """
    return lambda name: redis.lock(f"openai-sessions:{name}", timeout=lease, blocking_timeout=patience)


async def main(resumed: str | None = None) -> None:
    redis = Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))
    session = OpenAIConversationsSession(conversation_id=resumed, lock=redis_lock(redis), requests=REQUESTS)
    async with redis, session:
        await session.add_items([{"role": "user", "content": f"item {n}"} for n in range(25)])
        print(len(await session.get_items()), "items in", session.session_id)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
