"""Fork a conversation into branches of one name, and switch between them.

Needs OPENAI_API_KEY, openai-agents, and the extra `directory`.
"""

import asyncio
import os

from agents import Agent, Runner

from openai_sessions import OpenAIConversationsSession
from openai_sessions.directory import SessionDirectory

AGENT = Agent(name="Assistant", instructions="Reply very concisely.")
NAME = "conversation_123"
URL = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///conversations.db")


async def ask(session: OpenAIConversationsSession, question: str) -> None:
    result = await Runner.run(AGENT, question, session=session)
    print(f"{question} {result.final_output}")


async def main() -> None:
    async with SessionDirectory(URL) as directory:
        await directory.create_tables()
        session = await directory.session(NAME)
        await ask(session, "What city is the Golden Gate Bridge in?")
        await ask(session, "What state is it in?")

        await ask(await directory.fork(NAME, "towers", before_turn=2), "What city is the Space Needle in?")
        await directory.switch(NAME, "towers")
        await ask(await directory.session(NAME), "What state is it in?")
        await directory.switch(NAME, "main")
        await ask(await directory.session(NAME), "How many people live there?")

        for branch in await directory.branches(NAME):
            print(branch.branch, branch.conversation_id, "(current)" if branch.is_current else "")


asyncio.run(main())
