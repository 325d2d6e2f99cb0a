"""Copy a history from any session to any other: write it in order, read it back, or undo it.

1. The target is read alongside the source. Its items must be what the copy would write first: an interrupted
   copy continues there. Anything else is refused before anything is written.
2. The remaining items are written in order, about a hundred at a time.
3. Source and target are read again and compared, item by item. Items added to the source meanwhile are
   written too, and compared again.
4. If any step fails or the caller is cancelled, the written items are removed, newest first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio

from openai_sessions._conversation.shielding import Cancellation, run_shielded
from openai_sessions._items.forms import has_provider_data, same_item
from openai_sessions._items.types import Item, is_bare_reasoning
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
    in_batches,
    innermost,
    target_of,
)

logger = logging.getLogger("openai_sessions")

_MAX_PASSES = 5
"""The maximum number of times that source and target are read while items are added to the source."""


async def copy_session(
    source: AnySession,
    target: AnySession,
    *,
    append: bool = False,
    keep_partial: bool = False,
    on_progress: Progress | None = None,
) -> TransferReport:
    """Copy the history of one session to another, and read it back.

    Both may be of any class with the four methods of the Agents SDK's session protocol. A session with
    `iterate_items`, such as this library's, is read page by page; others with one `get_items()`. Items are
    compared in replay form, so that fields added by the hosted form make no difference.

    If it returns, the target contains the items of the source, in order, once. If it raises or is cancelled,
    the target contains what it contained before; a conversation created for the copy is deleted with its
    items. A cancelled copy is undone before the cancellation propagates; a second cancellation leaves 10
    seconds for that. After a `kill -9` the target contains the first part of the copy, and the same call
    with the same source and target (by its id: see `on_conversation_created`) verifies that part and
    continues after it.

    Args:
        source: The session to read. It is not modified.
        target: The session to write: empty, or containing an interrupted copy of this source.
        append: Write after whatever the target contains. A killed copy of this kind cannot be continued:
            its items cannot be distinguished from earlier ones.
        keep_partial: Keep the written items if the copy fails or is cancelled, so that a later call can
            continue after them.
        on_progress: Called with the number of items done and the total, or None if the total is unknown.
            An exception that it raises ends the copy.

    Returns:
        The number of items that were written, already there, and skipped.

    Raises:
        TypeError: One of them is not a session, or is a synchronous one.
        ValueError: Source and target are the same session, or wrap the same one. Nothing was sent.
        TransferConflictError: The target contains other items. Nothing was written.
        TransferVerificationError: The target returned other items than were written, or the source changed.
        UnsettledTransferError: The copy failed and could not be undone; says what is left.
        InvalidItemError: The target can never store an item; says what remains of the copy.
        Exception: An error of the sessions. Nothing of the copy is left.
    """
    check_session("source", source)
    check_session("target", target)
    if _is_same(innermost(source), innermost(target)):
        raise ValueError(
            "source and target are the same session, or wrap the same one, so that the copy would read its "
            "own writes. Pass another target"
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
    """A transfer of items from a source to a target.

    Args:
        source: Read at least twice.
        target: Closed at the end.
        keep_partial: Keep the written items on failure.
        on_progress: Called after each batch.
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
        self._without_provider_data = 0

    async def run(self, *, append: bool) -> TransferReport:
        """Write the items and verify them, or undo, as `copy_session` describes."""
        try:
            await self._write_and_verify(append=append)
        except BaseException as error:
            if not self._keep_partial:
                await self._undo(error, append=append)
            if isinstance(error, InvalidItemError):
                raise InvalidItemError(error.index, error.reason, outcome=self._outcome()) from None
            raise
        finally:
            self._target.close()
        if self._without_provider_data:
            logger.warning(
                "a copy to %s left out the provider_data of %d item(s), which the target does not keep",
                self._target.session_id,
                self._without_provider_data,
            )
        return TransferReport(self._copied, self._already_there, self._skipped, self._without_provider_data)

    def _outcome(self) -> str:
        """Return what remains of a failed transfer, for a message."""
        if not self._copied:
            return "Nothing was written"
        if self._keep_partial:
            return f"The target keeps the {self._copied} item(s) that were written before"
        return f"The {self._copied} item(s) that were written before were removed again"

    async def _write_and_verify(self, *, append: bool) -> None:
        ignored = await _count(self._target.read()) if append else 0
        for number in range(_MAX_PASSES):
            before = self._copied
            matched = await self._pass(ignored)
            if number == 0:
                self._already_there = matched
            if self._copied == before:
                return
        raise TransferVerificationError(self._copied)

    async def _pass(self, ignored: int) -> int:
        """Compare target and source, write the missing items, and return how many were there.

        Args:
            ignored: The number of items that the target contained before an appending copy.
        """
        async with aclosing(_skip(self._target.read(), ignored)) as existing:
            matching = _Matching(existing)
            self._skipped = self._without_provider_data = position = 0
            async with aclosing(self._source.read()) as items, aclosing(in_batches(items)) as batches:
                async for batch in batches:
                    wanted = self._storable(batch, position)
                    missing = await self._missing(matching, wanted)
                    if missing:
                        await self._target.add_items(missing)
                        self._copied += len(missing)
                    self._skipped += len(batch) - len(wanted)
                    self._without_provider_data += sum(map(_is_to_keep_provider_data, batch))
                    position += len(batch)
                    self._report_progress(position)
            if not await matching.is_at_end():
                raise self._mismatch(matching.matched)
            self._without_provider_data -= matching.with_provider_data
            return matching.matched

    def _storable(self, batch: list[Item], position: int) -> list[Item]:
        try:
            return self._target.storable(batch)
        except InvalidItemError as error:
            raise InvalidItemError(position + error.index, error.reason) from None

    async def _missing(self, matching: _Matching, wanted: list[Item]) -> list[Item]:
        for index, item in enumerate(wanted):
            if await matching.is_at_end():
                return wanted[index:]
            if not await matching.matches(item):
                raise self._mismatch(matching.matched)
        return []

    def _mismatch(self, position: int) -> SessionError:
        return TransferVerificationError(position) if self._copied else TransferConflictError(position)

    def _report_progress(self, done: int) -> None:
        if self._on_progress is not None and done > self._done:
            self._done = done
            self._on_progress(done, self._source.total)

    async def _undo(self, error: BaseException, *, append: bool) -> None:
        """Remove the written items, shielded until the caller is cancelled once more.

        Raises:
            UnsettledTransferError: Some items are left.
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
                self._log_leftovers()
            raise
        except Exception as failed:  # noqa: BLE001 -- whatever failed, some items are left
            self._log_leftovers()
            if isinstance(error, asyncio.CancelledError):
                return
            raise UnsettledTransferError(
                self._target.session_id, self._target.left, failed, append=append
            ) from error

    def _log_leftovers(self) -> None:
        logger.warning(
            "a copy to %s was not undone: up to %d of its item(s) are left",
            self._target.session_id,
            self._target.left,
        )


class _Matching:
    """Compares the items of a target, in order, with the expected ones."""

    def __init__(self, items: AsyncGenerator[Item, None]) -> None:
        self._items = items
        self._next: Item | None = None
        self._has_ended = False
        self.matched = 0
        self.with_provider_data = 0

    async def is_at_end(self) -> bool:
        """Return whether the target has no further item."""
        if self._next is None and not self._has_ended:
            self._next = await anext(self._items, None)
            self._has_ended = self._next is None
        return self._has_ended

    async def matches(self, wanted: Item) -> bool:
        """Return whether the next item equals the expected one; advance if it does."""
        found = self._next
        if found is None or not same_item(wanted, found):
            return False
        self._next = None
        self.matched += 1
        self.with_provider_data += _is_to_keep_provider_data(found)
        return True


def _is_to_keep_provider_data(item: Item) -> bool:
    """Return whether a target that stores an item as it is has its `provider_data`.

    Reasoning of other providers is left out: a target without `provider_data` skips it as a whole.
    """
    return has_provider_data(item) and not is_bare_reasoning(item)


async def _count(items: AsyncGenerator[Item, None]) -> int:
    count = 0
    async with aclosing(items):
        async for _ in items:
            count += 1
    return count


async def _skip(items: AsyncGenerator[Item, None], number: int) -> AsyncGenerator[Item, None]:
    """Yield all items after the first `number`."""
    async with aclosing(items):
        async for item in items:
            if number:
                number -= 1
            else:
                yield item
