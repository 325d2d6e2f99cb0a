"""Resume a session by its name: `python named_session.py "A question?"`.

The database at DATABASE_URL, by default a SQLite file, has the names; OpenAI has the items.
Needs OPENAI_API_KEY, openai-agents, and the extra `directory`.
"""

import asyncio
import os
import sys

from agents import Agent, Runner

from openai_sessions.directory import SessionDirectory

AGENT = Agent(name="Assistant", instructions="Reply very concisely.")
URL = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///conversations.db")


async def main(question: str = "What city is the Golden Gate Bridge in?") -> None:
    async with SessionDirectory(URL) as directory:
        await directory.create_tables()
        session = await directory.session("user_123")
        result = await Runner.run(AGENT, question, session=session)
        print(f"{session.name}: {result.final_output}")


asyncio.run(main(*sys.argv[1:]))
