"""Keep an agent's memory in OpenAI's hosted conversations.

Public names are imported when they are first used (PEP 562): every run of pytest imports this package for its
plugin. `__init__.pyi` gives type checkers the same names.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "context": [
        "ContextSession",
    ],
    "encryption": [
        "EncryptedSession",
    ],
    "errors": [
        "ConversationNotCreatedError",
        "ConversationNotFoundError",
        "InvalidItemError",
        "RequestTimeoutError",
        "SessionError",
        "UnsettledWarning",
        "UnsettledWriteError",
    ],
    "session": [
        "Compaction",
        "HistoryLimits",
        "OpenAIConversationsSession",
        "RequestSettings",
        "RetryPolicy",
        "Turn",
        "Usage",
        "start_openai_conversations_session",
    ],
    "transfer": [
        "copy_session",
        "export_session",
        "import_session",
    ],
}
"""The public names, by module."""

_MODULES = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = sorted(_MODULES)  # noqa: PLE0605  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
