"""Encrypt an item into an envelope, a user message with one text, and decrypt it.

The text consists of a mark, the version of the format, and a Fernet token of the item's JSON. The Fernet key
is derived from the caller's key with HKDF-SHA256, salted with the `session_id`.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from openai_sessions._arguments import MAX_TEXT, checked_text
from openai_sessions._items.text import has_surrogate
from openai_sessions._items.types import Item
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
        text = _envelope_text(envelope)
        if text is None or not text.startswith(_MARK):
            return Unreadable.UNENCRYPTED
        token = text.removeprefix(_MARK)
        if not token.startswith(_VERSION) or not token.isascii():
            return Unreadable.UNDECRYPTABLE
        return self._decrypt(token.removeprefix(_VERSION).encode())

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
    return (_envelope_text(item) or "").startswith(_MARK)


def _envelope_text(envelope: Any) -> str | None:
    """Return the text of a message whose content is a string or a single text part."""
    content = envelope.get("content") if isinstance(envelope, dict) else None
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        content = content[0].get("text")
    return content if isinstance(content, str) else None


_INFO = b"openai_sessions.EncryptedSession.v1"
"""HKDF `info`: keys derived from the same secret for another purpose differ."""


def session_cipher(session_id: str, keys: Sequence[bytes]) -> MultiFernet:
    """Return the cipher of a session, which encrypts with the first key and decrypts with any of them.

    Raises:
        ImportError: The package cryptography is not installed.
    """
    try:
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 -- of an extra
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            "EncryptedSession requires the package cryptography: pip install 'openai-sessions[encrypt]'"
        ) from error
    salt = session_id.encode()
    derived = [HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=_INFO).derive(key) for key in keys]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in derived])


_MIN_KEY_BYTES = 16
"""128 bits of randomness."""

_MIN_DISTINCT_BYTES = 5
"""A key with fewer distinct bytes was typed rather than generated."""

_FERNET_KEY = re.compile(rb"[A-Za-z0-9_-]{43}=")
"""32 bytes in the format of `Fernet.generate_key()`."""

_ADVICE = "generate one with cryptography.fernet.Fernet.generate_key() and store it with your secrets"


def checked_keys(value: object) -> list[bytes]:
    """Return the bytes of one key or of a list of keys. No error message contains a key.

    Raises:
        TypeError: The value is not a string, bytes or a list of these.
        ValueError: The list is empty, or a key is too weak.
    """
    if isinstance(value, (str, bytes)):
        return [_checked_key(value, "encryption_key")]
    if not isinstance(value, Sequence):
        raise TypeError(
            "encryption_key must be a string, bytes, or a list of them with the newest first, "
            f"not {type(value).__name__}"
        )
    if not value:
        raise ValueError(f"encryption_key is an empty list: {_ADVICE}")
    return [_checked_key(key, f"encryption_key[{index}]") for index, key in enumerate(value)]


def _checked_key(value: object, name: str) -> bytes:
    if not isinstance(value, (str, bytes)):
        raise TypeError(f"{name} must be a string or bytes, not {type(value).__name__}")
    if isinstance(value, str) and has_surrogate(value):  # the error of encode() would contain the key
        raise ValueError(f"{name} contains a lone surrogate: pass it as bytes, such as those of os.environb")
    raw = value.encode() if isinstance(value, str) else value
    if not raw:
        raise ValueError(f"{name} is empty: {_ADVICE}")
    if _FERNET_KEY.fullmatch(raw):
        raw = base64.urlsafe_b64decode(raw)
    if len(raw) < _MIN_KEY_BYTES or len(set(raw)) < _MIN_DISTINCT_BYTES:
        raise ValueError(
            f"{name} is too weak: a key is at least {_MIN_KEY_BYTES} random bytes, and key derivation "
            f"does not make a password strong enough. To be safe, {_ADVICE}"
        )
    return raw


def checked_session_id(value: object) -> str:
    """Return the session id that a cipher is derived for.

    Raises:
        TypeError: It is not a string.
        ValueError: It is empty, or contains a lone surrogate.
    """
    session_id = checked_text("session_id", value, wanted='the history a name, such as "user_123"')
    if has_surrogate(session_id):
        raise ValueError(f"session_id {session_id!r} contains a lone surrogate, which UTF-8 cannot encode")
    return session_id
