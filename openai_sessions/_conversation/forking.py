"""Copying the beginning of a conversation to a new one: whole, or nothing remains of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import zip_longest

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
    UnsettledWriteError,
)

logger = logging.getLogger("openai_sessions")

PARENT_KEY = f"{RESERVED_PREFIX}parent"
"""The metadata key of a fork's parent."""


@dataclass(frozen=True, slots=True)
class ForkParent:
    """The origin of a fork.

    Attributes:
        conversation_id: The conversation.
        item_id: The last of its items that were copied; None if none was.
    """

    conversation_id: str
    item_id: str | None


async def read_whole(locked: LockedConversation) -> tuple[str, list[Item]]:
    """Return the id of the conversation and all its items as listed."""
    await settle_all(locked)
    return locked.conversation_id, await locked.newest(None)


@asynccontextmanager
async def discarding(fork: LazyConversation) -> AsyncIterator[None]:
    """Delete the conversation of a fork and its items if the block fails or its task is cancelled.

    Raises:
        UnfinishedForkError: The block failed, and the conversation could not be deleted.
    """
    failed: BaseException | None = None
    try:
        yield
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 -- raised below
        failed = error
    if failed is None:
        return
    await _discard(fork, failed)
    if isinstance(failed, UnsettledWriteError) and failed.__cause__ is not None:
        failed = failed.__cause__  # nothing is unsettled any more
    raise failed


async def fill_fork(fork: LazyConversation, items: Sequence[Item]) -> str:
    """Create the conversation of a fork with these items, and return its id.

    Raises:
        ForkVerificationError: The conversation did not return what was written to it.
        Exception: A request failed.
    """

    async def create(cancellation: Cancellation) -> None:
        cancellation.has_begun = True  # a caller who is cancelled waits for the id, so that it can be deleted
        await fork.ensure()

    await run_shielded(create)
    await fork.run(_fill, items)
    return fork.conversation_id or ""


async def _fill(locked: LockedConversation, items: Sequence[Item]) -> None:
    """Append the items and compare what is listed then; if it differs, delete them by their ids."""
    if not items:
        return
    stored = await append_items(locked, items)
    try:
        locked.cancellation.check()
        _compare(items, await locked.newest(None))
    except Exception:
        with suppress(Exception):  # what remains is deleted with the conversation
            await locked.delete(stored.ids)
        raise


def _compare(items: Sequence[Item], listed: Sequence[Item]) -> None:
    for position, (sent, stored) in enumerate(zip_longest(items, listed)):
        if sent is None or stored is None or not same_item(sent, stored):
            raise ForkVerificationError(position)


async def _discard(fork: LazyConversation, error: BaseException) -> None:
    """Delete the conversation of a fork that failed, if it was created, and its items."""
    conversation_id = fork.conversation_id
    is_cut = isinstance(error, asyncio.CancelledError)

    async def delete(cancellation: Cancellation) -> None:
        cancellation.has_begun = True
        with anyio.fail_after(GRACE if is_cut else None):
            with suppress(ConversationNotFoundError):
                await fork.run(delete_all_items)
            await fork.delete()

    if conversation_id is None:
        return
    try:
        await run_shielded(delete)
    except (Exception, asyncio.CancelledError) as undoing:
        if fork.conversation_id is not None:
            logger.warning(
                "%s: the conversation of a failed fork was not deleted: %r", conversation_id, type(undoing)
            )
        if isinstance(undoing, asyncio.CancelledError):
            raise
        if not is_cut:
            raise UnfinishedForkError(conversation_id, undoing) from error
