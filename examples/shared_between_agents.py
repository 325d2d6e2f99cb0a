"""Share a session between two agents: the second one knows what the first one was told.

Needs OPENAI_API_KEY and openai-agents.
"""

import asyncio

from agents import Agent, Runner

from openai_sessions import OpenAIConversationsSession


async def main() -> None:
    guide = Agent(name="Guide", instructions="Answer in one short sentence.")
    geographer = Agent(name="Geographer", instructions="Answer with the name of a state only.")
    async with OpenAIConversationsSession() as session:
        first = await Runner.run(guide, "What city is the Golden Gate Bridge in?", session=session)
        print("Guide:", first.final_output)
        second = await Runner.run(geographer, "What state is it in?", session=session)
        print("Geographer:", second.final_output)


asyncio.run(main())
