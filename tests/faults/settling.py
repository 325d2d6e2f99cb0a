"""Settle a receipt as a worker does: a process that knows nothing but what it is given."""

from __future__ import annotations

import asyncio
import json
import sys

import openai

from openai_sessions import OpenAIConversationsSession


async def main() -> None:
    base_url, receipt = sys.argv[1], json.load(sys.stdin)
    async with openai.AsyncOpenAI(api_key="sk-emulator", base_url=base_url) as client:
        session = OpenAIConversationsSession(conversation_id=receipt["conversation_id"], openai_client=client)
        settlement = await session.settle(receipt)
    print(json.dumps({"deleted": settlement.deleted, "kept": settlement.kept}))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
