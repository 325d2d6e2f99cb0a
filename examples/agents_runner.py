"""Keep the history of an agent in a conversation hosted by OpenAI.

Needs OPENAI_API_KEY and openai-agents.
"""

import asyncio

from agents import Agent, Runner

from openai_sessions import OpenAIConversationsSession

QUESTIONS = (
    "What city is the Golden Gate Bridge in?",
    "What state is it in?",
    "How many people live there?",
)


async def main() -> None:
    agent = Agent(name="Guide", instructions="Answer in one short sentence.")
    async with OpenAIConversationsSession() as session:
        for question in QUESTIONS:
            result = await Runner.run(agent, question, session=session)
            print(f"{question} {result.final_output}")


asyncio.run(main())
