"""Keep an agent's memory in OpenAI's hosted conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_sessions._lazy_names import importing

if TYPE_CHECKING:
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

_MODULES = {
    "ClientLoopError": "errors",
    "ConversationNotCreatedError": "errors",
    "ConversationNotFoundError": "errors",
    "CursorError": "errors",
    "InvalidItemError": "errors",
    "InvalidResponseError": "errors",
    "OpenAIConversationsSession": "session",
    "PossibleOrphan": "_lazy_conversation",
    "RequestTimeoutError": "errors",
    "RetryBudget": "_retrying",
    "RetryEvent": "_retrying",
    "RetryPolicy": "_policy",
    "SessionError": "errors",
    "Settlement": "_settling",
    "UnsettledWarning": "errors",
    "UnsettledWriteError": "errors",
    "start_openai_conversations_session": "_starting",
}
"""Where each name comes from."""

if not TYPE_CHECKING:  # type checkers know the names above, and none besides
    __getattr__ = importing(__name__, _MODULES)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
