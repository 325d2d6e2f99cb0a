"""The metadata of a conversation."""

from __future__ import annotations

from collections.abc import Mapping

from openai_sessions._arguments import (
    MAX_METADATA_PAIRS,
    RESERVED_PREFIX,
    check_not_reserved,
    checked_metadata,
)
from openai_sessions._conversation.locked import LockedConversation
from openai_sessions.errors import MetadataFullError


def own_pairs(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the pairs of the application."""
    return {key: value for key, value in metadata.items() if not key.startswith(RESERVED_PREFIX)}


def checked_changes(value: object) -> dict[str, str | None]:
    """Return changes of metadata: new values by key, and None for pairs to remove.

    Raises:
        TypeError: It is not a mapping of strings to strings or None.
        ValueError: A key or a value is too long, or a key has this library's prefix.
    """
    if not isinstance(value, Mapping):
        raise TypeError(
            f"changes must be a mapping of strings to strings or None, not {type(value).__name__}"
        )
    for key, text in value.items():
        checked_metadata({key: "" if text is None else text})
        check_not_reserved(key)
    return dict(value)


def check_room(conversation_id: str, metadata: Mapping[str, str]) -> None:
    """Reject metadata with more pairs than the API accepts.

    Raises:
        MetadataFullError: There are more than 16.
    """
    if len(metadata) > MAX_METADATA_PAIRS:
        raise MetadataFullError(conversation_id, len(metadata), most=MAX_METADATA_PAIRS)


async def replace_metadata(locked: LockedConversation, metadata: Mapping[str, str]) -> None:
    """Replace the metadata of the conversation; a caller who is cancelled waits for it."""
    locked.cancellation.has_begun = True
    await locked.client.replace_metadata(locked.conversation_id, metadata)


async def read_metadata(locked: LockedConversation) -> dict[str, str]:
    """Return the metadata of the conversation, with this library's pairs."""
    return await locked.client.metadata_of(locked.conversation_id)


async def change_metadata(locked: LockedConversation, changes: Mapping[str, str | None]) -> None:
    """Apply changes to the metadata of the conversation.

    Raises:
        MetadataFullError: More than 16 pairs would result. Nothing was changed.
    """
    before = await locked.client.metadata_of(locked.conversation_id)
    after = {key: value for key, value in {**before, **changes}.items() if value is not None}
    check_room(locked.conversation_id, after)
    if after != before:
        await replace_metadata(locked, after)
