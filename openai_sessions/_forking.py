"""Forking: a new conversation that holds the items of another one up to some point, or none at all."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, cast

import anyio

from openai_sessions._arguments import (
    checked_metadata,
    checked_number,
    checked_text,
    is_conversation_id,
)
from openai_sessions._fork_points import cut_after_item, cut_before_turn
from openai_sessions._holding import Held
from openai_sessions._identity import Identity
from openai_sessions._items import to_replay, to_stored
from openai_sessions._lazy_conversation import Hooks, LazyConversation
from openai_sessions._metadata import RESERVED_PREFIX, own_pairs
from openai_sessions._operations import operation
from openai_sessions._owned import GRACE, Interruption, run_owned
from openai_sessions._removing import delete_all_items
from openai_sessions._same_item import same_item
from openai_sessions._settling import settle_all
from openai_sessions._types import Item, Metadata
from openai_sessions._writing import append_items
from openai_sessions.errors import ConversationNotCreatedError, ConversationNotFoundError, UnsettledWriteError
from openai_sessions.errors.forking import ForkVerificationError, UnfinishedForkError

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger("openai_sessions")

PARENT_KEY = f"{RESERVED_PREFIX}parent"
"""The key of the metadata under which a fork names its parent."""

_MAX_PAIRS = 15
"""One less than the API keeps: the parent is one more."""


@dataclass(frozen=True, slots=True)
class ForkParent:
    """What a conversation was forked from.

    Attributes:
        conversation_id: The conversation.
        item_id: The last of its items that the fork begins with; None when it began empty.
    """

    conversation_id: str
    item_id: str | None


class ForkableHistory(Identity):
    """The part of a session that makes forks of it."""

    _options: dict[str, Any]
    """The arguments of the constructor, by name."""

    @operation(arguments=["before_turn", "after_item"])
    async def fork(
        self,
        *,
        before_turn: int | None = None,
        after_item: str | None = None,
        metadata: Metadata | None = None,
    ) -> Self:
        """Return a session on a new conversation that holds the items of this one up to some point.

        This one stays as it is, and what is written to either does not show in the other. The new session
        has the settings of this one. The items are read, written to the new conversation, where
        they get ids of its own, and read back and compared.

        All or nothing: when it fails, or the caller is cancelled, the new conversation and its items are
        deleted, within 30 seconds of a cancellation. What is left after that is in the log. An empty
        conversation whose creation got no answer is told to `on_orphan`. `on_conversation_created` is not
        called: the id is that of the session that is returned.

        Args:
            before_turn: The number of a turn, as `turns()` gives it; the items before it are copied.
            after_item: The id of a stored item, as `Turn.item_ids` has it; the items up to it, and it, are
                copied. With neither argument all items are.
            metadata: Pairs to keep with the new conversation, and with those that the new session creates
                when it is cleared; at most 15. None for those that this session was made with. One more names
                the parent: see `parent()`.

        Raises:
            ValueError: Both points are given, or the metadata is over a limit. Nothing was sent.
            ForkPointError: There is no such turn or item, or a call would be torn from its output; says
                what there is. Nothing was created.
            ConversationNotCreatedError: The session is unused: there is nothing to fork.
            ConversationNotFoundError: The server does not know the conversation.
            ForkVerificationError: The new conversation did not give back what was written to it.
            UnfinishedForkError: The fork failed, and its conversation could not be deleted; names it.
            openai.OpenAIError: A request failed. Nothing is left of the fork.
        """
        if before_turn is not None and after_item is not None:
            raise ValueError(
                "a fork ends before_turn= or after_item=: give one of them, or neither for all items"
            )
        turn = checked_number("before_turn", before_turn, "turns, counted from the oldest", none="all items")
        item_id = (
            None if after_item is None else checked_text("after_item", after_item, wanted="the id of an item")
        )
        inherited = own_pairs(self._options.get("metadata") or {})
        pairs = _checked_pairs(inherited if metadata is None else metadata)
        found = await self._conversation.run(_read_whole)
        if found is None:
            raise ConversationNotCreatedError
        parent, items = found
        cut = len(items)
        if turn is not None:
            cut = cut_before_turn(parent, items, turn)
        elif item_id is not None:
            cut = cut_after_item(parent, items, item_id)
        origin = f"{parent}/{items[cut - 1].get('id')}" if cut else parent
        fork = await self._forked(to_stored(to_replay(items[:cut])), {**pairs, PARENT_KEY: origin})
        fork._keep_with_new_ones(pairs)  # noqa: SLF001 -- a session of this library
        return fork

    @operation()
    async def parent(self) -> ForkParent | None:
        """Return what this conversation was forked from, in one request; None when it is no fork.

        An unused session is none, and makes no request. The parent may have been deleted since.

        Raises:
            ConversationNotFoundError: The server does not know the conversation.
            openai.OpenAIError: The request failed; transient failures were repeated in vain.
        """
        metadata = await self._conversation.run(lambda held: held.gateway.metadata_of(held.conversation_id))
        conversation_id, _, item_id = (metadata or {}).get(PARENT_KEY, "").partition("/")
        return ForkParent(conversation_id, item_id or None) if is_conversation_id(conversation_id) else None

    def _sibling(self, conversation_id: str) -> Self:
        """Return a session with the settings of this one on another conversation, without a request.

        `fork()` returns what this returns. Override it in a subclass whose constructor takes other
        arguments than that of `OpenAIConversationsSession`.

        Args:
            conversation_id: The conversation that the session resumes.
        """
        settings = copy.copy(self.session_settings)
        options = {**self._options, "conversation_id": conversation_id, "session_settings": settings}
        return cast("Self", cast("Any", type(self))(**options))

    def _keep_with_new_ones(self, metadata: Metadata) -> None:
        """Have the session keep metadata with conversations that it creates, and with its forks."""
        self._options["metadata"] = metadata or None
        self._conversation.keep_with_new_ones(metadata or None)

    async def _forked(self, items: Sequence[Item], metadata: Metadata) -> Self:
        """Return a session on a new conversation that holds items; on failure delete the conversation."""
        hooks = Hooks(on_orphan=self._options["on_orphan"], lock=self._options["lock"])
        fork = LazyConversation(self._clients, conversation_id=None, metadata=metadata, hooks=hooks)
        try:
            await run_owned(partial(_create, fork))
            await fork.run(partial(_fill, items=items))
            return self._sibling(fork.conversation_id or "")
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 -- raised below
            failed: BaseException = error
        await _discard(fork, failed)
        if isinstance(failed, UnsettledWriteError) and failed.__cause__ is not None:
            failed = failed.__cause__  # nothing is unsettled any more
        raise failed


def _checked_pairs(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Return metadata that has room for the parent.

    Raises:
        TypeError: It is not a mapping of strings to strings.
        ValueError: It is over a limit, or has a key of this library's.
    """
    pairs = checked_metadata(metadata) or {}
    if len(pairs) > _MAX_PAIRS:
        raise ValueError(
            f"metadata has {len(pairs)} pairs, and a fork keeps at most {_MAX_PAIRS}: the API keeps 16, and "
            "one names the parent. Leave one out of metadata=."
        )
    if reserved := pairs.keys() - own_pairs(pairs).keys():
        raise ValueError(f"the metadata key {min(reserved)!r} is kept by openai_sessions: take another name")
    return pairs


async def _read_whole(held: Held) -> tuple[str, list[Item]]:
    """Return the id of the conversation and all its items as listed."""
    await settle_all(held)
    return held.conversation_id, await held.newest(None)


async def _create(fork: LazyConversation, interruption: Interruption) -> None:
    """Create the conversation. A caller who is cancelled waits for its id, so that it can be deleted."""
    interruption.has_begun = True
    await fork.ensure()


async def _fill(held: Held, items: Sequence[Item]) -> None:
    """Append the items, and see that they are there; if not, delete them by their ids.

    Raises:
        ForkVerificationError: They are not there.
        Exception: A request failed.
    """
    if not items:
        return
    ids = await append_items(held, items)
    try:
        held.interruption.check()
        _compare(items, await held.newest(None))
    except Exception:
        with suppress(Exception):  # what is left is deleted with the conversation
            await held.delete(ids)
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

    async def delete(interruption: Interruption) -> None:
        interruption.has_begun = True
        with anyio.fail_after(GRACE if is_cut else None):
            with suppress(ConversationNotFoundError):
                await fork.run(lambda held: delete_all_items(held, None))
            await fork.delete()

    if conversation_id is None:
        return
    try:
        await run_owned(delete)
    except (Exception, asyncio.CancelledError) as undoing:
        if fork.conversation_id is not None:
            logger.warning(
                "%s: the conversation of a fork that failed is left: %r", conversation_id, type(undoing)
            )
        if isinstance(undoing, asyncio.CancelledError):
            raise
        if not is_cut:
            raise UnfinishedForkError(conversation_id, undoing) from error
