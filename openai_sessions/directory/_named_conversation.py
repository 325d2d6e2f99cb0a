"""The conversation behind the session of a name: found in the directory, or created and registered there."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

import anyio

from openai_sessions._clients import Clients
from openai_sessions._gateway import Gateway, NotFoundError
from openai_sessions._holding import Held
from openai_sessions._lazy_conversation import Hooks, LazyConversation
from openai_sessions._policy import Outcome
from openai_sessions._removing import delete_conversation
from openai_sessions._types import Metadata
from openai_sessions.directory._registration import Registration
from openai_sessions.directory._values import CREATION_KEY
from openai_sessions.errors import ConversationNotFoundError

T = TypeVar("T")

logger = logging.getLogger("openai_sessions")

_DELETING = 10.0
"""Seconds that the first write waits for the deletion of a conversation that was created in vain."""


class NamedConversation(LazyConversation):
    """A conversation that follows what a directory has registered.

    It follows until another conversation is set, and again once that is cleared.

    Args:
        clients: Where the client for the running event loop comes from.
        registration: The branch of a name.
        metadata: Kept with a conversation that is created.
        hooks: What the caller plugs in. `on_created` is not told of a conversation that lost a race.
    """

    def __init__(
        self, clients: Clients, *, registration: Registration, metadata: Metadata, hooks: Hooks
    ) -> None:
        followed = registration.opened.conversation_id
        super().__init__(
            clients,
            conversation_id=followed,
            metadata=metadata,
            hooks=replace(hooks, on_created=self._claim),
        )
        self._registration = registration
        self._on_created = hooks.on_created
        self._given = metadata
        self._followed = followed
        self._creation_id: str | None = None

    async def ensure(self) -> str:
        """Return the id of the conversation that is registered; create and register one when there is none.

        Notes in the directory that the name is used.
        """
        held = self.conversation_id
        if held == self._followed:
            self._follow(held, await self._registration.renew(held))
        return await super().ensure()

    async def run(
        self,
        operation: Callable[[Held], Awaitable[T]],
        *,
        create: bool = False,
        undo: Callable[[Held, T], Awaitable[object]] | None = None,
    ) -> T | None:
        """Run an operation as a `LazyConversation` does, on the conversation that is registered.

        Where another process has cleared the one that this session had, it is run on the one that is
        registered since, if there is one or one is to be created.
        """
        while True:
            held = self.conversation_id
            if not create and (held is None or (held == self._followed and self._registration.is_over)):
                self._follow(held, await self._registration.look_up())
            try:
                return await super().run(operation, create=create, undo=undo)
            except ConversationNotFoundError as error:
                if not await self._has_moved(error.conversation_id):
                    raise

    async def delete(self) -> None:
        """Take the conversation from its name, and delete it, if there is one.

        The name is free before the deletion, which a sweep makes up for when it fails.
        """

        async def delete(held: Held) -> None:
            held.interruption.has_begun = True
            await self._registration.release(held.conversation_id, self._creation_id)
            self._follow(held.conversation_id, None)
            await delete_conversation(held)
            await self._registration.deleted(held.conversation_id)
            logger.info("deleted %s", held.conversation_id)

        await self.run(delete)

    def _follow(self, held: str | None, found: str | None) -> None:
        """Go on with what the directory says, unless another task has meanwhile set another conversation."""
        if self.conversation_id == held:
            if found != held:
                self.conversation_id = found
            self._followed = found

    async def _has_moved(self, gone: str) -> bool:
        """Tell whether the directory has registered another conversation than one that is gone, or none."""
        held = self.conversation_id
        if held != gone or held != self._followed:
            return held != gone
        found = await self._registration.look_up()
        self._follow(held, found)
        return found != gone

    async def _request_creation(self, gateway: Gateway) -> str:
        """Ask for a conversation that carries a mark, which is noted before."""
        creation_id = await self._registration.note_creation(self._given)
        self._metadata = {**self._given, CREATION_KEY: creation_id}
        try:
            created = await super()._request_creation(gateway)
        except Exception as error:
            failure = gateway.retrier.classify(error)
            is_lost = failure is None or failure.outcome is Outcome.UNKNOWN
            await self._note_failure(creation_id, is_lost=is_lost)
            raise
        self._creation_id = creation_id
        return created

    async def _note_failure(self, creation_id: str, *, is_lost: bool) -> None:
        note = self._registration.creation_lost if is_lost else self._registration.forget_creation
        try:
            await note(creation_id)
        except Exception as error:  # noqa: BLE001 -- the failed creation is what its caller must see
            logger.warning("creation %s stays noted: %s", creation_id, type(error).__name__)

    async def _claim(self, created: str) -> None:
        """Register a conversation before its first item; give it up when the name has one already."""
        registered = await self._registration.claim(created, self._creation_id or "")
        if registered != created:
            logger.info("%s is given up for %s", created, registered)
            self._follow(created, registered)
            await self._delete_in_vain(created)
            return
        self._followed = created
        if self._on_created is not None:
            result = self._on_created(created)
            if inspect.isawaitable(result):
                await result

    async def _delete_in_vain(self, created: str) -> None:
        """Delete a conversation of which nobody else knows. When that fails, a sweep does it."""
        try:
            with anyio.fail_after(_DELETING), suppress(NotFoundError):
                gateway = await self._clients.gateway()
                await gateway.delete_conversation(created)
            await self._registration.deleted(created)
        except Exception as error:  # noqa: BLE001 -- the write that it happens in goes on
            logger.warning("%s is left for a sweep: %s", created, type(error).__name__)
