"""The conversation behind a session: created when it is needed, announced, and used under its lock."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TypeVar

from openai_sessions._clients import Clients
from openai_sessions._conversation import shared_conversation
from openai_sessions._gateway import Gateway
from openai_sessions._locking import FairLock
from openai_sessions._types import ConversationCallback, Metadata
from openai_sessions._writing import delete_conversation

T = TypeVar("T")

logger = logging.getLogger("openai_sessions")

_announcing: ContextVar[tuple[int, ...]] = ContextVar("_announcing", default=())
"""The conversations (by identity) whose callback this task is inside of: it must not wait for itself."""


class LazyConversation:
    """A conversation that is created, empty, by the first operation that needs one.

    Args:
        clients: Where the client for the running event loop comes from.
        conversation_id: The conversation to resume, or None.
        metadata: Kept with a conversation that is created.
        on_created: Called with the id of each conversation that is created, before it is used; again
            before the next use if it raised.
    """

    def __init__(
        self,
        clients: Clients,
        *,
        conversation_id: str | None,
        metadata: Metadata | None,
        on_created: ConversationCallback | None,
    ) -> None:
        self._clients = clients
        self._conversation_id = conversation_id
        self._metadata = metadata
        self._on_created = on_created
        self._unannounced: str | None = None
        self._creation = FairLock()
        self._announcement = FairLock()

    @property
    def conversation_id(self) -> str | None:
        """The id of the conversation, or None while there is none. May be set to another one."""
        return self._conversation_id

    @conversation_id.setter
    def conversation_id(self, value: str | None) -> None:
        self._conversation_id = value
        self._unannounced = None

    async def ensure(self) -> str:
        """Return the id; create the conversation first, in one request, when there is none.

        Any number of tasks may call this at once: one creates, and when it fails the next one tries.
        """
        while True:
            conversation_id = self._conversation_id or await self._create()
            await self._announce()
            if conversation_id == self._conversation_id:
                return conversation_id

    async def run(
        self, operation: Callable[[Gateway, str], Awaitable[T]], *, create: bool = False
    ) -> T | None:
        """Run an operation under the conversation's lock.

        Args:
            operation: Called with the client and the id of the conversation.
            create: Create the conversation when there is none.

        Returns:
            What the operation returns; None when there is no conversation and none is to be created.

        Raises:
            ConversationNotFoundError: The operation met a 404, and so does the conversation itself.
        """
        while True:
            conversation_id = await self.ensure() if create else self._conversation_id
            if conversation_id is None:
                return None
            gateway = await self._clients.gateway()
            conversation = shared_conversation(gateway.base_url, conversation_id)
            async with conversation.lock:
                # Cleared, or set to another conversation, while waiting: begin again.
                if conversation_id == self._conversation_id:
                    async with gateway.confirming_not_found(conversation_id):
                        return await operation(gateway, conversation_id)

    async def delete(self) -> None:
        """Delete the conversation if there is one. The next operation that needs one creates it anew."""

        async def delete(gateway: Gateway, conversation_id: str) -> None:
            await delete_conversation(gateway, conversation_id)
            self.conversation_id = None
            logger.info("deleted %s", conversation_id)

        await self.run(delete)

    async def _create(self) -> str:
        async with self._creation:
            if self._conversation_id is None:
                gateway = await self._clients.gateway()
                created = await gateway.create_conversation(self._metadata)
                self.conversation_id = created
                self._unannounced = created
                logger.info("created %s", created)
            return self._conversation_id or ""

    async def _announce(self) -> None:
        """Call the callback for a conversation that it was not called for yet."""
        if self._unannounced is None or id(self) in _announcing.get():
            return
        async with self._announcement:
            conversation_id = self._unannounced
            if conversation_id is not None:
                await self._call_back(conversation_id)
                self._unannounced = None if self._unannounced == conversation_id else self._unannounced

    async def _call_back(self, conversation_id: str) -> None:
        if self._on_created is None:
            return
        token = _announcing.set((*_announcing.get(), id(self)))
        try:
            result = self._on_created(conversation_id)
            if inspect.isawaitable(result):
                await result
        finally:
            _announcing.reset(token)
