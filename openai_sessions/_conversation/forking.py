"""Copying the beginning of a conversation to a new one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import anyio

from openai_sessions._arguments import RESERVED_PREFIX
from openai_sessions._conversation.lazy import LazyConversation
from openai_sessions._conversation.locked import LockedConversation, settle_all
from openai_sessions._conversation.shielding import GRACE, Cancellation, run_shielded
from openai_sessions._conversation.writing import append_items, delete_all_items
from openai_sessions._items.forms import same_item
from openai_sessions._items.types import Item
from openai_sessions.errors import (
    ConversationNotFoundError,
    ForkVerificationError,
    UnfinishedForkError,
)

if TYPE_CHECKING:
    pass


logger = logging.getLogger("openai_sessions")

PARENT_KEY = f"{RESERVED_PREFIX}parent"
"""The key of the metadata under which a fork names its parent."""


@dataclass(frozen=True, slots=True)
class ForkParent:
    """What a conversation was forked from.

    Attributes:
        conversation_id: The conversation.
        item_id: The last of its items that the fork begins with; None when it began empty.
    """

    conversation_id: str
    item_id: str | None


async def _read_whole(locked: LockedConversation) -> tuple[str, list[Item]]:
    """Return the id of the conversation and all its items as listed."""
    await settle_all(locked)
    return locked.conversation_id, await locked.newest(None)


async def _create(fork: LazyConversation, cancellation: Cancellation) -> None:
    """Create the conversation. A caller who is cancelled waits for its id, so that it can be deleted."""
    cancellation.has_begun = True
    await fork.ensure()


async def _fill(locked: LockedConversation, items: Sequence[Item]) -> None:
    """Append the items, and see that they are there; if not, delete them by their ids.

    Raises:
        ForkVerificationError: They are not there.
        Exception: A request failed.
    """
    if not items:
        return
    ids = await append_items(locked, items)
    try:
        locked.cancellation.check()
        _compare(items, await locked.newest(None))
    except Exception:
        with suppress(Exception):  # what is left is deleted with the conversation
            await locked.delete(ids)
        raise


def _compare(items: Sequence[Item], listed: Sequence[Item]) -> None:
    for position, (sent, stored) in enumerate(zip_longest(items, listed)):
        if sent is None or stored is None or not same_item(sent, stored):
            raise ForkVerificationError(position)


async def _discard(fork: LazyConversation, error: BaseException) -> None:
    """Delete the conversation of a fork that failed, if there is one, and its items.

    Raises:
        UnfinishedForkError: It could not be done.
    """
    conversation_id = fork.conversation_id
    is_cut = isinstance(error, asyncio.CancelledError)

    async def delete(cancellation: Cancellation) -> None:
        cancellation.has_begun = True
        with anyio.fail_after(GRACE if is_cut else None):
            with suppress(ConversationNotFoundError):
                await fork.run(lambda locked: delete_all_items(locked, None))
            await fork.delete()

    if conversation_id is None:
        return
    try:
        await run_shielded(delete)
    except (Exception, asyncio.CancelledError) as undoing:
        if fork.conversation_id is not None:
            logger.warning(
                "%s: the conversation of a fork that failed is left: %r", conversation_id, type(undoing)
            )
        if isinstance(undoing, asyncio.CancelledError):
            raise
        if not is_cut:
            raise UnfinishedForkError(conversation_id, undoing) from error
