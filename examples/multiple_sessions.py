"""Serve several users at once: a session for each, and one client for all.

Needs OPENAI_API_KEY and openai-agents.
"""

import asyncio

from agents import Agent, Runner
from openai import AsyncOpenAI

from openai_sessions import OpenAIConversationsSession

AGENT = Agent(name="Guide", instructions="Answer in one short sentence.")


async def talk(client: AsyncOpenAI, user: str, landmark: str) -> None:
    session = OpenAIConversationsSession(openai_client=client, metadata={"user": user})
    for question in (f"What city is the {landmark} in?", "What state is it in?"):
        result = await Runner.run(AGENT, question, session=session)
        print(f"{user}: {question} {result.final_output}")


async def main() -> None:
    async with AsyncOpenAI() as client:
        await asyncio.gather(
            talk(client, "first user", "Golden Gate Bridge"),
            talk(client, "second user", "Space Needle"),
        )


asyncio.run(main())
