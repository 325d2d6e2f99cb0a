"""The metadata of a conversation as a user reads and changes it."""

from __future__ import annotations

from collections.abc import Mapping

from openai_sessions._arguments import checked_metadata
from openai_sessions._holding import Held
from openai_sessions._identity import Identity
from openai_sessions._operations import operation
from openai_sessions.errors import MetadataFullError

RESERVED_PREFIX = "openai_sessions."
"""How the keys begin under which this library keeps what it knows of a conversation."""

_MAX_PAIRS = 16


def own_pairs(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the pairs that are not this library's."""
    return {key: value for key, value in metadata.items() if not key.startswith(RESERVED_PREFIX)}


def checked_changes(value: object) -> dict[str, str | None]:
    """Return changes of metadata: new values, and None for what is to be removed.

    Raises:
        TypeError: It is not a mapping of strings to strings or None.
        ValueError: A key or a value is too long, or a key is this library's.
    """
    if not isinstance(value, Mapping):
        raise TypeError(
            f"the changes are a mapping of strings to strings or None, not {type(value).__name__}"
        )
    for key, text in value.items():
        checked_metadata({key: "" if text is None else text})
        if key.startswith(RESERVED_PREFIX):
            raise ValueError(f"the metadata key {key!r} is kept by openai_sessions: take another name")
    return dict(value)


def merged(metadata: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return metadata with changes made; None removes a pair."""
    return {key: value for key, value in {**metadata, **changes}.items() if value is not None}


def check_room(conversation_id: str, metadata: Mapping[str, str]) -> None:
    """Refuse metadata of more pairs than the API keeps.

    Raises:
        MetadataFullError: There are more than 16.
    """
    if len(metadata) > _MAX_PAIRS:
        raise MetadataFullError(conversation_id, len(metadata))


async def replace_metadata(held: Held, metadata: Mapping[str, str]) -> None:
    """Put metadata in the place of the conversation's; a caller who is cancelled waits for it."""
    held.interruption.has_begun = True
    await held.gateway.replace_metadata(held.conversation_id, metadata)


class KeptMetadata(Identity):
    """The part of a session that reads and changes the metadata of its conversation."""

    @operation()
    async def get_metadata(self) -> dict[str, str]:
        """Return the metadata of the conversation, in one request; {} while there is none.

        The pairs that this library keeps for itself, under `openai_sessions.…`, are left out.

        Raises:
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: The request failed; transient failures were repeated in vain.
        """

        async def read(held: Held) -> dict[str, str]:
            return own_pairs(await held.gateway.metadata_of(held.conversation_id))

        return await self._conversation.run(read) or {}

    @operation()
    async def update_metadata(self, changes: Mapping[str, str | None]) -> None:
        """Change some pairs of the conversation's metadata, and leave the others.

        A write: it creates the conversation when there is none. The API replaces all metadata at once,
        so that this reads it, and writes it back changed, in two requests. Changes made at the same
        moment by session objects of this process, or of processes that share a `lock`, are all
        kept; without a lock, another process may undo them by replacing what it had read before. The same may
        a request whose connection was lost, where the server applies it later than its repetition.

        Args:
            changes: New values by key, and None for pairs to be removed. At most 16 pairs may result,
                with keys of at most 64 and values of at most 512 characters.

        Raises:
            TypeError: A key or value is of the wrong type. Nothing was sent.
            ValueError: A key or value is too long, or a key begins with `openai_sessions.`. Nothing was sent.
            MetadataFullError: More than 16 pairs would result. Nothing was changed.
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: A request failed: the changes may or may not be made. Make them again. The
                same holds when the caller is cancelled.
        """
        checked = checked_changes(changes)

        async def update(held: Held) -> None:
            before = await held.gateway.metadata_of(held.conversation_id)
            after = merged(before, checked)
            check_room(held.conversation_id, after)
            if after != before:
                await replace_metadata(held, after)

        if checked:
            await self._conversation.run(update, create=True)
