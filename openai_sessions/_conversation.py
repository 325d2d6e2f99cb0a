"""What the process knows of one conversation, and its lock."""

from __future__ import annotations

import threading
from weakref import WeakValueDictionary

from openai_sessions._locking import FairLock


class Conversation:
    """One hosted conversation, shared by all session objects of the process that use it.

    Attributes:
        lock: Held around each operation, so that session objects on one conversation behave as one.
    """

    __slots__ = ("__weakref__", "lock")

    def __init__(self) -> None:
        self.lock = FairLock()


_conversations: WeakValueDictionary[tuple[str, str], Conversation] = WeakValueDictionary()
"""The registry of the process, by base URL and conversation id. An entry lives while it is in use."""

_guard = threading.Lock()


def shared_conversation(base_url: str, conversation_id: str) -> Conversation:
    """Return the one object that stands for a conversation in this process."""
    with _guard:
        return _conversations.setdefault((base_url, conversation_id), Conversation())
