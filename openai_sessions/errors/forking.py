"""The errors of forks."""

from __future__ import annotations

from collections.abc import Sequence

from openai_sessions.errors import SessionError


class ForkPointError(SessionError, ValueError):
    """Tell that a conversation cannot be forked there. Nothing was created.

    Attributes:
        conversation_id: The conversation that was to be forked.
        safe_item_ids: The nearest items, before and behind, after which it can be forked; none where no
            other place is meant.
    """

    def __init__(self, conversation_id: str, reason: str, safe_item_ids: Sequence[str] = ()) -> None:
        super().__init__(f"{conversation_id} cannot be forked there: {reason}. Nothing was created.")
        self.conversation_id = conversation_id
        self.safe_item_ids = tuple(safe_item_ids)


class ForkVerificationError(SessionError):
    """Tell that a fork did not hold the items that were written to it. It was deleted.

    Attributes:
        position: The first item, from 0, that differs, is missing, or is one too many.
    """

    def __init__(self, position: int) -> None:
        super().__init__(
            "The new conversation was read back, and differs from what was written to it at item "
            f"{position} (counted from 0): the server does not keep such an item as it is."
        )
        self.position = position


class UnfinishedForkError(SessionError):
    """Tell that a fork failed, and that its new conversation could not be deleted, or may not be.

    `__cause__` says how the fork failed.

    Attributes:
        conversation_id: The new conversation, which may hold items.
        undoing: Why it could not be deleted.
    """

    def __init__(self, conversation_id: str, undoing: BaseException) -> None:
        super().__init__(
            f"A fork failed, and its new conversation {conversation_id} could not be deleted "
            f"({type(undoing).__name__}): it may stand, and hold items. To delete it: `await "
            f"OpenAIConversationsSession(conversation_id={conversation_id!r}).clear_session(purge_items=True)`."
        )
        self.conversation_id = conversation_id
        self.undoing = undoing
