"""Count the tokens that runs use: the totals of a conversation, and those of each turn in a directory.

Needs OPENAI_API_KEY, openai-agents, and the extra `directory`.
"""

import asyncio
import os

from agents import Agent, Runner

from openai_sessions import OpenAIConversationsSession
from openai_sessions.directory import SessionDirectory

AGENT = Agent(name="Assistant", instructions="Reply very concisely.")
URL = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///conversations.db")


async def main() -> None:
    async with SessionDirectory(URL) as directory:
        await directory.create_tables()
        session = await directory.session("conversation_123")
        for question in ("What city is the Golden Gate Bridge in?", "What state is it in?"):
            result = await Runner.run(AGENT, question, session=session)
            await session.store_run_usage(result)
            print(result.final_output)
        for number, used in (await session.get_turn_usage()).items():
            print(f"turn {number}: {used.requests} request, {used.total_tokens} tokens")

    async with OpenAIConversationsSession(conversation_id=session.session_id) as resumed:
        usage = await resumed.get_session_usage()  # needs no directory
        if usage:
            print(f"{usage.requests} requests, {usage.total_tokens} tokens:", end=" ")
            print(f"{usage.input_tokens} in, {usage.cached_tokens} of them cached,", end=" ")
            print(f"{usage.output_tokens} out, {usage.reasoning_tokens} of them reasoning")


asyncio.run(main())
