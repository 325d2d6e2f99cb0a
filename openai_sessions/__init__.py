"""Keep an agent's memory in OpenAI's hosted conversations."""

from openai_sessions._lazy_conversation import PossibleOrphan
from openai_sessions._policy import RetryPolicy
from openai_sessions._retrying import RetryBudget, RetryEvent
from openai_sessions._settling import Settlement
from openai_sessions._starting import start_openai_conversations_session
from openai_sessions.errors import (
    ClientLoopError,
    ConversationNotCreatedError,
    ConversationNotFoundError,
    CursorError,
    InvalidItemError,
    InvalidResponseError,
    RequestTimeoutError,
    SessionError,
    UnsettledWarning,
    UnsettledWriteError,
)
from openai_sessions.session import OpenAIConversationsSession

__version__ = "0.1.0"

__all__ = [
    "ClientLoopError",
    "ConversationNotCreatedError",
    "ConversationNotFoundError",
    "CursorError",
    "InvalidItemError",
    "InvalidResponseError",
    "OpenAIConversationsSession",
    "PossibleOrphan",
    "RequestTimeoutError",
    "RetryBudget",
    "RetryEvent",
    "RetryPolicy",
    "SessionError",
    "Settlement",
    "UnsettledWarning",
    "UnsettledWriteError",
    "start_openai_conversations_session",
]
