"""A process that stores pairs of messages: `python -m tests.adapters.worker ADAPTER CONVERSATION NAME`."""

import asyncio
import sys

from openai import AsyncOpenAI

from openai_sessions import OpenAIConversationsSession

PAIRS = 6


async def store_with_agent_framework(conversation_id, name):
    from agent_framework import Message  # noqa: PLC0415 -- takes a while, and so in one of the processes only

    from openai_sessions.adapters.agent_framework import OpenAIConversationsHistoryProvider  # noqa: PLC0415

    state = {"conversation_id": conversation_id}
    async with AsyncOpenAI() as client:
        provider = OpenAIConversationsHistoryProvider(openai_client=client)
        for number in range(PAIRS):
            pair = [Message("user", [f"{name} {number}"]), Message("assistant", [f"{name} {number}"])]
            await provider.save_messages(name, pair, state=state)


async def store_with_langchain(conversation_id, name):
    from langchain_core.messages import AIMessage, HumanMessage  # noqa: PLC0415

    from openai_sessions.adapters.langchain import OpenAIConversationsChatMessageHistory  # noqa: PLC0415

    async with OpenAIConversationsSession(conversation_id=conversation_id) as session:
        history = OpenAIConversationsChatMessageHistory(session)
        for number in range(PAIRS):
            await history.aadd_messages([HumanMessage(f"{name} {number}"), AIMessage(f"{name} {number}")])


if __name__ == "__main__":
    adapter, *arguments = sys.argv[1:]
    asyncio.run(
        {"agent_framework": store_with_agent_framework, "langchain": store_with_langchain}[adapter](
            *arguments
        )
    )
