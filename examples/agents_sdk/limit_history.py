"""Limit what a model sees to the newest items, for one run or for all, or to the newest turns.

Needs OPENAI_API_KEY and openai-agents.
"""

import asyncio

from agents import Agent, RunConfig, Runner, SessionSettings

from openai_sessions import HistoryLimits, OpenAIConversationsSession

AGENT = Agent(name="Assistant", instructions="Reply very concisely.")
LAST_TWO_ITEMS = SessionSettings(limit=2)


async def main() -> None:
    async with OpenAIConversationsSession() as session:
        for landmark in ("Golden Gate Bridge", "Space Needle"):
            await Runner.run(AGENT, f"What city is the {landmark} in?", session=session)
        for_this_run = RunConfig(session_settings=LAST_TWO_ITEMS)
        result = await Runner.run(AGENT, "What state is it in?", session=session, run_config=for_this_run)
        print(result.final_output)

    whole_turns = HistoryLimits(max_turns=1)  # never separates a call from its output
    for limited in (
        OpenAIConversationsSession(conversation_id=session.session_id, session_settings=LAST_TWO_ITEMS),
        OpenAIConversationsSession(conversation_id=session.session_id, history_limits=whole_turns),
    ):
        async with limited:
            print(len(await limited.get_items()), "of", len(await limited.get_items(limit=100)))


asyncio.run(main())
