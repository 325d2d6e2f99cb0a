"""Pop a question and its answer, and ask another one.

Needs OPENAI_API_KEY and openai-agents.
"""

import asyncio

from agents import Agent, Runner

from openai_sessions import OpenAIConversationsSession

AGENT = Agent(name="Assistant", instructions="Reply with a number.")


async def main() -> None:
    async with OpenAIConversationsSession() as session:
        result = await Runner.run(AGENT, "What's 2 + 2?", session=session)
        print("Agent:", result.final_output)

        await session.pop_item()  # the answer
        print("popped:", await session.pop_item())

        result = await Runner.run(AGENT, "What's 2 + 3?", session=session)
        print("Agent:", result.final_output)


asyncio.run(main())
