"""Let processes on any machine write to one conversation in turn: `python redis_lock.py [conv_...]`.

Needs OPENAI_API_KEY, the package redis, and a Redis server at REDIS_URL.
"""

import asyncio
import os
import sys
from collections.abc import Callable

from redis.asyncio import Redis
from redis.asyncio.lock import Lock

from openai_sessions import OpenAIConversationsSession, RequestSettings, RetryPolicy

POLICY = RetryPolicy(deadline=20)
LEASE = 5 * POLICY.deadline + 40  # 40 items: two requests, looking for each, undoing them; a timeout of 30


def redis_lock(redis: Redis, *, lease: float = LEASE, patience: float = 4 * LEASE) -> Callable[[str], Lock]:
    """Return what makes the lock of a conversation: a new one each time, as each keeps a token of its own.

    With redis-py's defaults the lock of a process that died is never freed: hence the lease. And one that
    waits does so for ever: hence the patience, after which `LockError` is raised and nothing was sent.
    """
    return lambda name: redis.lock(f"openai-sessions:{name}", timeout=lease, blocking_timeout=patience)


async def main(resumed: str | None = None) -> None:
    redis = Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))
    session = OpenAIConversationsSession(
        conversation_id=resumed, lock=redis_lock(redis), requests=RequestSettings(retry_policy=POLICY)
    )
    async with redis, session:
        await session.add_items([{"role": "user", "content": f"item {n}"} for n in range(25)])
        print(len(await session.get_items()), "items in", session.session_id)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
