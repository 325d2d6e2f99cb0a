"""Keep an agent's memory in OpenAI's hosted conversations."""

from openai_sessions.errors import (
    ClientLoopError,
    ConversationNotCreatedError,
    ConversationNotFoundError,
    CursorError,
    InvalidItemError,
    InvalidResponseError,
    RequestTimeoutError,
    SessionError,
)
from openai_sessions.session import OpenAIConversationsSession, start_openai_conversations_session

__version__ = "0.1.0"

__all__ = [
    "ClientLoopError",
    "ConversationNotCreatedError",
    "ConversationNotFoundError",
    "CursorError",
    "InvalidItemError",
    "InvalidResponseError",
    "OpenAIConversationsSession",
    "RequestTimeoutError",
    "SessionError",
    "start_openai_conversations_session",
]
