"""Ask three questions in one conversation with the synchronous runner.

Needs OPENAI_API_KEY and openai-agents.
"""

import asyncio

from agents import Agent, Runner

from openai_sessions import OpenAIConversationsSession

QUESTIONS = (
    "What city is the Golden Gate Bridge in?",
    "What state is it in?",
    "How many people live there?",
)

agent = Agent(name="Assistant", instructions="Reply very concisely.")
session = OpenAIConversationsSession()
for question in QUESTIONS:
    result = Runner.run_sync(agent, question, session=session)
    print(result.final_output)
asyncio.run(session.aclose())
