"""Store conversations of Pydantic AI in hosted conversations: continue, branch, and meet other writers.

Needs OPENAI_API_KEY, the extra `pydantic-ai` and pydantic-ai-slim[openai]. The names are in a temporary file.
"""

import asyncio
import tempfile

from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict

from openai_sessions.adapters.pydantic_ai import OpenAIConversationStore
from openai_sessions.directory import SessionDirectory

agent = Agent("openai-responses:gpt-5-mini", instructions="Answer in one short sentence.")


async def ask(store: OpenAIConversationStore, chat: str, question: str) -> Conversation:
    while True:
        conversation = await store.load(chat, scope="ann") or Conversation(conversation_id=chat)
        result = await agent.run(question, conversation=conversation)
        try:
            await store.save(result, scope="ann")
        except ConversationConflict:  # another worker has saved a turn meanwhile
            continue
        print(question, result.output)
        return result.conversation


async def main(folder: str) -> None:
    async with agent, SessionDirectory(f"sqlite+aiosqlite:///{folder}/names.db") as directory:
        await directory.create_tables()
        store = OpenAIConversationStore(directory)
        await ask(store, "chat_1", "What city is the Golden Gate Bridge in?")
        conversation = await ask(store, "chat_1", "What state is it in?")

        await store.branch("chat_1", at=0, expected_revision=conversation.revision)
        await ask(store, "chat_1", "What city is the Space Needle in?")

        (record,) = await store.list_conversations(scope="ann")
        print(f"{record.usage.requests} requests, {len(record.branches)} branch left behind")


with tempfile.TemporaryDirectory() as folder:
    asyncio.run(main(folder))
