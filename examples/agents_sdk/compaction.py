"""Compact a long history when the application finds it is time; the conversation stays the same.

Needs OPENAI_API_KEY and openai-agents.
"""

import asyncio

from agents import Agent, OpenAIResponsesCompactionSession, Runner
from openai import AsyncOpenAI

from openai_sessions import OpenAIConversationsSession

AGENT = Agent(name="Assistant", instructions="Reply very concisely.")


async def main() -> None:
    async with AsyncOpenAI() as client:
        hosted = OpenAIConversationsSession(openai_client=client)
        session = OpenAIResponsesCompactionSession(
            session_id="user_123",
            underlying_session=hosted,
            client=client,
            compaction_mode="input",  # the conversation is the memory, not the response before
            should_trigger_compaction=lambda _: False,  # leave it out to compact after long turns by itself
        )
        for question in ("What city is the Golden Gate Bridge in?", "What state is it in?"):
            print((await Runner.run(AGENT, question, session=session)).final_output)
        before = await hosted.get_items()
        await session.run_compaction({"force": True})
        after = await hosted.get_items()
        print(len(before), "items became", [item.get("role", item.get("type")) for item in after])


asyncio.run(main())
