"""Keep the message history of LangChain chains in conversations hosted by OpenAI.

Requires langchain-core: `pip install "openai-sessions[langchain]"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

try:
    from langchain_core.chat_history import BaseChatMessageHistory
    from langchain_core.messages import BaseMessage
except ImportError as error:
    raise ImportError(
        "openai_sessions.adapters.langchain requires langchain-core: "
        "pip install 'openai-sessions[langchain]'",
        name=error.name,
    ) from error

from openai_sessions import sync
from openai_sessions.adapters._langchain_items import to_items, to_messages

if TYPE_CHECKING:
    from openai_sessions import EncryptedSession, OpenAIConversationsSession


class OpenAIConversationsChatMessageHistory(BaseChatMessageHistory):
    """The messages of a chain in the items of a session.

    What of a message is stored, and what is lost, is in docs/langchain.md.

    Over an async session, use its coroutine methods, as `ainvoke` and `astream` of LangChain do. Over a
    session of `openai_sessions.sync` all methods work: the coroutine methods run it in a thread.

    Args:
        session: Any session of this library. It is not closed here.
    """

    def __init__(
        self, session: OpenAIConversationsSession | EncryptedSession | sync.OpenAIConversationsSession
    ) -> None:
        super().__init__()
        self.session = session

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """The stored messages, oldest first. Each access reads them.

        Raises:
            TypeError: The session is async.
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: A request failed; transient failures were retried without success.
        """
        return to_messages(self._sync_session().get_items())

    async def aget_messages(self) -> list[BaseMessage]:
        """Return the stored messages, oldest first; errors as of `messages`."""
        if isinstance(self.session, sync.OpenAIConversationsSession):
            return await super().aget_messages()
        return to_messages(await self.session.get_items())

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append messages: all of them, in order, once; or none, if it raises.

        What has no item is left out, and logged.

        Args:
            messages: The messages.

        Raises:
            InvalidItemError: A message can never be stored, such as a `RemoveMessage`. Nothing was sent.
            UnsettledWriteError: The write failed and could not be undone; says what remains stored.
            TypeError: The session is async.
            openai.OpenAIError: A request failed. Nothing of the write remains.
        """
        self._sync_session().add_items(to_items(messages))

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append messages as `add_messages`. If it is cancelled over an async session, none is stored.

        Over a synchronous session the thread goes on when its caller is cancelled, and stores all.
        """
        if isinstance(self.session, sync.OpenAIConversationsSession):
            await super().aadd_messages(messages)
        else:
            await self.session.add_items(to_items(messages))

    def clear(self) -> None:
        """Delete the conversation; the next write creates a new one."""
        self._sync_session().clear_session()

    async def aclear(self) -> None:
        """Delete the conversation; the next write creates a new one."""
        if isinstance(self.session, sync.OpenAIConversationsSession):
            await super().aclear()
        else:
            await self.session.clear_session()

    def _sync_session(self) -> sync.OpenAIConversationsSession:
        if not isinstance(self.session, sync.OpenAIConversationsSession):
            raise TypeError(
                "this history has an async session: use ainvoke() and astream(), or aget_messages(), "
                "aadd_messages() and aclear(); or give it a session of openai_sessions.sync"
            )
        return self.session
