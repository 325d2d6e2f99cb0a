"""Conversations that exist already, put under names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from openai_sessions._arguments import checked_conversation_id
from openai_sessions.directory._checks import (
    checked_lifetime,
    checked_name,
    checked_options,
    checked_strings,
    checked_text,
)
from openai_sessions.directory._connected import Connected
from openai_sessions.directory._database import Database
from openai_sessions.directory._entries import Entries, Opened, Wanted
from openai_sessions.directory._named_session import NamedSession
from openai_sessions.directory._registration import Registration
from openai_sessions.errors.directory import ConversationRegisteredError, DeletionPendingError, NameTakenError

_ATTEMPTS = 5
"""How often a transaction is begun whose conversation other processes register at that moment."""


class RegisteredConversations(Connected):
    """The part of a directory that takes up conversations that were created without it."""

    async def register(
        self,
        name: str,
        conversation_id: str,
        *,
        expires_in: timedelta | float | None = None,
        metadata: Mapping[str, str] | None = None,
        **options: Any,
    ) -> NamedSession:
        """Put an existing conversation under a name, and return the session of it.

        Makes no request to OpenAI: whether the conversation is there is told by the first one. A name that
        has no conversation yet takes it, and one that had expired begins anew with it. What has the
        conversation already is opened, as by `session()`. Of several processes that register at once, one
        is first. What other tenants have registered is not seen.

        What the conversation has used until now is not known to the directory: `set_session_usage()` of the
        session says it.

        Args:
            name: At most 255 characters.
            conversation_id: The conversation.
            expires_in: As for `session()`: once the name has expired, the next sweep deletes the
                conversation.
            metadata: As for `session()`.
            **options: Further arguments of `OpenAIConversationsSession`, beside those of `session_options`.

        Raises:
            NameTakenError: The current branch of the name has another conversation. Nothing was changed.
            ConversationRegisteredError: The conversation has another name, or is another branch of this
                one. Nothing was changed.
            DeletionPendingError: The conversation is to be deleted, or would be, as the name had it and has
                expired. Nothing was changed.
            TypeError: An argument is of the wrong type, or unknown.
            ValueError: An argument is over a limit, or the id is malformed.
            DirectorySchemaError: The tables are missing, or of another version.
            sqlalchemy.exc.SQLAlchemyError: The database cannot be reached, or refuses.
        """
        checked_text(checked_conversation_id(conversation_id), "conversation id")
        wanted = Wanted(checked_name(name), checked_lifetime(expires_in), checked_strings(metadata))
        checked_options(options)

        async def register(connection: AsyncConnection) -> Opened:
            entries = Entries(connection, self.tenant, self._database.clock())
            opened = await entries.open(wanted)
            if opened.conversation_id == conversation_id:
                return opened
            if opened.conversation_id is not None:
                raise NameTakenError(name)
            await _check_is_free(entries, conversation_id)
            return await entries.register(opened, conversation_id)

        opened = await _written(self._database, register)
        return self._session(Registration(self._database, opened), options)


async def _written(database: Database, register: Callable[[AsyncConnection], Awaitable[Opened]]) -> Opened:
    """Run the transaction; again where another one has registered the same since that was checked."""
    for _ in range(_ATTEMPTS - 1):
        with suppress(IntegrityError):
            return await database.write(register)
    return await database.write(register)


async def _check_is_free(entries: Entries, conversation_id: str) -> None:
    """Do nothing when a conversation may be registered.

    In this order: a transaction that takes a conversation from its name notes it as a leftover.

    Raises:
        ConversationRegisteredError: It is registered.
        DeletionPendingError: It is a leftover.
    """
    owner = await entries.owner_of(conversation_id)
    if owner is not None:
        raise ConversationRegisteredError(conversation_id, owner.name, owner.branch)
    if await entries.is_left(conversation_id):
        raise DeletionPendingError(conversation_id)
