"""Let agents on several machines take turns in one conversation: `python redis_lock.py [conv_...]`.

Needs OPENAI_API_KEY, the package redis, and a Redis server at REDIS_URL.
"""

import asyncio
import os
import sys

from redis.asyncio import Redis

from openai_sessions import OpenAIConversationsSession
from openai_sessions.redis import redis_lock


async def main(resumed: str | None = None) -> None:
    redis = Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))
    session = OpenAIConversationsSession(conversation_id=resumed, lock=redis_lock(redis))
    async with redis, session:
        async with session.turn(exclusive=True) as turn:  # other processes wait for its end, and see it
            seen = len(await turn.get_items())
            await turn.add_items([{"role": "user", "content": f"item {seen + n}"} for n in range(25)])
        print(len(await session.get_items()), "items in", session.session_id)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
