"""Requests whose outcome is unknown, and the JSON receipt of a write that could not be undone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from openai_sessions._same_item import same_item
from openai_sessions._types import Item

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
