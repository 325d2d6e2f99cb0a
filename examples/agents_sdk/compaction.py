"""Compact a history when the application decides to. The conversation keeps its id.

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
            compaction_mode="input",  # the history is in the conversation, not in the last response
            should_trigger_compaction=lambda _: False,  # by default, it compacts long histories by itself
        )
        for question in ("What city is the Golden Gate Bridge in?", "What state is it in?"):
            print((await Runner.run(AGENT, question, session=session)).final_output)
        before = await hosted.get_items()
        await session.run_compaction({"force": True})
        after = await hosted.get_items()
        print(len(before), "items became", [item.get("role", item.get("type")) for item in after])


asyncio.run(main())
