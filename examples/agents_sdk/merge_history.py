"""Choose what the model sees of the history: here, the newest two items.

Needs OPENAI_API_KEY and openai-agents.
"""

import asyncio
from typing import Any

from agents import Agent, RunConfig, Runner

from openai_sessions import OpenAIConversationsSession

AGENT = Agent(name="Assistant", instructions="Reply very concisely.")


def keep_recent_history(history: list[Any], new_input: list[Any]) -> list[Any]:
    return history[-2:] + new_input


async def main() -> None:
    async with OpenAIConversationsSession() as session:
        for landmark in ("Golden Gate Bridge", "Space Needle"):
            await Runner.run(AGENT, f"What city is the {landmark} in?", session=session)
        recent = RunConfig(session_input_callback=keep_recent_history)
        result = await Runner.run(AGENT, "What state is it in?", session=session, run_config=recent)
        print(result.final_output)
        print(len(await session.get_items()), "items are stored")


asyncio.run(main())
