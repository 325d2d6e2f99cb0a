"""The async session behind one without async."""

from __future__ import annotations

import asyncio
import inspect
from typing import cast

from openai_sessions._types import ConversationCallback
from openai_sessions.session import OpenAIConversationsSession


class SessionBehind(OpenAIConversationsSession):
    """The session that does the work, on the background loop."""

    @property
    def is_unclosed(self) -> bool:
        """Whether it has opened a client and not been closed since."""
        return self._clients.unclosed

    def in_child(self) -> SessionBehind:
        """Return a session on the same conversation for a process that was forked."""
        return self._sibling(cast("str", self.conversation_id))  # None where there is none yet

    def __del__(self) -> None:
        """Leave it to the session in front to warn."""


def off_the_loop(callback: ConversationCallback | None) -> ConversationCallback | None:
    """Return a callback that runs in a thread, where it may block; a coroutine function as it is."""
    if callback is None or inspect.iscoroutinefunction(callback):
        return callback

    async def call(conversation_id: str) -> None:
        answer = await asyncio.to_thread(callback, conversation_id)
        if inspect.isawaitable(answer):
            await answer

    return call
