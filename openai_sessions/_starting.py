"""Creating a conversation without a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_sessions.session import OpenAIConversationsSession

if TYPE_CHECKING:
    from openai import AsyncOpenAI


async def start_openai_conversations_session(openai_client: AsyncOpenAI | None = None) -> str:
    """Create an empty conversation and return its id.

    Args:
        openai_client: The client to use; by default as in `OpenAIConversationsSession`.

    Raises:
        openai.OpenAIError: The conversation could not be created.
    """
    async with OpenAIConversationsSession(openai_client=openai_client) as session:
        return await session.ensure_conversation()
