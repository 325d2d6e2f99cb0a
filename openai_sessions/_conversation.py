"""What the process knows of one conversation, and its lock."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from weakref import WeakValueDictionary

from openai_sessions._locking import FairLock
from openai_sessions._packed_ids import PackedIds
from openai_sessions._receipts import Receipt, SentItems
from openai_sessions._types import Item

_NEWEST = 128
"""How many ids of a listing are remembered."""

_MISSING = 32
"""How many ids are remembered although a listing lacked them: it may have been an old one."""


class KnownTail:
    """What this process has seen of a conversation: its newest ids, oldest first, and its pages."""

    __slots__ = ("_is_known", "_is_whole", "_packed")

    def __init__(self) -> None:
        self._packed = PackedIds()
        self._is_known = False
        self._is_whole = False

    @property
    def gone(self) -> frozenset[str]:
        """Ids of items that this process has deleted: a listing that shows one is an old one."""
        return frozenset(self._packed["gone"])

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids; none when nothing was seen, or the conversation was empty."""
        return tuple(self._packed["ids"])

    @property
    def page_ends(self) -> tuple[str, ...]:
        """Where the full pages of the last read of all items ended."""
        return tuple(self._packed["page ends"])

    @page_ends.setter
    def page_ends(self, ends: Iterable[str]) -> None:
        self._packed["page ends"] = ends

    @property
    def is_known(self) -> bool:
        """Whether the newest items have been seen since another process may have written."""
        return self._is_known and (self._is_whole or bool(self._packed["ids"]))

    @property
    def is_whole(self) -> bool:
        """Whether nothing is there but the ids that are known."""
        return self._is_whole

    def learn(self, items: Iterable[Item], *, is_whole: bool) -> None:
        """Take up what a read of the newest items has shown, oldest first; of all items if it `is_whole`."""
        known = self._packed["ids"]
        seen = [item["id"] for item in items if isinstance(item.get("id"), str)]
        shown = set(seen)
        missing = [item_id for item_id in known if item_id not in shown]
        joins = self._is_whole and shown.issubset(known)
        self._is_whole = (is_whole or joins) and len(seen) <= _NEWEST and len(missing) <= _MISSING
        self._packed["ids"] = missing[-_MISSING:] + seen[-_NEWEST:]
        self._is_known = True

    def add(self, ids: Sequence[str]) -> None:
        """Take up items that were appended."""
        known = [*self._packed["ids"], *ids]
        self._packed["ids"] = known[-_NEWEST - _MISSING :]
        self._is_whole = self._is_whole and len(known) <= _NEWEST + _MISSING

    def remove(self, ids: Collection[str]) -> None:
        """Take up that items were deleted."""
        self._packed["gone"] = [*self._packed["gone"], *ids][-_NEWEST:]
        self._packed["ids"] = [item_id for item_id in self._packed["ids"] if item_id not in ids]
        self._packed["page ends"] = takewhile(lambda end: end not in ids, self._packed["page ends"])

    def expire(self) -> None:
        """Have to be read again, as another process may have written. What was seen is still not new."""
        self._is_known = False
        self._is_whole = False

    def forget(self) -> None:
        """Know nothing, as the conversation is gone."""
        self._packed = PackedIds()
        self._is_known = False
        self._is_whole = False

    def pack(self) -> None:
        """Take little memory until the next operation."""
        self._packed.pack()


@dataclass(slots=True, eq=False)
class Doubt:
    """A request that was cut and not found, and may yet be applied.

    Attributes:
        sent: What was sent, and after what.
        until: When it can no longer be applied, by the clock of the policy. The first operation after that
            looks for it a last time.
        is_whole: Whether its anchors are all that was there before it.
        acknowledged: The ids of items that were stored since, and are no copies, however many follow.
    """

    sent: SentItems
    until: float
    is_whole: bool
    acknowledged: set[str] = field(default_factory=set)

    def forget(self, ids: Collection[str]) -> None:
        """Take up that items were deleted. Where nothing is left before it, nothing will be."""
        left = tuple(anchor for anchor in self.sent.anchors if anchor not in ids)
        if left or self.is_whole:
            self.sent = replace(self.sent, anchors=left)


@dataclass(slots=True, eq=False)
class TakenItem:
    """An item whose deletion was asked for and whose taker got no answer.

    Attributes:
        item: The item as listed.
        is_gone: Whether the deletion is known to have happened.
    """

    item: Item
    is_gone: bool


@dataclass(eq=False)
class Conversation:
    """One hosted conversation, shared by all session objects of the process that use it.

    Attributes:
        lock: Held around each operation, so that session objects on one conversation behave as one.
        tail: The newest ids that are known.
        doubts: Requests that may yet be applied.
        unwanted: The ids of copies that are to be deleted.
        unsettled: Writes that could not be undone.
        taken: Items that a failed pop may have removed, to be handed out by the next one.
    """

    lock: FairLock = field(default_factory=FairLock)
    tail: KnownTail = field(default_factory=KnownTail)
    doubts: list[Doubt] = field(default_factory=list)
    unwanted: set[str] = field(default_factory=set)
    unsettled: list[Receipt] = field(default_factory=list)
    taken: list[TakenItem] = field(default_factory=list)

    @property
    def anchors(self) -> tuple[str, ...]:
        """The newest ids that are known and that no failed pop may have removed, oldest first."""
        taken = {taken.item["id"] for taken in self.taken}
        return tuple(item_id for item_id in self.tail.ids if item_id not in taken)

    def no_longer_doubt(self, doubt: Doubt) -> None:
        """Stop looking for a request."""
        self.doubts[:] = [other for other in self.doubts if other is not doubt]

    def expire(self) -> None:
        """Take what is known for old, as another process that shares a lock may have written.

        A request in doubt can then no longer be told from an equal one of that process, which must
        not be deleted: it is no longer looked for.
        """
        self.tail.expire()
        self.doubts.clear()

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Take up items that this process has appended: they are nobody's copies."""
        self.tail.add(ids)
        for doubt in self.doubts:
            doubt.acknowledged.update(ids)

    def remove(self, ids: Collection[str]) -> None:
        """Take up that items were deleted."""
        self.tail.remove(ids)
        self.unwanted.difference_update(ids)
        for doubt in self.doubts:
            doubt.forget(ids)

    def receipts(self, conversation_id: str) -> tuple[Receipt, ...]:
        """Return what is left to be deleted, as receipts."""
        copies = Receipt(conversation_id, stored=tuple(sorted(self.unwanted)))
        return (*self.unsettled, copies) if self.unwanted else tuple(self.unsettled)

    def settle_everything(self) -> None:
        """Have nothing left to settle, as all items are gone. What is in doubt may yet appear."""
        for doubt in self.doubts:
            doubt.sent = replace(doubt.sent, anchors=())
        self.unwanted.clear()
        self.unsettled.clear()
        self.taken.clear()

    def forget(self) -> None:
        """Know nothing, as the conversation is gone."""
        self.settle_everything()
        self.doubts.clear()
        self.tail.forget()


_conversations: WeakValueDictionary[tuple[str, str], Conversation] = WeakValueDictionary()
"""The registry of the process, by base URL and conversation id. An entry lives while it is in use."""

_held: set[Conversation] = set()
"""Conversations with something to settle, which live until that is done."""

_guard = threading.Lock()


def shared_conversation(base_url: str, conversation_id: str) -> Conversation:
    """Return the one object that stands for a conversation in this process."""
    with _guard:
        return _conversations.setdefault((base_url, conversation_id), Conversation())


def rest(conversation: Conversation) -> None:
    """Keep a conversation that has something to settle, and let go of one that has not.

    It takes little memory until its next operation.
    """
    conversation.tail.pack()
    with _guard:
        if any((conversation.unwanted, conversation.unsettled, conversation.doubts, conversation.taken)):
            _held.add(conversation)
        else:
            _held.discard(conversation)


def _begin_anew() -> None:
    """Know nothing in a child process: a thread that it does not have may hold the locks."""
    global _guard  # noqa: PLW0603 -- that thread may hold it too
    _guard = threading.Lock()
    _conversations.clear()
    _held.clear()  # the parent settles them


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
