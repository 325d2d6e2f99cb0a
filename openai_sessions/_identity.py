"""Which conversation a session is of, and its settings, as the protocol `agents.Session` wants them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from openai_sessions import _agents
from openai_sessions._arguments import checked_conversation_id
from openai_sessions._lazy_conversation import LazyConversation
from openai_sessions._operations import operation
from openai_sessions._resource import Resource
from openai_sessions.errors import ConversationNotCreatedError

if TYPE_CHECKING:
    from agents import SessionSettings


class Identity(Resource):
    """The part of a session that says what it is the session of."""

    _conversation: LazyConversation
    _settings: Any

    if TYPE_CHECKING:
        # Attributes for type checkers, as in the protocol agents.Session; properties below.
        session_id: str
        session_settings: SessionSettings | None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} conversation_id={self._conversation.conversation_id!r}>"

    if not TYPE_CHECKING:

        @property
        def session_id(self) -> str:
            """The id of the conversation. Setting it resumes another conversation.

            Raises:
                ConversationNotCreatedError: The session is unused; a ValueError and AttributeError.
                ValueError: The id that is set is malformed.
            """
            if self._conversation.conversation_id is None:
                _agents.register_session(type(self))
                raise ConversationNotCreatedError
            return self._conversation.conversation_id

        @session_id.setter
        def session_id(self, value: str) -> None:
            self._conversation.conversation_id = checked_conversation_id(value)

        @property
        def session_settings(self) -> SessionSettings:
            """The settings, as the Runner of the Agents SDK expects them."""
            self._settings = _agents.session_settings(self._settings)
            return self._settings

        @session_settings.setter
        def session_settings(self, value: SessionSettings | Mapping[str, Any] | None) -> None:
            self._settings = _agents.session_settings(value)

    @property
    def conversation_id(self) -> str | None:
        """The id of the conversation, or None while there is none."""
        return self._conversation.conversation_id

    @operation()
    async def ensure_conversation(self) -> str:
        """Create the conversation now if there is none yet, and return its id.

        For code that needs `session_id` before the first write. Does not ask whether a resumed
        conversation still exists.

        Raises:
            openai.OpenAIError: The conversation could not be created; the next write tries again.
        """
        return await self._conversation.ensure()
