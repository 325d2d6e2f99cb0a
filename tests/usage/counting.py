"""A process that counts runs in a conversation, with a lock in Redis, and without the Agents SDK.

Reads as JSON on standard input: the conversation id, the URL of the Redis server, how many runs there are,
and what each has used.
"""

import asyncio
import json
import sys
from types import SimpleNamespace

from redis.asyncio import Redis

from openai_sessions import OpenAIConversationsSession, RequestSettings, RetryPolicy
from openai_sessions.redis import redis_lock
from tests.processes.staff import FAST


class Run(SimpleNamespace):
    """What counts a run, as far as is looked at; like the SDK's it has weak references."""


def result_of(used):
    run = Run(
        **used,
        input_tokens_details=SimpleNamespace(
            cached_tokens=used["cached_tokens"], cache_write_tokens=used["cache_write_tokens"]
        ),
        output_tokens_details=SimpleNamespace(reasoning_tokens=used["reasoning_tokens"]),
    )
    return SimpleNamespace(context_wrapper=SimpleNamespace(usage=run))


async def main(conversation_id, redis_url, number, used):
    async with (
        Redis.from_url(redis_url) as redis,
        OpenAIConversationsSession(
            conversation_id=conversation_id,
            lock=redis_lock(redis),
            requests=RequestSettings(retry_policy=RetryPolicy(**FAST)),
        ) as session,
    ):
        for _ in range(number):
            await session.store_run_usage(result_of(used))


if __name__ == "__main__":
    asyncio.run(main(*json.load(sys.stdin)))
