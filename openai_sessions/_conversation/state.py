"""What this process knows of a conversation: its newest ids, and writes and pops whose outcome is open.

All session objects of the process on one conversation share one `Conversation`. It keeps ids only, and a
bounded number of them: the items of a write are with its caller, or in its receipt.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any
from weakref import WeakValueDictionary

from openai_sessions._conversation.locks import FairLock
from openai_sessions._items.forms import same_item
from openai_sessions._items.types import Item

logger = logging.getLogger("openai_sessions")

_VERSION = 1
"""The version of receipts."""

_NEWEST = 128
"""Maximum number of ids remembered from a listing."""

_MISSING = 32
"""Maximum number of ids remembered although a listing did not have them: it may have been stale."""


_MAX_ANSWERED = 64
"""Maximum number of responses remembered."""


class CannotTellError(Exception):
    """A listing does not show which items belong to a request: nothing may be concluded from it."""


@dataclass(frozen=True, slots=True)
class SentItems:
    """A request to append items that got no reply.

    Attributes:
        items: The items as sent.
        anchors: The newest ids known before the request, oldest first. Empty if there were none.
        sends: How often the request was sent without a reply.
    """

    items: tuple[Item, ...]
    anchors: tuple[str, ...]
    sends: int

    def copies_in(self, listed: Sequence[Item], known: Collection[str]) -> list[list[str]]:
        """Return the ids of each copy of the request in a listing.

        Only unknown ids after the newest surviving anchor are candidates, and a copy is the whole request,
        contiguous and in order.

        Args:
            listed: The newest items, oldest first, back to an anchor or to the first item.
            known: Ids that do not belong to this request.

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

    def _start(self, listed: Sequence[Item]) -> int:
        if not self.anchors:
            return 0
        anchors = set(self.anchors)
        for position in reversed(range(len(listed))):
            if listed[position].get("id") in anchors:
                return position + 1
        raise CannotTellError("none of the items known before the request still exists")

    def _is_copy(self, window: Sequence[Item], known: Collection[str]) -> bool:
        return all(
            isinstance(item.get("id"), str) and item["id"] not in known and same_item(sent, item)
            for sent, item in zip(self.items, window, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """What remains of a write that could be neither completed nor undone, or of a deletion that failed.

    Attributes:
        conversation_id: The conversation.
        anchors: The newest ids known before the write, oldest first. Empty if there were none.
        stored: The ids of its items that the server acknowledged and that remain stored, oldest first.
        found: The ids of items that a search after a lost reply took for its own, oldest first.
        unknown: Its requests whose outcome is unknown.
        deleting: The ids, oldest first, that a deletion was asked for and may have left. Such a receipt has
            nothing else.
    """

    conversation_id: str
    anchors: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    unknown: tuple[SentItems, ...] = ()
    deleting: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of its items that remain stored."""
        return (*self.stored, *self.found)

    def without(self, deleted: Collection[str]) -> Receipt:
        """Return what remains of the write once some of its items were deleted."""
        return replace(
            self,
            stored=tuple(item_id for item_id in self.stored if item_id not in deleted),
            found=tuple(item_id for item_id in self.found if item_id not in deleted),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the receipt as a dict that `json.dumps` accepts."""
        unknown = [
            {"items": list(sent.items), "anchors": list(sent.anchors), "sends": sent.sends}
            for sent in self.unknown
        ]
        return {
            "version": _VERSION,
            "conversation_id": self.conversation_id,
            "anchors": list(self.anchors),
            "stored": list(self.stored),
            "found": list(self.found),
            "unknown": unknown,
            "deleting": list(self.deleting),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Receipt:
        """Return the receipt that `as_json` has returned.

        Raises:
            ValueError: The value is not a receipt, or has another version.
        """
        version = value.get("version") if isinstance(value, Mapping) else None
        if version != _VERSION:
            raise ValueError(
                f"the receipt has version {version!r}, and this version of openai_sessions reads {_VERSION}: "
                "pass the receipt of the error as it is"
            )
        try:
            return cls(
                conversation_id=_text(value["conversation_id"]),
                anchors=tuple(map(_text, value["anchors"])),
                stored=tuple(map(_text, value["stored"])),
                found=tuple(map(_text, value["found"])),
                unknown=tuple(map(_sent, value["unknown"])),
                deleting=tuple(map(_text, value["deleting"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"the receipt is damaged: {error!r}; pass the one of the error as it is"
            ) from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not an id")
    return value


def _sent(value: Mapping[str, Any]) -> SentItems:
    items = tuple(value["items"])
    if not items or not all(isinstance(item, dict) for item in items):
        raise TypeError("a request without items")
    return SentItems(items, tuple(map(_text, value["anchors"])), int(value["sends"]))


class TailCache:
    """The newest ids of a conversation that this process has seen, and the cursors of its pages.

    Each list of ids is kept as one string: a tuple of 128 ids takes twice the memory.
    """

    __slots__ = ("_gone", "_ids", "_is_known", "_is_whole", "_page_ends", "is_compacted")

    def __init__(self) -> None:
        self.is_compacted = False
        """Whether the latest read had a compaction item, so that the next one starts with the newest page."""
        self._ids = self._gone = self._page_ends = ""
        self._is_known = False
        self._is_whole = False

    @property
    def gone(self) -> frozenset[str]:
        """Ids of items that this process has deleted: a listing that shows one may be stale."""
        return frozenset(_split(self._gone))

    @property
    def ids(self) -> tuple[str, ...]:
        """The newest ids, oldest first; none if nothing was seen, or the conversation was empty."""
        return tuple(_split(self._ids))

    @property
    def page_ends(self) -> tuple[str, ...]:
        """The last ids of the full pages of the latest read of all items."""
        return tuple(_split(self._page_ends))

    @page_ends.setter
    def page_ends(self, ends: Iterable[str]) -> None:
        self._page_ends = _joined(ends)

    @property
    def is_known(self) -> bool:
        """Whether the newest items were seen since another process may have written."""
        return self._is_known and (self._is_whole or bool(self._ids))

    @property
    def is_whole(self) -> bool:
        """Whether the known ids are all items of the conversation."""
        return self._is_whole

    def learn(self, items: Sequence[Item], *, is_whole: bool) -> None:
        """Add what a read of the newest items has returned, oldest first; `is_whole`: it was all items."""
        self.believe(item.get("id") for item in items)
        known = _split(self._ids)
        seen = [item["id"] for item in items if isinstance(item.get("id"), str)]
        shown = set(seen)
        missing = [item_id for item_id in known if item_id not in shown]
        joins = self._is_whole and shown.issubset(known)
        self._is_whole = (is_whole or joins) and len(seen) <= _NEWEST and len(missing) <= _MISSING
        self._ids = _joined(missing[-_MISSING:] + seen[-_NEWEST:])
        self._is_known = True

    def add(self, ids: Sequence[str]) -> None:
        """Add items that were appended."""
        self.believe(ids)
        known = [*_split(self._ids), *ids]
        self._ids = _joined(known[-_NEWEST - _MISSING :])
        self._is_whole = self._is_whole and len(known) <= _NEWEST + _MISSING

    def believe(self, ids: Iterable[object]) -> None:
        """Take deleted items for stored: the server has acknowledged them since, or lists them again."""
        if self._gone:
            stored = set(ids)
            self._gone = _joined(item_id for item_id in _split(self._gone) if item_id not in stored)

    def remove(self, ids: Collection[str]) -> None:
        """Remove items that were deleted."""
        self._gone = _joined([*_split(self._gone), *ids][-_NEWEST:])
        self._ids = _joined(item_id for item_id in _split(self._ids) if item_id not in ids)
        self._page_ends = _joined(takewhile(lambda end: end not in ids, _split(self._page_ends)))

    def expire(self) -> None:
        """Require another read, as another process may have written. Ids that were seen stay known."""
        self._is_known = False
        self._is_whole = False

    def forget(self) -> None:
        """Forget everything: the conversation is gone."""
        self._ids = self._gone = self._page_ends = ""
        self._is_known = False
        self._is_whole = False
        self.is_compacted = False


def _joined(ids: Iterable[str]) -> str:
    return "\n".join(ids)


def _split(ids: str) -> list[str]:
    return ids.split("\n") if ids else []


@dataclass(slots=True, eq=False)
class UnconfirmedPop:
    """An item whose DELETE got no response: the pop may or may not have happened.

    Attributes:
        item: The item as listed.
        is_gone: Whether the deletion is known to have happened.
    """

    item: Item
    is_gone: bool


@dataclass(eq=False)
class Conversation:
    """A hosted conversation as this process knows it, shared by all its session objects.

    Attributes:
        lock: Held during each operation, so that session objects on one conversation behave as one.
        tail: The newest ids.
        unsettled: What failed writes have left: acknowledged ids only, which the next operation deletes.
        unconfirmed_pops: Items that a failed pop may have removed; the next pop returns one that is gone.
        revision: Replaced when items other than the newest are deleted: a newer page does not show that.
        answered: The ids of the first output items of the latest responses: a search for another response
            must not take them for its own.
    """

    lock: FairLock = field(default_factory=FairLock)
    tail: TailCache = field(default_factory=TailCache)
    unsettled: list[Receipt] = field(default_factory=list)
    unconfirmed_pops: list[UnconfirmedPop] = field(default_factory=list)
    revision: object = field(default_factory=object)
    answered: tuple[str, ...] = ()

    def answer(self, output_ids: Sequence[str]) -> None:
        """Record the output of a response."""
        self.answered = (*self.answered, *output_ids[:1])[-_MAX_ANSWERED:]

    @property
    def anchors(self) -> tuple[str, ...]:
        """The newest known ids that no failed pop may have removed, oldest first."""
        popped = {pop.item["id"] for pop in self.unconfirmed_pops}
        return tuple(item_id for item_id in self.tail.ids if item_id not in popped)

    def leave_unsettled(self, receipt: Receipt) -> None:
        """Keep the acknowledged ids of a failed write for the next operation; the rest is for its caller."""
        if receipt.stored:
            self.unsettled.append(replace(receipt, found=(), unknown=()))

    def settled(self, deleted: Collection[str]) -> None:
        """Remove deleted items from what is unsettled."""
        self.unsettled[:] = [left for each in self.unsettled if (left := each.without(deleted)).stored]

    def settle_everything(self) -> None:
        """Forget pending settlements: every item was deleted."""
        self.unsettled.clear()
        self.unconfirmed_pops.clear()

    def forget(self) -> None:
        """Forget everything: the conversation is gone."""
        self.settle_everything()
        self.tail.forget()


_MAX_UNSETTLED = 1_000
"""Maximum number of conversations kept because they have something to settle."""

_conversations: WeakValueDictionary[tuple[str, str], Conversation] = WeakValueDictionary()
"""The registry of the process, by base URL and conversation id. An entry lives while it is in use."""

_unsettled: dict[Conversation, str] = {}
"""Keeps conversations alive that have something to settle, oldest first; their ids."""

_guard = threading.Lock()


def shared_conversation(base_url: str, conversation_id: str) -> Conversation:
    """Return the `Conversation` that all session objects of this process share."""
    with _guard:
        return _conversations.setdefault((base_url, conversation_id), Conversation())


def keep_while_unsettled(conversation: Conversation, conversation_id: str) -> None:
    """Keep a conversation alive if it has something to settle, and release it otherwise.

    Beyond the maximum, as after a long outage, the oldest is released, with a log line.
    """
    dropped: str | None = None
    with _guard:
        if conversation.unsettled or conversation.unconfirmed_pops:
            _unsettled.setdefault(conversation, conversation_id)
        else:
            _unsettled.pop(conversation, None)
        if len(_unsettled) > _MAX_UNSETTLED:
            dropped = _unsettled.pop(next(iter(_unsettled)))
    if dropped is not None:
        logger.warning(
            "%s: what failed writes have left in it is no longer settled: %d conversations have something to "
            "settle",
            dropped,
            _MAX_UNSETTLED + 1,
        )


def forget_conversations() -> None:
    """Forget what this process knows of all conversations: a replay starts from nothing each time."""
    with _guard:
        known = list(_conversations.values())
    for each in known:
        each.forget()


def _forget_after_fork() -> None:
    """Forget everything in a child process: a thread that it does not have may hold the locks."""
    global _guard  # noqa: PLW0603 -- that thread may hold it too
    _guard = threading.Lock()
    _conversations.clear()
    _unsettled.clear()  # the parent settles them


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
