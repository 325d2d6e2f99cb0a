"""Keep the history of an agent of Microsoft's Agent Framework in a hosted conversation.

Needs OPENAI_API_KEY and agent-framework-openai.
"""

import asyncio

from agent_framework import Agent, AgentSession
from agent_framework.openai import OpenAIChatClient
from openai import AsyncOpenAI

from openai_sessions.adapters.agent_framework import OpenAIConversationsHistoryProvider


async def main() -> None:
    async with AsyncOpenAI() as client:
        guide = Agent(
            client=OpenAIChatClient(model="gpt-4.1-mini", async_client=client),
            instructions="Answer in one short sentence.",
            context_providers=[OpenAIConversationsHistoryProvider(openai_client=client)],
            default_options={"store": False},  # the provider stores it
        )
        session = guide.create_session()
        for question in ("What city is the Golden Gate Bridge in?", "What state is it in?"):
            print(await guide.run(question, session=session))
            session = AgentSession.from_dict(session.to_dict())  # as between two requests to a server
        print(session.state)


asyncio.run(main())
