"""Fork a conversation before its second question, ask another one there, and search both.

Needs OPENAI_API_KEY and openai-agents.
"""

import asyncio

from agents import Agent, Runner

from openai_sessions import OpenAIConversationsSession


async def show(name: str, session: OpenAIConversationsSession) -> None:
    for turn in await session.turns():
        print(f"{name}, turn {turn.number}: {turn.text} {turn.items[-1]['content']}")


async def main() -> None:
    agent = Agent(name="Guide", instructions="Answer in one short sentence.")
    async with OpenAIConversationsSession() as session:
        for question in ("What city is the Golden Gate Bridge in?", "What state is it in?"):
            await Runner.run(agent, question, session=session)
        async with await session.fork(before_turn=2) as branch:
            await Runner.run(agent, "What state is the bridge in?", session=branch)
            await show("original", session)
            await show("branch", branch)
        found = await session.find_turns("california")
        print("California is in turns:", [turn.number for turn in found])


asyncio.run(main())
