"""Store the names of sessions in the application's own database, through its SQLAlchemy engine.

DATABASE_URL names a SQLite file or PostgreSQL: postgresql+asyncpg://user:password@host/name.
Needs OPENAI_API_KEY, openai-agents, and the extra `directory`, or `postgresql`.
"""

import asyncio
import os

from agents import Agent, Runner
from sqlalchemy.ext.asyncio import create_async_engine

from openai_sessions.directory import SessionDirectory

AGENT = Agent(name="Support", instructions="Reply very concisely.")
URL = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///conversations.db")


async def main() -> None:
    engine = create_async_engine(URL)
    async with SessionDirectory(engine=engine, tenant="first customer") as directory:
        await directory.create_tables()
        for name, landmark in (("user_12345", "Golden Gate Bridge"), ("support_ticket_456", "Space Needle")):
            session = await directory.session(name, expires_in=30 * 86_400, metadata={"about": landmark})
            await Runner.run(AGENT, f"What city is the {landmark} in?", session=session)
        for entry in (await directory.conversations(prefix="support_")).entries:
            print(entry.name, entry.conversation_id, entry.metadata)
            session = await directory.session(entry.name)
            print((await Runner.run(AGENT, "What state is it in?", session=session)).final_output)
    await engine.dispose()


asyncio.run(main())
