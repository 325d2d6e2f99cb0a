"""The conversation behind a session: created when needed, announced, and used under its lock."""

from __future__ import annotations

import inspect
import logging
import time
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from openai_sessions._api.client import ConversationsClient, NotFoundError
from openai_sessions._api.clients import Clients
from openai_sessions._api.retries import Outcome, RequestKind
from openai_sessions._conversation.locked import LockedConversation, settle_all
from openai_sessions._conversation.locks import (
    PATIENCE,
    ConversationLock,
    FairLock,
    holding,
    holding_throughout,
    never_lost,
)
from openai_sessions._conversation.shielding import GRACE, Cancellation, run_shielded
from openai_sessions._conversation.state import (
    Conversation,
    Receipt,
    keep_while_unsettled,
    shared_conversation,
)
from openai_sessions._conversation.writing import (
    Progress,
    confirm_pops,
    delete_all_items,
    delete_conversation,
)
from openai_sessions._instrumentation import not_a_part, operation
from openai_sessions._items.types import ConversationCallback, Metadata
from openai_sessions.errors import ConversationHeldError, UnsettledWarning

if TYPE_CHECKING:
    from typing_extensions import TypeVarTuple, Unpack

    Arguments = TypeVarTuple("Arguments")

T = TypeVar("T")

logger = logging.getLogger("openai_sessions")

_announcing: ContextVar[tuple[int, ...]] = ContextVar("_announcing", default=())
"""The conversations (by identity) whose callback is running in this task: it must not wait for itself."""


@dataclass(frozen=True, slots=True)
class PossibleOrphan:
    """An empty conversation that may exist although no session uses it.

    Attributes:
        metadata: The metadata in the request, or None.
        requested_at: The time of the request (Unix seconds).
        conversation_id: Its id, if a response has one that cannot be used in a URL; None if no id arrived.
    """

    metadata: Metadata | None
    requested_at: float
    conversation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The caller's callbacks and lock.

    Attributes:
        on_created: Called with the id of each new conversation before it is used; called again before the
            next use if it raised.
        on_orphan: Called when the reply to a creation was lost, or has no id that can be used.
        lock: Held during each operation, or None.
    """

    on_created: ConversationCallback | None = None
    on_orphan: Callable[[PossibleOrphan], object] | None = None
    lock: ConversationLock | None = None


class LazyConversation:
    """A conversation that is created, empty, by the first operation that needs one.

    An extension point: a subclass may take the id from elsewhere, as the sessions of a directory do. It
    overrides `ensure` and `run` to look it up, `_create_once` to create it, and `delete_locked`.

    Args:
        clients: The source of the client for the running event loop.
        conversation_id: The conversation to resume, or None.
        metadata: The metadata of a new conversation.
        hooks: The caller's callbacks and lock.

    Attributes:
        known: What this process knows of the conversation that was used last, or None.
        purges_items: Whether a deletion deletes the items first, which the API keeps otherwise.
    """

    purges_items = False

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
        """The id of the conversation, or None if there is none. May be set."""
        return self._conversation_id

    @conversation_id.setter
    def conversation_id(self, value: str | None) -> None:
        self._conversation_id = value
        self._unannounced = None

    def set_initial_metadata(self, metadata: Metadata | None) -> None:
        """Set the metadata of conversations that are created from now on."""
        self._metadata = metadata

    async def ensure(self) -> str:
        """Return the id; if there is no conversation, create it first, in one request.

        Any number of tasks may call this at once: one creates, and if it fails the next one tries.
        """
        while True:
            conversation_id = self._conversation_id or await self._create()
            await self._announce()
            if conversation_id == self._conversation_id:
                return conversation_id

    async def run(
        self,
        operation: Callable[[LockedConversation, Unpack[Arguments]], Coroutine[Any, Any, T]],
        *args: Unpack[Arguments],
        create: bool = False,
        undo: Callable[[LockedConversation, T], Coroutine[Any, Any, object]] | None = None,
    ) -> T | None:
        """Run an operation under the conversation's lock, shielded once it has begun to write.

        Args:
            operation: Called with the locked conversation and `args`.
            args: The arguments of the operation.
            create: Create the conversation if there is none.
            undo: Called with the result of an operation that had succeeded when its caller was cancelled.

        Returns:
            The result of the operation; None if there is no conversation and none is to be created.

        Raises:
            ConversationNotFoundError: The operation met a 404, and so does the conversation itself.
            ConversationHeldError: A block of this task holds the conversation: see `held`.
            StoppedLoopError: The conversation is held by a task whose event loop does not run.
        """
        while True:
            conversation_id = await self.ensure() if create else self._conversation_id
            if conversation_id is None:
                return None
            locked = await self._unlocked(conversation_id)
            # This task holds the lock, not the shielded one: nobody comes between a result and its undoing.
            async with _locked_in_process(locked):
                if conversation_id == self._conversation_id:
                    return await _shielded(self._operate, locked, operation, args, undo)
                # Cleared, or set to another conversation, while waiting for the lock: start again.

    @asynccontextmanager
    async def held(self) -> AsyncIterator[HeldConversation]:
        """Hold the locks of the conversation for a whole block: nobody else reads or writes meanwhile.

        Creates the conversation if there is none. Operations run on the object that it gives. Others on the
        conversation wait for the end of the block, in this process and in those that share the caller's lock;
        those of this task, and of tasks that it starts inside, would wait for themselves, and raise.

        Raises:
            ConversationHeldError: This task, or the one that started it, holds the conversation already.
            StoppedLoopError: The conversation is held by a task whose event loop does not run.
            Exception: The conversation could not be created, or the caller's lock not be acquired.
        """
        lock = self._hooks.lock
        while True:
            conversation_id = await self.ensure()
            locked = await self._unlocked(conversation_id)
            async with _locked_in_process(locked):
                if conversation_id != self._conversation_id:
                    continue
                async with (
                    holding_throughout(lock, conversation_id) if lock else nullcontext(never_lost) as check
                ):
                    if lock:
                        locked.known.tail.expire()
                    held = HeldConversation(
                        replace(locked, check_lock=check), self._clients, confirms=bool(lock)
                    )
                    held.enter()
                    try:
                        yield held
                    finally:
                        held.leave()
                return

    async def _unlocked(self, conversation_id: str) -> LockedConversation:
        """Return the conversation for the running event loop. Its lock is not held yet.

        Raises:
            ConversationHeldError: This task, or the one that started it, holds it already.
        """
        client = await self._clients.client()
        self.known = shared_conversation(client.base_url, conversation_id)
        if any(held.is_of(self.known) for held in _held_here.get()):
            raise ConversationHeldError(conversation_id)
        return LockedConversation(client, conversation_id, self.known)

    async def _operate(
        self,
        locked: LockedConversation,
        operation: Callable[[LockedConversation, Unpack[Arguments]], Coroutine[Any, Any, T]],
        *args: Unpack[Arguments],
    ) -> T:
        """Run an operation under the caller's lock, if there is one."""
        lock = self._hooks.lock
        if lock is None:
            async with _operating(locked, confirms=False):
                return await operation(locked, *args)
        async with holding(lock, locked.conversation_id, locked.cancellation) as check:
            locked.known.tail.expire()
            async with _operating(locked, confirms=True):
                return await operation(replace(locked, check_lock=check), *args)

    async def delete(self, *, purge_items: bool | None = None, on_progress: Progress | None = None) -> None:
        """Delete the conversation if there is one. The next operation that needs one creates another.

        Args:
            purge_items: Whether to delete its items first; None for `purges_items`.
            on_progress: Called with the number of items deleted so far, and of all items.
        """
        await self.run(partial(self.delete_locked, purge_items=purge_items, on_progress=on_progress))

    async def delete_locked(
        self,
        locked: LockedConversation,
        *,
        purge_items: bool | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        """Delete the conversation, whose lock is held."""
        await self._delete(locked, purge_items=purge_items, on_progress=on_progress)
        self.conversation_id = None

    async def _delete(
        self, locked: LockedConversation, *, purge_items: bool | None, on_progress: Progress | None
    ) -> None:
        if self.purges_items if purge_items is None else purge_items:
            with suppress(NotFoundError):
                await delete_all_items(locked, on_progress=on_progress)
        await delete_conversation(locked)
        logger.info("deleted %s", locked.conversation_id)

    def receipts(self) -> tuple[Receipt, ...]:
        """Return the receipts of writes that failed and are not undone yet."""
        if self.known is None or self._conversation_id is None:
            return ()
        return tuple(self.known.unsettled)

    async def settle_or_warn(self) -> None:
        """Settle what is unsettled; warn of what cannot be settled."""
        if not self.receipts():
            return
        try:
            await self.settle()
        except Exception:  # noqa: BLE001 -- whatever it was, the receipts say what remains
            if receipts := [receipt.as_json() for receipt in self.receipts()]:
                warnings.warn(UnsettledWarning(receipts), stacklevel=3)

    @operation()
    async def settle(self) -> None:
        """Settle what is unsettled."""
        await self.run(settle_all)

    async def _create(self) -> str:
        async with self._creation.held():
            if self._conversation_id is None:
                client = await self._clients.client()
                created = await self._request_creation(client)
                self.conversation_id = created
                self._unannounced = created
                self.known = shared_conversation(client.base_url, created)
                self.known.tail.learn([], is_whole=True)
                logger.info("created %s", created)
            return self._conversation_id or ""

    async def _request_creation(self, client: ConversationsClient) -> str:
        attempts = client.retries.attempts(RequestKind.CREATE_CONVERSATION)
        created = ""
        async for attempt in attempts:
            with attempt:
                created = await self._create_once(client)
                attempts.succeeded()
        return created

    async def _create_once(self, client: ConversationsClient) -> str:
        orphan = PossibleOrphan(self._metadata, time.time())
        try:
            return await client.create_conversation(self._metadata)
        except BaseException as error:
            failure = client.retries.classify(error)
            if failure is None or failure.outcome is Outcome.UNKNOWN:
                self._report_orphan(replace(orphan, conversation_id=getattr(error, "conversation_id", None)))
            raise

    def _report_orphan(self, orphan: PossibleOrphan) -> None:
        if self._hooks.on_orphan is None:
            return
        try:
            self._hooks.on_orphan(orphan)
        except Exception:
            logger.exception("on_orphan raised")

    async def _announce(self) -> None:
        """Call `on_created` for a conversation for which it has not succeeded yet."""
        if self._unannounced is None or id(self) in _announcing.get():
            return
        async with self._announcement.held():
            conversation_id = self._unannounced
            if conversation_id is not None:
                await self._call_on_created(conversation_id)
                self._unannounced = None if self._unannounced == conversation_id else self._unannounced

    async def _call_on_created(self, conversation_id: str) -> None:
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


_held_here: ContextVar[tuple[HeldConversation, ...]] = ContextVar("_held_here", default=())
"""The conversations that the blocks around this code hold."""


class HeldConversation:
    """A conversation whose locks a whole block holds, and the operations inside that block.

    Args:
        locked: The conversation.
        clients: The source of the client for the event loop of each operation.
        confirms: Whether the caller's lock is held, so that no other process can interfere.
    """

    def __init__(self, locked: LockedConversation, clients: Clients, *, confirms: bool) -> None:
        self._locked = locked
        self._clients = clients
        self._confirms = confirms
        self._one_at_a_time = FairLock()
        self._is_open = True

    @property
    def conversation_id(self) -> str:
        """The id of the conversation."""
        return self._locked.conversation_id

    def is_of(self, known: Conversation) -> bool:
        """Return whether this conversation is held now."""
        return self._is_open and self._locked.known is known

    def enter(self) -> None:
        """Record in the current context that the conversation is held."""
        _held_here.set((*(held for held in _held_here.get() if held._is_open), self))  # noqa: SLF001

    def leave(self) -> None:
        """Record that it is not held any more, whatever the context."""
        self._is_open = False
        _held_here.set(tuple(held for held in _held_here.get() if held is not self))

    async def run(
        self,
        operation: Callable[[LockedConversation, Unpack[Arguments]], Coroutine[Any, Any, T]],
        *args: Unpack[Arguments],
        create: bool = False,  # noqa: ARG002 -- as LazyConversation.run; there is a conversation
        undo: Callable[[LockedConversation, T], Coroutine[Any, Any, object]] | None = None,
    ) -> T:
        """Run an operation as `LazyConversation.run` does, under the locks that are held already.

        Operations of several tasks run one after another.
        """
        locked = replace(self._locked, client=await self._clients.client(), cancellation=Cancellation())
        async with self._one_at_a_time.held():
            return await _shielded(self._operate, locked, operation, args, undo)

    async def _operate(
        self,
        locked: LockedConversation,
        operation: Callable[[LockedConversation, Unpack[Arguments]], Coroutine[Any, Any, T]],
        *args: Unpack[Arguments],
    ) -> T:
        async with _operating(locked, confirms=self._confirms):
            return await operation(locked, *args)


def _locked_in_process(locked: LockedConversation) -> AbstractAsyncContextManager[None]:
    return locked.known.lock.held(max(PATIENCE, (locked.client.timeout or 0) + GRACE))


def _shielded(
    operate: Callable[..., Coroutine[Any, Any, Any]],
    locked: LockedConversation,
    operation: Callable[[LockedConversation, Unpack[Arguments]], Coroutine[Any, Any, T]],
    args: tuple[Unpack[Arguments]],
    undo: Callable[[LockedConversation, T], Coroutine[Any, Any, object]] | None,
) -> Coroutine[Any, Any, T]:
    """Run an operation, and its undoing if its caller was cancelled, through `operate`."""

    def work(cancellation: Cancellation) -> Coroutine[Any, Any, T]:
        return operate(replace(locked, cancellation=cancellation), operation, *args)

    if undo is None:
        return run_shielded(work)
    undoing = undo

    def undo_result(result: T) -> Coroutine[Any, Any, object]:
        return operate(locked, undoing, result)

    return run_shielded(work, undo=undo_result)


@asynccontextmanager
async def _operating(locked: LockedConversation, *, confirms: bool) -> AsyncIterator[None]:
    """Surround an operation whose locks are held; `confirms`: no other process can interfere."""
    try:
        async with locked.client.confirming_not_found(locked.conversation_id):
            yield
    finally:
        if confirms:
            await confirm_pops(locked)
        keep_while_unsettled(locked.known, locked.conversation_id)
