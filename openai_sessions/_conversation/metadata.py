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
            f"changes must be a mapping of strings to strings or None, not {type(value).__name__}"
        )
    for key, text in value.items():
        checked_metadata({key: "" if text is None else text})
        check_not_reserved(key)
    return dict(value)


def merged(metadata: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return metadata with changes made; None removes a pair."""
    return {key: value for key, value in {**metadata, **changes}.items() if value is not None}


def check_room(conversation_id: str, metadata: Mapping[str, str]) -> None:
    """Refuse metadata of more pairs than the API keeps.

    Raises:
        MetadataFullError: There are more than 16.
    """
    if len(metadata) > MAX_METADATA_PAIRS:
        raise MetadataFullError(conversation_id, len(metadata), most=MAX_METADATA_PAIRS)


async def replace_metadata(locked: LockedConversation, metadata: Mapping[str, str]) -> None:
    """Put metadata in the place of the conversation's; a caller who is cancelled waits for it."""
    locked.cancellation.has_begun = True
    await locked.client.replace_metadata(locked.conversation_id, metadata)
