"""What this process knows of a conversation, and receipts of writes that could not be undone."""

from __future__ import annotations

import json
import os
import threading
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any
from weakref import WeakValueDictionary

from openai_sessions._conversation.locks import FairLock
from openai_sessions._items.forms import same_item
from openai_sessions._items.types import Item

_FEW = 32
"""As many ids are left as they are."""


class PackedIds:
    """Lists of ids by name: 30 bytes for each id while they are packed, and 110 while they are used."""

    __slots__ = ("_lists", "_packed")

    def __init__(self) -> None:
        self._lists: dict[str, list[str]] = {}
        self._packed = b""

    def __getitem__(self, name: str) -> list[str]:
        return self._unpacked().get(name, [])

    def __setitem__(self, name: str, ids: Iterable[str]) -> None:
        self._unpacked()[name] = list(ids)

    def pack(self) -> None:
        """Take little memory until the next look at an id."""
        if sum(map(len, self._lists.values())) > _FEW:
            self._packed = zlib.compress(json.dumps(self._lists).encode())
            self._lists = {}

    def _unpacked(self) -> dict[str, list[str]]:
        if self._packed:
            self._lists = json.loads(zlib.decompress(self._packed))
            self._packed = b""
        return self._lists


_VERSION = 1


class CannotTellError(Exception):
    """Tell that a listing does not show which items are of a request: nothing may be concluded."""


@dataclass(frozen=True, slots=True)
class SentItems:
    """A request to append items whose answers did not arrive.

    Attributes:
        items: The items as they were sent.
        anchors: The newest ids known before it was sent, oldest first. Empty when there were none.
        sends: How often it was sent without an answer.
    """

    items: tuple[Item, ...]
    anchors: tuple[str, ...]
    sends: int

    def copies_in(self, listed: Sequence[Item], known: Collection[str]) -> list[list[str]]:
        """Return the ids of each copy of the whole request in a listing.

        Only unknown ids behind the newest anchor that survives are candidates, and a copy is the
        whole request, contiguous and in order.

        Args:
            listed: The newest items, oldest first, back to an anchor or to the beginning.
            known: Ids that are not of this request.

        Raises:
            CannotTellError: No anchor survives, or there are more copies than sends.
        """
        candidates = listed[self._start(listed) :]
        copies: list[list[str]] = []
        position = 0
        while position + len(self.items) <= len(candidates):
            window = candidates[position : position + len(self.items)]
            if self._is_copy(window, known):
                copies.append([str(item["id"]) for item in window])
                position += len(self.items)
            else:
                position += 1
        if len(copies) > self.sends:
            raise CannotTellError(
                f"{len(copies)} copies were found of a request that was sent {self.sends} times"
            )
        return copies

    def behind(self, listed: Sequence[Item]) -> SentItems:
        """Return this request with what is listed before it among its anchors.

        Raises:
            CannotTellError: No anchor survives.
        """
        before = dict.fromkeys(str(item.get("id")) for item in listed[: self._start(listed)])
        older = [anchor for anchor in self.anchors if anchor not in before]
        return replace(self, anchors=(*older, *before))

    def _start(self, listed: Sequence[Item]) -> int:
        if not self.anchors:
            return 0
        anchors = set(self.anchors)
        for position in reversed(range(len(listed))):
            if listed[position].get("id") in anchors:
                return position + 1
        raise CannotTellError("none of the items known before the request is left")

    def _is_copy(self, window: Sequence[Item], known: Collection[str]) -> bool:
        return all(
            isinstance(item.get("id"), str) and item["id"] not in known and same_item(sent, item)
            for sent, item in zip(self.items, window, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is left of a write that could neither be completed nor undone.

    Attributes:
        conversation_id: Where it was written.
        anchors: The newest ids known before the write, oldest first. Empty when there were none.
        stored: The ids of its items that stand, oldest first.
        unknown: Its requests whose outcome is unknown.
    """

    conversation_id: str
    anchors: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()
    unknown: tuple[SentItems, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the receipt as a dict that `json.dumps` takes."""
        unknown = [
            {"items": list(sent.items), "anchors": list(sent.anchors), "sends": sent.sends}
            for sent in self.unknown
        ]
        return {
            "version": _VERSION,
            "conversation_id": self.conversation_id,
            "anchors": list(self.anchors),
            "stored": list(self.stored),
            "unknown": unknown,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Receipt:
        """Read a receipt back.

        Raises:
            ValueError: It is not a receipt, or one of a newer version.
        """
        version = value.get("version") if isinstance(value, Mapping) else None
        if version != _VERSION:
            raise ValueError(f"this receipt is of version {version!r}, and {_VERSION} is understood")
        try:
            return cls(
                conversation_id=_text(value["conversation_id"]),
                anchors=tuple(map(_text, value["anchors"])),
                stored=tuple(map(_text, value["stored"])),
                unknown=tuple(map(_sent, value["unknown"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is not a receipt of an unsettled write: {error!r} is wrong") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no id")
    return value


def _sent(value: Mapping[str, Any]) -> SentItems:
    items = tuple(value["items"])
    if not items or not all(isinstance(item, dict) for item in items):
        raise TypeError("a request without items")
    return SentItems(items, tuple(map(_text, value["anchors"])), int(value["sends"]))


_NEWEST = 128
"""How many ids of a listing are remembered."""

_MISSING = 32
"""How many ids are remembered although a listing lacked them: it may have been an old one."""


class TailCache:
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
class InDoubtWrite:
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
class UnconfirmedPop:
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
    tail: TailCache = field(default_factory=TailCache)
    in_doubt: list[InDoubtWrite] = field(default_factory=list)
    unwanted: set[str] = field(default_factory=set)
    unsettled: list[Receipt] = field(default_factory=list)
    taken: list[UnconfirmedPop] = field(default_factory=list)

    @property
    def anchors(self) -> tuple[str, ...]:
        """The newest ids that are known and that no failed pop may have removed, oldest first."""
        taken = {taken.item["id"] for taken in self.taken}
        return tuple(item_id for item_id in self.tail.ids if item_id not in taken)

    def resolve(self, doubt: InDoubtWrite) -> None:
        """Stop looking for a request."""
        self.in_doubt[:] = [other for other in self.in_doubt if other is not doubt]

    def expire(self) -> None:
        """Take what is known for old, as another process that shares a lock may have written.

        A request in doubt can then no longer be told from an equal one of that process, which must
        not be deleted: it is no longer looked for.
        """
        self.tail.expire()
        self.in_doubt.clear()

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Take up items that this process has appended: they are nobody's copies."""
        self.tail.add(ids)
        for doubt in self.in_doubt:
            doubt.acknowledged.update(ids)

    def remove(self, ids: Collection[str]) -> None:
        """Take up that items were deleted."""
        self.tail.remove(ids)
        self.unwanted.difference_update(ids)
        for doubt in self.in_doubt:
            doubt.forget(ids)

    def receipts(self, conversation_id: str) -> tuple[Receipt, ...]:
        """Return what is left to be deleted, as receipts."""
        copies = Receipt(conversation_id, stored=tuple(sorted(self.unwanted)))
        return (*self.unsettled, copies) if self.unwanted else tuple(self.unsettled)

    def settle_everything(self) -> None:
        """Have nothing left to settle, as all items are gone. What is in doubt may yet appear."""
        for doubt in self.in_doubt:
            doubt.sent = replace(doubt.sent, anchors=())
        self.unwanted.clear()
        self.unsettled.clear()
        self.taken.clear()

    def forget(self) -> None:
        """Know nothing, as the conversation is gone."""
        self.settle_everything()
        self.in_doubt.clear()
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
        if any((conversation.unwanted, conversation.unsettled, conversation.in_doubt, conversation.taken)):
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
