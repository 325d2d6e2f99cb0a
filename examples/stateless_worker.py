"""Handle each input as if the process had just started: all that is kept is a conversation id.

The handler fits a function in a cloud or a queue's worker; the caller keeps the id between calls.
Needs OPENAI_API_KEY and openai-agents.
"""

import asyncio

from agents import Agent, Runner

from openai_sessions import OpenAIConversationsSession


async def handle(conversation_id: str | None, message: str) -> tuple[str, str]:
    """Return the reply, and the conversation id to be given with the next message."""
    agent = Agent(name="Guide", instructions="Answer in one short sentence.")
    async with OpenAIConversationsSession(conversation_id=conversation_id) as session:
        result = await Runner.run(agent, message, session=session)
        return str(result.final_output), session.session_id


async def main() -> None:
    reply, conversation_id = await handle(None, "What city is the Golden Gate Bridge in?")
    print(reply)
    reply, conversation_id = await handle(conversation_id, "What state is it in?")
    print(reply)


if __name__ == "__main__":
    asyncio.run(main())
