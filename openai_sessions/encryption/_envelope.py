"""Encrypt an item into an envelope, a user message with one text, and decrypt it.

The text consists of a mark, the version of the format, and a Fernet token. The Fernet key is derived from the
caller's key with HKDF-SHA256, salted with the `session_id`. The token contains a JSON array: an id of the
write, the item's index in the write, and the item. By these, a reader notices that tokens were repeated,
reordered or removed.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from openai_sessions._arguments import MAX_TEXT
from openai_sessions._items.types import Item
from openai_sessions.encryption._keys import KeyStore, checked_keys, derived_cipher
from openai_sessions.errors import InvalidItemError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

_MARK = "openai-sessions:encrypted:"
"""The start of every envelope's text, in every version of the format."""

_VERSION = "v2:"
"""Fernet with a key derived by HKDF-SHA256, over `[write, index, item]` as JSON in UTF-8."""


@dataclass(frozen=True, slots=True)
class SkippedItems:
    """Counts of items that a read did not return as they are stored, by reason.

    Attributes:
        expired: Items older than the session's `ttl`.
        undecryptable: Items encrypted with another key or for another `session_id`, encrypted by another
            version of this library, or tampered with.
        unencrypted: Items not written by this library's `EncryptedSession`.
        repeated: Further copies of an item: the first one was returned.
        missing: Items that one call of `add_items` wrote between two of the read ones, and that were not
            found, or could not be decrypted.
        reordered: Items that were returned in the order of their call, and are stored in another.
    """

    expired: int = 0
    undecryptable: int = 0
    unencrypted: int = 0
    repeated: int = 0
    missing: int = 0
    reordered: int = 0

    @property
    def unreadable(self) -> int:
        """The number of items that this session can never read; expired items do not count."""
        return self.undecryptable + self.unencrypted

    def __add__(self, other: SkippedItems) -> SkippedItems:
        return SkippedItems(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    def __bool__(self) -> bool:
        return any(astuple(self))

    def __str__(self) -> str:
        counts = zip(self.__slots__, astuple(self), strict=True)
        return ", ".join(f"{count} {reason}" for reason, count in counts if count) or "none"


class Unreadable(Enum):
    """The reason why an envelope was not opened; the values are fields of `SkippedItems`."""

    EXPIRED = "expired"
    UNDECRYPTABLE = "undecryptable"
    UNENCRYPTED = "unencrypted"


@dataclass(frozen=True, slots=True)
class OpenedItem:
    """A decrypted item.

    Attributes:
        item: The item.
        write: Identifies the call that has written it.
        index: Its position among the items of that call.
        written_at: When it was written, in Unix seconds.
    """

    item: Item
    write: str
    index: int
    written_at: int


Places = dict[tuple[str, int], None]
"""The writes and indexes of items, in the order in which they were read."""


def as_written(opened: Iterable[OpenedItem | Unreadable], seen: Places) -> tuple[list[Item], SkippedItems]:
    """Return the readable items of a view, each once and in the order of its write.

    Writes stay where they are, also among each other. A gap in a write is counted, and what is left of it is
    returned: a process that was killed while it undid a write leaves gaps, too. Neither the first nor the
    last items of a write are missed, because a pop and a concurrent clear remove these.

    Args:
        opened: The opened envelopes, in stored order.
        seen: The places of items read before, which count as repeated; extended by those of these.
    """
    counts: Counter[str] = Counter()
    kept: list[OpenedItem] = []
    for each in opened:
        if isinstance(each, Unreadable):
            counts[each.value] += 1
        elif (each.write, each.index) in seen:
            counts["repeated"] += 1
        else:
            seen[each.write, each.index] = None
            kept.append(each)
    ordered = kept.copy()
    for places in _places_by_write(kept):
        written = sorted((kept[place] for place in places), key=lambda each: each.index)
        counts["missing"] += written[-1].index - written[0].index + 1 - len(written)
        for place, each in zip(places, written, strict=True):
            counts["reordered"] += ordered[place] is not each
            ordered[place] = each
    return [each.item for each in ordered], SkippedItems(**counts)


def _places_by_write(opened: Sequence[OpenedItem]) -> Iterable[list[int]]:
    """Return the positions of the items of each write."""
    places: dict[str, list[int]] = {}
    for place, each in enumerate(opened):
        places.setdefault(each.write, []).append(place)
    return places.values()


class Sealer:
    """Encrypt items into envelopes and decrypt them.

    Args:
        cipher: The cipher of the session.
        ttl: Seconds during which an item can be read; None for no expiry.
        clock: Returns the current Unix time in seconds.
    """

    __slots__ = ("_cipher", "_clock", "_ttl")

    def __init__(self, cipher: MultiFernet, *, ttl: float | None, clock: Callable[[], float]) -> None:
        self._cipher = cipher
        self._ttl = ttl
        self._clock = clock

    def seal(self, items: Sequence[Item]) -> list[Item]:
        """Return the items of one write in envelopes. All get the same time, so that they expire together.

        Raises:
            InvalidItemError: The token of an item exceeds the API's limit for one text.
        """
        now, write = int(self._clock()), _new_write()
        return [self._seal(OpenedItem(item, write, index, now)) for index, item in enumerate(items)]

    def reseal(self, envelopes: Sequence[Item]) -> list[Item]:
        """Return envelopes to be stored in place of others, which may be some of their writes.

        A copy gets another write for each write, with indexes from 0, so that it repeats nothing. Items keep
        their times. Envelopes that cannot be decrypted are returned as they are.
        """
        writes: dict[str, str] = {}
        lengths: Counter[str] = Counter()
        renewed = []
        for envelope in envelopes:
            opened = self._decrypt(envelope)
            if isinstance(opened, Unreadable):
                renewed.append(envelope)
                continue
            write = writes.setdefault(opened.write, _new_write())
            renewed.append(self._seal(replace(opened, write=write, index=lengths[write])))
            lengths[write] += 1
        return renewed

    def _seal(self, opened: OpenedItem) -> Item:
        content = [opened.write, opened.index, opened.item]
        plain = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        text = _MARK + _VERSION + self._cipher.encrypt_at_time(plain, opened.written_at).decode()
        if len(text) > MAX_TEXT:
            raise InvalidItemError(
                opened.index,
                f"it is {len(text):,} characters long when encrypted, and the API accepts {MAX_TEXT:,}",
            )
        return {"role": "user", "content": text}

    def open(self, envelope: object) -> OpenedItem | Unreadable:
        """Return the item in an envelope, or the reason why it cannot be read."""
        opened = self._decrypt(envelope)
        if isinstance(opened, OpenedItem) and self._has_expired(opened):
            return Unreadable.EXPIRED
        return opened

    def readable(self, envelope: object) -> Item | None:
        """Return the item in an envelope, or None if it cannot be read."""
        opened = self.open(envelope)
        return None if isinstance(opened, Unreadable) else opened.item

    def _has_expired(self, opened: OpenedItem) -> bool:
        return self._ttl is not None and opened.written_at + self._ttl < self._clock()

    def _decrypt(self, envelope: object) -> OpenedItem | Unreadable:
        """Return the item in an envelope, also an expired one."""
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 -- of an extra

        text = envelope_text(envelope)
        if text is None or not text.startswith(_MARK):
            return Unreadable.UNENCRYPTED
        token = text.removeprefix(_MARK)
        if not token.startswith(_VERSION) or not token.isascii():
            return Unreadable.UNDECRYPTABLE
        encrypted = token.removeprefix(_VERSION).encode()
        try:
            plain = self._cipher.decrypt(encrypted)
            written_at = self._cipher.extract_timestamp(encrypted)
        except InvalidToken:
            return Unreadable.UNDECRYPTABLE
        write, index, item = json.loads(plain)
        return OpenedItem(item, write, index, written_at)


def _new_write() -> str:
    """Return an id that no other write of any process has."""
    return secrets.token_urlsafe(12)


def is_envelope(item: Item) -> bool:
    """Return whether an item looks like one that an `EncryptedSession` has written."""
    return (envelope_text(item) or "").startswith(_MARK)


def envelope_text(envelope: Any) -> str | None:
    """Return the text of a message whose content is a string or a single text part."""
    content = envelope.get("content") if isinstance(envelope, dict) else None
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        content = content[0].get("text")
    return content if isinstance(content, str) else None


_INFO = b"openai_sessions.EncryptedSession.v2"
"""HKDF `info`: keys derived from the same secret for another purpose differ."""


def session_cipher(session_id: str, keys: Sequence[bytes]) -> MultiFernet:
    """Return the cipher of a session, which encrypts with the first key and decrypts with any of them.

    Raises:
        ImportError: The package cryptography is not installed.
    """
    return derived_cipher(keys, salt=session_id.encode(), info=_INFO, needed_by="EncryptedSession")


class Sealers(Protocol):
    """Returns the sealer for one operation of a session."""

    async def get(self, *, create: bool = False) -> Sealer:
        """Return a sealer; `create` says whether a user without a key gets one, in order to write."""
        ...


@dataclass(frozen=True, slots=True)
class GivenKeys:
    """The sealer of a session that was given its keys."""

    sealer: Sealer

    async def get(self, *, create: bool = False) -> Sealer:  # noqa: ARG002 -- there are keys
        """Return the sealer."""
        return self.sealer


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """Sealers with the keys that a store has at the time of each operation.

    Attributes:
        store: The key store.
        user: The user whose keys these are.
        sealer_of: Returns the sealer of the session with these keys.
    """

    store: KeyStore
    user: str
    sealer_of: Callable[[Sequence[bytes]], Sealer]

    async def get(self, *, create: bool = False) -> Sealer:
        """Return a sealer with the keys of the user. Without any it opens nothing.

        Raises:
            TypeError: The store returned something else than keys.
            ValueError: The store returned a weak key, or was to create one and returned none.
            Exception: An error of the store.
        """
        found = await self.store.get_keys(self.user, create=create)
        if not found and not create:
            return self.sealer_of([secrets.token_bytes(32)])  # nothing was ever encrypted with it
        return self.sealer_of(checked_keys(found, f"get_keys({self.user!r})"))
