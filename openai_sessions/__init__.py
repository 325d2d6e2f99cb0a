"""Keep an agent's memory in OpenAI's hosted conversations."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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
    "OpenAIConversationsSession": "session",
    "PossibleOrphan": "_lazy_conversation",
    "RetryBudget": "_retrying",
    "RetryEvent": "_retrying",
    "RetryPolicy": "_policy",
    "Settlement": "_settling",
    "start_openai_conversations_session": "_starting",
}
"""Where a name comes from that is not of `errors`."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: each run of pytest loads this package for its plugin."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
