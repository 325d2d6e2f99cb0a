"""Copying a history from any session to any other: written in order, read back, or undone.

1. The target is read beside the source. What it holds must be what the copy would have written first: a
   copy that was cut short goes on there. Anything else is refused before anything is written.
2. The rest is written in order, about a hundred items at a time.
3. Both are read again and compared, item by item. What was added to the source meanwhile is written too,
   and compared again.
4. When anything of it fails, or the caller is cancelled, what was written is removed, newest first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio

from openai_sessions._conversation.shielding import Cancellation, run_shielded
from openai_sessions._items.forms import same_item
from openai_sessions._items.types import Item
from openai_sessions.errors import (
    InvalidItemError,
    SessionError,
    TransferConflictError,
    TransferVerificationError,
    UnsettledTransferError,
)
from openai_sessions.session import OpenAIConversationsSession
from openai_sessions.transfer._sessions import (
    AnySession,
    Progress,
    SessionSource,
    Source,
    Target,
    TransferReport,
    check_session,
    in_pieces,
    innermost,
    target_of,
)

logger = logging.getLogger("openai_sessions")

_PASSES = 5
"""How often both are read at most while items are added to the source."""


async def copy_session(
    source: AnySession,
    target: AnySession,
    *,
    append: bool = False,
    keep_partial: bool = False,
    on_progress: Progress | None = None,
) -> TransferReport:
    """Copy the history of one session to another, and read it back.

    The sessions may be of any class that has the four methods of the Agents SDK's protocol. One with
    `iterate_items`, as that of this library, is read page by page, others by one `get_items()`. Items
    are compared in replay form: what the hosted form adds to an item makes no difference.

    It returned: the target holds what the source holds, in order, once. It raised, or was cancelled: the
    target holds what it held before, and a conversation that was created for it is deleted with its
    items. A cancelled copy is undone before the cancellation goes on; cancelled again, it has 10 seconds
    left for it. After a `kill -9` the target holds a beginning of the copy, and the same call with the
    same source and target (by its id: see `on_conversation_created`) compares it and goes on behind it.

    Args:
        source: Where the items come from. It is only read.
        target: Where they go to: empty, or left by a copy of this source that was cut short.
        append: Write behind whatever the target holds. Such a copy does not go on when it was killed:
            what it left cannot be told from what was there.
        keep_partial: Leave what was written when the copy fails or is cancelled, for a later call to go
            on behind it.
        on_progress: Called with the number of items that are done and of all, or None where that is not
            known. What it raises ends the copy.

    Returns:
        How many items were written, were there already, and were left out.

    Raises:
        TypeError: One of them is no session, or one without async.
        ValueError: Source and target are the same, or wrap the same one. Nothing was sent.
        TransferConflictError: The target holds something else. Nothing was written.
        TransferVerificationError: The target gives back something else, or the source was changed.
        UnsettledTransferError: The copy failed and could not be undone; says what is left.
        InvalidItemError: The target can never store an item.
        Exception: What the sessions raise. Nothing of the copy is left.
    """
    check_session("source", source)
    check_session("target", target)
    if _is_same(innermost(source), innermost(target)):
        raise ValueError(
            "source and target are the same session, or around the same one: what is written to the one is "
            "read from the other. Give another target"
        )
    transfer = Transfer(
        SessionSource(source), target_of(target), keep_partial=keep_partial, on_progress=on_progress
    )
    return await transfer.run(append=append)


def _is_same(one: object, other: object) -> bool:
    return one is other or (
        isinstance(one, OpenAIConversationsSession)
        and isinstance(other, OpenAIConversationsSession)
        and one.conversation_id is not None
        and one.conversation_id == other.conversation_id
    )


class Transfer:
    """The way of items from a source to a target.

    Args:
        source: Read at least twice.
        target: Closed at the end.
        keep_partial: Leave what was written when it fails.
        on_progress: Told of each piece.
    """

    def __init__(
        self, source: Source, target: Target, *, keep_partial: bool, on_progress: Progress | None
    ) -> None:
        self._source = source
        self._target = target
        self._keep_partial = keep_partial
        self._on_progress = on_progress
        self._done = 0
        self._copied = 0
        self._already_there = 0
        self._skipped = 0

    async def run(self, *, append: bool) -> TransferReport:
        """Write and read back, or undo, as `copy_session` does."""
        try:
            await self._write_and_verify(append=append)
        except BaseException as error:
            if not self._keep_partial:
                await self._undo(error, append=append)
            raise
        finally:
            self._target.close()
        return TransferReport(self._copied, self._already_there, self._skipped)

    async def _write_and_verify(self, *, append: bool) -> None:
        kept = await _count(self._target.read()) if append else 0
        for number in range(_PASSES):
            before = self._copied
            matched = await self._pass(kept)
            if number == 0:
                self._already_there = matched
            if self._copied == before:
                return
        raise TransferVerificationError(self._copied)

    async def _pass(self, kept: int) -> int:
        """Compare target and source, write what is missing at the end, and return how many were there."""
        async with aclosing(_after(self._target.read(), kept)) as theirs:
            matching = _Matching(theirs)
            self._skipped = position = 0
            async with aclosing(self._source.read()) as items, aclosing(in_pieces(items)) as pieces:
                async for piece in pieces:
                    wanted = self._storable(piece, position)
                    missing = await self._missing(matching, wanted)
                    if missing:
                        await self._target.add_items(missing)
                        self._copied += len(missing)
                    self._skipped += len(piece) - len(wanted)
                    position += len(piece)
                    self._tell(position)
            if not await matching.is_at_end():
                raise self._differs(matching.matched)
            return matching.matched

    def _storable(self, piece: list[Item], position: int) -> list[Item]:
        try:
            return self._target.storable(piece)
        except InvalidItemError as error:
            raise InvalidItemError(position + error.index, error.reason) from None

    async def _missing(self, matching: _Matching, wanted: list[Item]) -> list[Item]:
        for index, item in enumerate(wanted):
            if await matching.is_at_end():
                return wanted[index:]
            if not await matching.matches(item):
                raise self._differs(matching.matched)
        return []

    def _differs(self, position: int) -> SessionError:
        return TransferVerificationError(position) if self._copied else TransferConflictError(position)

    def _tell(self, done: int) -> None:
        if self._on_progress is not None and done > self._done:
            self._done = done
            self._on_progress(done, self._source.total)

    async def _undo(self, error: BaseException, *, append: bool) -> None:
        """Remove what was written; shielded until the caller is cancelled once more.

        Raises:
            UnsettledTransferError: Something of it is left.
        """
        is_undone = False

        async def undo(cancellation: Cancellation) -> None:
            nonlocal is_undone
            cancellation.has_begun = True
            await self._target.undo()
            is_undone = True

        try:
            with anyio.CancelScope(shield=True):
                await run_shielded(undo)
        except asyncio.CancelledError:
            if not is_undone:
                self._warn()
            raise
        except Exception as failed:  # noqa: BLE001 -- whatever it was, something is left
            self._warn()
            if isinstance(error, asyncio.CancelledError):
                return
            raise UnsettledTransferError(
                self._target.session_id, self._target.left, failed, append=append
            ) from error

    def _warn(self) -> None:
        logger.warning(
            "a copy to %s was not undone: up to %d item(s) of it are left",
            self._target.session_id,
            self._target.left,
        )


class _Matching:
    """The items of a target, one after the other, beside those that are wanted there."""

    def __init__(self, items: AsyncGenerator[Item, None]) -> None:
        self._items = items
        self._next: Item | None = None
        self._has_ended = False
        self.matched = 0

    async def is_at_end(self) -> bool:
        """Tell whether all items were matched."""
        if self._next is None and not self._has_ended:
            self._next = await anext(self._items, None)
            self._has_ended = self._next is None
        return self._has_ended

    async def matches(self, wanted: Item) -> bool:
        """Tell whether the next item is what is wanted; go on behind it if it is."""
        found = self._next
        if found is None or not same_item(wanted, found):
            return False
        self._next = None
        self.matched += 1
        return True


async def _count(items: AsyncGenerator[Item, None]) -> int:
    count = 0
    async with aclosing(items):
        async for _ in items:
            count += 1
    return count


async def _after(items: AsyncGenerator[Item, None], number: int) -> AsyncGenerator[Item, None]:
    """Give items but the first ones."""
    async with aclosing(items):
        async for item in items:
            if number:
                number -= 1
            else:
                yield item
