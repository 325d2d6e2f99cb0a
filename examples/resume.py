"""Go on with a conversation in another process: `python resume.py`, then `python resume.py conv_...`.

Needs OPENAI_API_KEY.
"""

import asyncio
import sys

from openai_sessions import ConversationNotFoundError, OpenAIConversationsSession


async def main(conversation_id: str | None) -> None:
    async with OpenAIConversationsSession(conversation_id=conversation_id) as session:
        for item in await session.get_items():
            print("remembered:", item)
        await session.add_items([{"role": "user", "content": "I was here."}])
        print("resume with:", session.session_id)


try:
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
except (ConversationNotFoundError, ValueError) as error:
    sys.exit(str(error))
