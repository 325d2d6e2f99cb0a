"""How many items a read has left out, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from enum import Enum


class Unreadable(Enum):
    """Why an item is not given to a reader; the values are the fields of `SkippedItems`."""

    EXPIRED = "expired"
    UNDECRYPTABLE = "undecryptable"
    UNENCRYPTED = "unencrypted"


@dataclass(frozen=True, slots=True)
class SkippedItems:
    """Numbers of items that were left out, by reason.

    Attributes:
        expired: They are older than the `ttl` of the session.
        undecryptable: They were encrypted with another key or for another `session_id`, by a later
            version of this library, or were tampered with.
        unencrypted: They were not written by an `EncryptedSession` of this library.
    """

    expired: int = 0
    undecryptable: int = 0
    unencrypted: int = 0

    @property
    def unreadable(self) -> int:
        """How many of them this session can never read, expired ones aside."""
        return self.undecryptable + self.unencrypted

    def __add__(self, other: SkippedItems) -> SkippedItems:
        return SkippedItems(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    def __bool__(self) -> bool:
        return any(astuple(self))

    @classmethod
    def counted(cls, reasons: Iterable[object]) -> SkippedItems:
        """Count the reasons among some values."""
        counts = Counter(reason.value for reason in reasons if isinstance(reason, Unreadable))
        return cls(**counts)
