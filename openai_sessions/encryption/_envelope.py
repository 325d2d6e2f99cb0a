"""Encrypt an item into an envelope, a user message with one text, and decrypt it.

The text consists of a mark, the version of the format, and a Fernet token of the item's JSON. The Fernet key
is derived from the caller's key with HKDF-SHA256, salted with the `session_id`.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
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

_VERSION = "v1:"
"""Fernet with a key derived by HKDF-SHA256, over the item as JSON in UTF-8."""


@dataclass(frozen=True, slots=True)
class SkippedItems:
    """Counts of items that were left out, by reason.

    Attributes:
        expired: Items older than the session's `ttl`.
        undecryptable: Items encrypted with another key or for another `session_id`, encrypted by a later
            version of this library, or tampered with.
        unencrypted: Items not written by this library's `EncryptedSession`.
    """

    expired: int = 0
    undecryptable: int = 0
    unencrypted: int = 0

    @property
    def unreadable(self) -> int:
        """The number of items that this session can never read; expired items do not count."""
        return self.undecryptable + self.unencrypted

    def __add__(self, other: SkippedItems) -> SkippedItems:
        return SkippedItems(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    def __bool__(self) -> bool:
        return any(astuple(self))

    @classmethod
    def counted(cls, opened: Iterable[object]) -> SkippedItems:
        """Count the `Unreadable` values among opened envelopes."""
        return cls(**Counter(each.value for each in opened if isinstance(each, Unreadable)))


class Unreadable(Enum):
    """The reason why an envelope was not opened; the values are the fields of `SkippedItems`."""

    EXPIRED = "expired"
    UNDECRYPTABLE = "undecryptable"
    UNENCRYPTED = "unencrypted"


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
        """Return items in envelopes. All get the same time, so that they expire together.

        Raises:
            InvalidItemError: The token of an item exceeds the API's limit for one text.
        """
        now = int(self._clock())
        return [self._seal(index, item, now) for index, item in enumerate(items)]

    def _seal(self, index: int, item: Item, now: int) -> Item:
        plain = json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode()
        text = _MARK + _VERSION + self._cipher.encrypt_at_time(plain, now).decode()
        if len(text) > MAX_TEXT:
            raise InvalidItemError(
                index,
                f"it is {len(text):,} characters long when encrypted, and the API accepts {MAX_TEXT:,}",
            )
        return {"role": "user", "content": text}

    def open(self, envelope: object) -> Item | Unreadable:
        """Return the item in an envelope, or the reason why it cannot be read."""
        text = envelope_text(envelope)
        if text is None or not text.startswith(_MARK):
            return Unreadable.UNENCRYPTED
        token = text.removeprefix(_MARK)
        if not token.startswith(_VERSION) or not token.isascii():
            return Unreadable.UNDECRYPTABLE
        return self._decrypt(token.removeprefix(_VERSION).encode())

    def readable(self, envelope: object) -> Item | None:
        """Return the item in an envelope, or None if it cannot be read."""
        opened = self.open(envelope)
        return None if isinstance(opened, Unreadable) else opened

    def _decrypt(self, token: bytes) -> Item | Unreadable:
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 -- of an extra

        try:
            plain = self._cipher.decrypt(token)
            written_at = self._cipher.extract_timestamp(token)
        except InvalidToken:
            return Unreadable.UNDECRYPTABLE
        if self._ttl is not None and written_at + self._ttl < self._clock():
            return Unreadable.EXPIRED
        item: Item = json.loads(plain)
        return item


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
