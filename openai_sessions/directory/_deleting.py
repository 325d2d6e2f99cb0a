"""Deleting conversations at OpenAI."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable

import anyio
import openai

from openai_sessions._removing import Progress
from openai_sessions.errors import SessionError

logger = logging.getLogger("openai_sessions")

_AT_A_TIME = 8
"""How many conversations are deleted at once."""

_USELESS = (
    openai.AuthenticationError,
    openai.PermissionDeniedError,
    openai.RateLimitError,
    openai.APIConnectionError,
)
"""Errors that the next deletion would meet too."""


class Deletions:
    """The deletion of conversations at OpenAI, eight at a time.

    Args:
        delete_one: Deletes one conversation, or finds it gone.
        forget: Notes that a conversation is deleted.
        postpone: Notes that a conversation could not be deleted.

    Attributes:
        deleted: How many are deleted.
        failed: How many could not be deleted.
    """

    def __init__(
        self,
        delete_one: Callable[[str], Awaitable[None]],
        forget: Callable[[str], Awaitable[None]],
        postpone: Callable[[str], Awaitable[None]],
    ) -> None:
        self._delete_one = delete_one
        self._forget = forget
        self._postpone = postpone
        self._fatal: Exception | None = None
        self.deleted = 0
        self.failed = 0

    async def run(self, conversation_ids: list[str], progress: Progress | None) -> None:
        """Delete conversations, each for itself.

        Raises:
            Exception: One that the other deletions would meet too, or of the database.
        """
        waiting = deque(conversation_ids)

        async def work() -> None:
            while waiting and self._fatal is None:
                await self._delete(waiting.popleft())
                if progress is not None and self._fatal is None:
                    progress(self.deleted + self.failed, len(conversation_ids))

        async with anyio.create_task_group() as tasks:
            for _ in range(min(_AT_A_TIME, len(conversation_ids))):
                tasks.start_soon(work)
        if self._fatal is not None:
            raise self._fatal

    async def _delete(self, conversation_id: str) -> None:
        try:
            if await self._is_deleted(conversation_id):
                await self._forget(conversation_id)
                self.deleted += 1
            else:
                await self._postpone(conversation_id)
                self.failed += 1
        except Exception as error:  # noqa: BLE001 -- raised above, once the others have ended
            self._fatal = self._fatal or error

    async def _is_deleted(self, conversation_id: str) -> bool:
        """Delete a conversation; return whether that succeeded.

        Raises:
            Exception: One that the other deletions would meet too.
        """
        try:
            await self._delete_one(conversation_id)
        except Exception as error:
            if isinstance(error, _USELESS) or not _is_of_request(error):
                raise
            logger.warning("%s is left for the next sweep: %s", conversation_id, type(error).__name__)
            return False
        return True


def _is_of_request(error: Exception) -> bool:
    """Tell whether an error came from one request, and not from a missing key or a defect."""
    return isinstance(error, (openai.APIError, SessionError))
