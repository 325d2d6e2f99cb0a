"""Encrypt a history, so that OpenAI stores it and cannot read it.

Needs OPENAI_API_KEY, openai-agents and cryptography. The encryption key is SESSION_KEY, or a new one.
"""

import asyncio
import os

from agents import Agent, Runner
from cryptography.fernet import Fernet

from openai_sessions import EncryptedSession, OpenAIConversationsSession

KEY = os.environ.get("SESSION_KEY") or Fernet.generate_key().decode()


async def main() -> None:
    agent = Agent(name="Guide", instructions="Answer in one short sentence.")
    hosted = OpenAIConversationsSession()
    async with EncryptedSession("user_123", hosted, KEY, ttl=3600) as session:
        for question in ("What city is the Golden Gate Bridge in?", "What state is it in?"):
            result = await Runner.run(agent, question, session=session)
            print(f"{question} {result.final_output}")
        print(len(await session.get_items()), "items, and OpenAI stores:")
        for item in await hosted.get_items(limit=1):
            print(f"{str(item)[:66]}…")
        await session.clear_session(purge_items=True)


asyncio.run(main())
