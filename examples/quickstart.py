"""Store items in a conversation, read them, and pop the newest.

Needs OPENAI_API_KEY.
"""

import asyncio

from openai_sessions import OpenAIConversationsSession


async def main() -> None:
    async with OpenAIConversationsSession() as session:
        await session.add_items(
            [
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Hi there!"},
            ]
        )
        print("stored in", session.session_id)
        print("history:", await session.get_items())
        print("popped:", await session.pop_item())
        await session.clear_session()


asyncio.run(main())
