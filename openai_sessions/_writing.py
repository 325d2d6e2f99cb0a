"""Appending items: all of them once, or none.

Read from top to bottom, this is how a write works, under the lock of its conversation:

1. what earlier writes have left is settled;
2. the items go out in requests of at most 20, each sent once;
3. a request whose outcome is unknown is looked for among the newest items, twice, and only when it is
   not there is it sent again; nothing is assumed where the listing does not tell;
4. a request that was not found stays in doubt for a while, and copies of it are deleted when they appear;
5. when the write fails, or its caller is cancelled, what it has stored is deleted;
6. what cannot be deleted is put into a receipt, for the next operation or another process to settle.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import replace

import anyio

from openai_sessions._conversation import Doubt
from openai_sessions._holding import Held
from openai_sessions._observing import Counted, Reconciled, tell
from openai_sessions._planning import batches
from openai_sessions._policy import Operation, Outcome
from openai_sessions._receipts import CannotTellError, Receipt, SentItems
from openai_sessions._settling import settle_all
from openai_sessions._types import Item
from openai_sessions.errors import ConversationNotFoundError, UnsettledWriteError

logger = logging.getLogger("openai_sessions")


async def append_items(held: Held, items: Sequence[Item]) -> list[str]:
    """Append items in order and return their ids.

    Raises:
        ConversationNotFoundError: A reply was lost, and the conversation was gone before it was looked for.
        UnsettledWriteError: The write failed and could not be undone; the cause says how it failed.
        Exception: The write failed, and nothing of it is left.
    """
    await settle_all(held)
    await held.know_the_tail()
    return await append_to_tail(held, items)


async def append_to_tail(held: Held, items: Sequence[Item]) -> list[str]:
    """Append items where nothing is unsettled and the newest items are known."""
    held.interruption.has_begun = True
    write = _Write(held, batches(items))
    try:
        for batch in write.requests:
            await write.send(batch)
        held.interruption.check()
    except BaseException as error:
        await write.undo(error)
        raise
    return write.stored


async def delete_appended(held: Held, ids: Sequence[str]) -> None:
    """Undo an append that had succeeded when its caller was cancelled."""
    stored = list(ids)
    anchors = tuple(known for known in held.known.tail.ids if known not in ids)
    try:
        await held.delete(ids, on_deleted=stored.remove)
        tell(Reconciled("rolled back", len(ids)))
    finally:
        if stored:
            held.known.unsettled.append(Receipt(held.conversation_id, anchors, tuple(stored)))


class _Write:
    """One write: what it has stored, and what it does not know of."""

    def __init__(self, held: Held, requests: Sequence[Sequence[Item]]) -> None:
        self.requests = requests
        self._held = held
        self._anchors = held.known.anchors
        self.stored: list[str] = []
        self._ids: list[str] = []
        self._sent = SentItems((), (), sends=0)
        self._doubts: list[Doubt] = []
        self._is_looked_for = True

    async def send(self, batch: Sequence[Item]) -> None:
        """Send one request once; again only when looking has not found it."""
        held = self._held
        self._sent = SentItems(tuple(batch), held.known.anchors, sends=0)
        ids = await held.gateway.retrier.run(
            Operation.APPEND,
            self._request,
            conversation_id=held.conversation_id,
            look=self._look,
            stopped=held.interruption.is_set,
            sleep=self._sleep,
        )
        held.known.acknowledge(ids)
        self._take_up(ids)
        self._ids += ids
        tell(Counted("written", len(ids)))

    async def _request(self) -> list[str]:
        self._held.interruption.check()
        held, batch = self._held, self._sent.items
        if self._sent.sends:
            tell(Reconciled("sent again", len(batch)))
        self._is_looked_for = False
        try:
            ids = await held.gateway.create_items(held.conversation_id, batch)
        except BaseException as error:
            failure = held.gateway.retrier.classify(error)
            if failure is None or failure.outcome is Outcome.UNKNOWN:
                self._sent = replace(self._sent, sends=self._sent.sends + 1)
            else:
                self._is_looked_for = not self._sent.sends
            raise
        self._is_looked_for = True
        return ids

    async def _look(self) -> list[str] | None:
        """Look for the request among the newest items, twice; return the ids of its items."""
        retrier = self._held.gateway.retrier
        found = await self._one_copy()
        if found is None:
            await retrier.sleep(retrier.policy.settle_after)  # also once the caller is cancelled
            found = await self._one_copy()
        self._is_looked_for = True
        tell(Reconciled("not found" if found is None else "found", len(found or ())))
        return found

    async def _one_copy(self) -> list[str] | None:
        """Return the ids of one copy of the request and delete others; keep in doubt what is not there."""
        held = self._held
        listed = await held.back_to([self._sent.anchors])
        copies = self._sent.copies_in(listed, held.known.tail.ids)
        self._keep_in_doubt(self._sent.sends - len(copies))
        self._take_up(item_id for copy in copies for item_id in copy)
        extra = [item_id for copy in copies[1:] for item_id in copy]
        await held.delete(extra, on_deleted=self.stored.remove)
        if extra:
            tell(Reconciled("deleted copy", len(extra)))
        return copies[0] if copies else None

    def _take_up(self, ids: Iterable[str]) -> None:
        self.stored += [item_id for item_id in ids if item_id not in self.stored]

    def _keep_in_doubt(self, sends: int) -> None:
        for doubt in [doubt for doubt in self._doubts if doubt.sent.items is self._sent.items]:
            self._doubts.remove(doubt)
            self._held.known.no_longer_doubt(doubt)
        if sends:
            self._doubts.append(self._held.doubt(replace(self._sent, sends=sends)))

    async def undo(self, error: BaseException) -> None:
        """Delete what the write has stored, newest first, under a deadline of its own.

        Raises:
            ConversationNotFoundError: There is nothing to be undone, as the conversation is gone.
            UnsettledWriteError: It could not be done, or must not be: the listing does not tell.
        """
        held = self._held
        is_cut = isinstance(error, asyncio.CancelledError)
        if isinstance(error, CannotTellError) or (is_cut and held.interruption.is_over):
            self._leave_unsettled(error)
            return
        # Cut by others than the caller, as by an event loop that is being closed: undone all the same.
        deadline = held.gateway.retrier.policy.deadline
        failed: BaseException | None = None
        try:
            with anyio.fail_after(min(deadline, held.interruption.grace) if is_cut else deadline):
                async with held.gateway.confirming_not_found(held.conversation_id):
                    await self._roll_back()
        except ConversationNotFoundError:
            # What was stored went with the conversation, and nothing can appear in it any more.
            for doubt in self._doubts:
                held.known.no_longer_doubt(doubt)
            if is_cut:
                return
            raise
        except BaseException as problem:  # noqa: BLE001 -- raised below, with what is left
            failed = problem
        if failed is not None:
            logger.warning("%s: a write could not be undone: %r", held.conversation_id, type(failed))
            self._leave_unsettled(error if isinstance(failed, Exception) else failed)

    async def _roll_back(self) -> None:
        if not self._is_looked_for:
            self._ids += await self._look() or []
        for doubt in self._doubts:
            # What preceded the request is being deleted: what preceded the write will precede it.
            doubt.sent = replace(doubt.sent, anchors=self._anchors)
        stored = len(self.stored)
        await self._held.delete(self.stored, on_deleted=self.stored.remove)
        if stored:
            tell(Reconciled("rolled back", stored))

    def _leave_unsettled(self, error: BaseException) -> None:
        """Put what is left into a receipt."""
        held = self._held
        unknown = () if self._is_looked_for else (self._sent,)
        in_doubt = [
            doubt.sent
            for doubt in self._doubts
            if doubt.sent.sends and (self._is_looked_for or doubt.sent.items is not self._sent.items)
        ]
        receipt = Receipt(held.conversation_id, self._anchors, tuple(self.stored), (*in_doubt, *unknown))
        held.known.unsettled.append(receipt)
        tell(Reconciled("left unsettled", len(self.stored)))
        if isinstance(error, asyncio.CancelledError):
            logger.warning("%s: a write was cut; its outcome is unknown", held.conversation_id)
            raise error
        raise UnsettledWriteError(
            receipt.as_json(),
            stored_ids=receipt.stored,
            unknown=[item for sent in unknown for item in sent.items],
            not_stored=self._not_stored(unknown),
        ) from error

    def _not_stored(self, unknown: Sequence[SentItems]) -> list[Item]:
        """Return the items of which neither the id stands nor the outcome is unknown."""
        items = [item for request in self.requests for item in request]
        standing = {
            id(item) for item, item_id in zip(items, self._ids, strict=False) if item_id in self.stored
        }
        in_question = {id(item) for sent in unknown for item in sent.items}
        return [item for item in items if id(item) not in standing | in_question]

    async def _sleep(self, seconds: float) -> None:
        sleeping: Awaitable[None] = self._held.gateway.retrier.sleep(seconds)
        await self._held.interruption.cut_short(sleeping)
