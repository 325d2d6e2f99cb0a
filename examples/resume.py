"""Answer one question per process, as a cloud function or a worker of a queue does.

All that is kept between two questions is the conversation id:

    python resume.py "What city is the Golden Gate Bridge in?"
    python resume.py "What state is it in?" conv_...

Needs OPENAI_API_KEY and openai-agents.
"""

import asyncio
import sys

from agents import Agent, Runner

from openai_sessions import ConversationNotFoundError, OpenAIConversationsSession


async def answer(question: str, conversation_id: str | None) -> tuple[str, str]:
    """Return the answer, and the conversation id to pass with the next question."""
    agent = Agent(name="Guide", instructions="Answer in one short sentence.")
    async with OpenAIConversationsSession(conversation_id=conversation_id) as session:
        result = await Runner.run(agent, question, session=session)
        return str(result.final_output), session.session_id


async def main(question: str = "What city is the Golden Gate Bridge in?", resumed: str | None = None) -> None:
    text, conversation_id = await answer(question, resumed)
    print(text)
    print("resume with:", conversation_id)


try:
    asyncio.run(main(*sys.argv[1:]))
except (ConversationNotFoundError, ValueError) as error:
    sys.exit(str(error))
