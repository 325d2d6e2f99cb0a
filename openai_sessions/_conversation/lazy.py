"""A conversation that is created when it is first needed, and used under its lock."""

from __future__ import annotations

import inspect
import logging
import time
import warnings
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from openai_sessions._api.client import ConversationsClient
from openai_sessions._api.clients import Clients
from openai_sessions._api.retries import Outcome, RequestKind
from openai_sessions._conversation.locked import LockedConversation, settle_all
from openai_sessions._conversation.locks import FairLock, PluggedLock, holding
from openai_sessions._conversation.shielding import Cancellation, run_shielded
from openai_sessions._conversation.state import Conversation, Receipt, rest, shared_conversation
from openai_sessions._conversation.writing import delete_conversation, note_taken
from openai_sessions._instrumentation import not_a_part, operation
from openai_sessions._items.types import ConversationCallback, Metadata
from openai_sessions.errors import UnsettledWarning

T = TypeVar("T")

logger = logging.getLogger("openai_sessions")

_announcing: ContextVar[tuple[int, ...]] = ContextVar("_announcing", default=())
"""The conversations (by identity) whose callback this task is inside of: it must not wait for itself."""


@dataclass(frozen=True, slots=True)
class PossibleOrphan:
    """An empty conversation that may exist although its id never arrived.

    Attributes:
        metadata: What it was to be created with, or None.
        requested_at: When its creation was requested, in seconds since the epoch.
    """

    metadata: Metadata | None
    requested_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What the caller plugs in.

    Attributes:
        on_created: Called with the id of each conversation that is created, before it is used; again
            before the next use if it raised.
        on_orphan: Called when the answer to a creation was lost.
        lock: Held around each operation, or None.
    """

    on_created: ConversationCallback | None = None
    on_orphan: Callable[[PossibleOrphan], object] | None = None
    lock: PluggedLock | None = None


class LazyConversation:
    """A conversation that is created, empty, by the first operation that needs one.

    Args:
        clients: Where the client for the running event loop comes from.
        conversation_id: The conversation to resume, or None.
        metadata: Kept with a conversation that is created.
        hooks: What the caller plugs in.
    """

    def __init__(
        self,
        clients: Clients,
        *,
        conversation_id: str | None,
        metadata: Metadata | None,
        hooks: Hooks,
    ) -> None:
        self._clients = clients
        self._conversation_id = conversation_id
        self._metadata = metadata
        self._hooks = hooks
        self.known: Conversation | None = None
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

    def keep_with_new_ones(self, metadata: Metadata | None) -> None:
        """Keep other metadata with conversations that are created from now on."""
        self._metadata = metadata

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
        self,
        operation: Callable[[LockedConversation], Awaitable[T]],
        *,
        create: bool = False,
        undo: Callable[[LockedConversation, T], Awaitable[object]] | None = None,
    ) -> T | None:
        """Run an operation under the conversation's lock, shielded once it has begun to write.

        Args:
            operation: Called with the conversation.
            create: Create the conversation when there is none.
            undo: Called with the result of an operation that had succeeded when its caller was
                cancelled.

        Returns:
            What the operation returns; None when there is no conversation and none is to be created.

        Raises:
            ConversationNotFoundError: The operation met a 404, and so does the conversation itself.
        """
        while True:
            conversation_id = await self.ensure() if create else self._conversation_id
            if conversation_id is None:
                return None
            client = await self._clients.client()
            self.known = shared_conversation(client.base_url, conversation_id)
            # The caller holds the lock, not the task that it owns: nobody comes between a result and
            # its undoing.
            async with self.known.lock.held():
                if conversation_id == self._conversation_id:
                    hold = partial(LockedConversation, client, conversation_id, self.known)
                    return await run_shielded(
                        partial(self._with_plugged_lock, hold, operation),
                        undo=undo and partial(self._undo, hold, undo),
                    )
                # Cleared, or set to another conversation, while waiting: begin again.

    async def _undo(
        self,
        hold: Callable[[Cancellation], LockedConversation],
        undo: Callable[[LockedConversation, T], Awaitable[object]],
        result: T,
    ) -> None:
        await self._with_plugged_lock(hold, lambda locked: undo(locked, result), Cancellation())

    async def _with_plugged_lock(
        self,
        hold: Callable[[Cancellation], LockedConversation],
        operation: Callable[[LockedConversation], Awaitable[T]],
        cancellation: Cancellation,
    ) -> T:
        locked, lock = hold(cancellation), self._hooks.lock
        async with holding(lock, locked.conversation_id, cancellation) if lock else nullcontext():
            if lock:
                locked.known.expire()
            try:
                async with locked.client.confirming_not_found(locked.conversation_id):
                    return await operation(locked)
            finally:
                if lock:
                    await note_taken(locked)
                rest(locked.known)

    async def settle_or_warn(self) -> None:
        """Settle what is unsettled, or warn of it, and look for what is in doubt; if anything is."""
        if self.known is None or not (self.receipts() or self.known.in_doubt):
            return
        try:
            await self.settle()
        except Exception:  # noqa: BLE001 -- whatever it was, the receipts say what is left
            if receipts := [receipt.as_json() for receipt in self.receipts()]:
                warnings.warn(UnsettledWarning(receipts), stacklevel=3)

    @operation()
    async def settle(self) -> None:
        """Settle what is unsettled, and look for what is in doubt."""

        async def settle(locked: LockedConversation) -> None:
            await settle_all(locked)
            if locked.known.in_doubt:
                await locked.newest(1)

        await self.run(settle)

    def receipts(self) -> tuple[Receipt, ...]:
        """Return the receipts of what has failed and is not undone yet."""
        if self.known is None or self._conversation_id is None:
            return ()
        return self.known.receipts(self._conversation_id)

    async def delete(self) -> None:
        """Delete the conversation if there is one. The next operation that needs one creates it anew."""

        async def delete(locked: LockedConversation) -> None:
            await delete_conversation(locked)
            self.conversation_id = None
            logger.info("deleted %s", locked.conversation_id)

        await self.run(delete)

    async def _create(self) -> str:
        async with self._creation.held():
            if self._conversation_id is None:
                client = await self._clients.client()
                created = await client.retrier.run(
                    RequestKind.CREATE_CONVERSATION, partial(self._request_creation, client)
                )
                self.conversation_id = created
                self._unannounced = created
                self.known = shared_conversation(client.base_url, created)
                self.known.tail.learn([], is_whole=True)
                logger.info("created %s", created)
            return self._conversation_id or ""

    async def _request_creation(self, client: ConversationsClient) -> str:
        orphan = PossibleOrphan(self._metadata, time.time())
        try:
            return await client.create_conversation(self._metadata)
        except BaseException as error:
            failure = client.retrier.classify(error)
            if failure is None or failure.outcome is Outcome.UNKNOWN:
                self._tell_of(orphan)
            raise

    def _tell_of(self, orphan: PossibleOrphan) -> None:
        if self._hooks.on_orphan is None:
            return
        try:
            self._hooks.on_orphan(orphan)
        except Exception:
            logger.exception("on_orphan raised")

    async def _announce(self) -> None:
        """Call the callback for a conversation that it was not called for yet."""
        if self._unannounced is None or id(self) in _announcing.get():
            return
        async with self._announcement.held():
            conversation_id = self._unannounced
            if conversation_id is not None:
                await self._call_back(conversation_id)
                self._unannounced = None if self._unannounced == conversation_id else self._unannounced

    async def _call_back(self, conversation_id: str) -> None:
        if self._hooks.on_created is None:
            return
        token = _announcing.set((*_announcing.get(), id(self)))
        try:
            with not_a_part():
                result = self._hooks.on_created(conversation_id)
                if inspect.isawaitable(result):
                    await result
        finally:
            _announcing.reset(token)
