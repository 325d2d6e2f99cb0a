"""Keys, and the envelope in which an item travels."""

from __future__ import annotations

import base64
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from openai_sessions._arguments import checked_text, has_surrogate
from openai_sessions._items.types import Item
from openai_sessions.errors import InvalidItemError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet


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


_LEAST_BYTES = 16
"""128 bits: what a random key has at least."""

_LEAST_DIFFERENT = 5
"""A key of so few different bytes was typed, and not drawn at random."""

_FERNET_KEY = re.compile(rb"[A-Za-z0-9_-]{43}=")
"""32 bytes in the form of `Fernet.generate_key()`."""

_INFO = b"openai_sessions.EncryptedSession.v1"
"""What the derived keys are for: those of another use of the same key are others."""

_ADVICE = "make one with cryptography.fernet.Fernet.generate_key() and keep it where you keep secrets"


def checked_keys(value: object) -> list[bytes]:
    """Return the bytes of one key, or of several.

    Raises:
        TypeError: It is neither a string, bytes nor a list of these. No message shows a key.
        ValueError: There is none, or one is too weak.
    """
    if isinstance(value, (str, bytes)):
        return [_key(value, "encryption_key")]
    if not isinstance(value, Sequence):
        raise TypeError(
            f"encryption_key is a string, bytes, or a list of them, newest first, not {type(value).__name__}"
        )
    if not value:
        raise ValueError(f"encryption_key is an empty list: {_ADVICE}")
    return [_key(key, f"encryption_key[{index}]") for index, key in enumerate(value)]


def _key(value: object, name: str) -> bytes:
    if not isinstance(value, (str, bytes)):
        raise TypeError(f"{name} is a string or bytes, not {type(value).__name__}")
    if isinstance(value, str) and has_surrogate(value):  # encoding it would raise an error that holds it
        raise ValueError(f"{name} holds a lone surrogate: give it as bytes, such as those of os.environb")
    raw = value.encode() if isinstance(value, str) else value
    if not raw:
        raise ValueError(f"{name} is empty: {_ADVICE}")
    if _FERNET_KEY.fullmatch(raw):
        raw = base64.urlsafe_b64decode(raw)
    if len(raw) < _LEAST_BYTES or len(set(raw)) < _LEAST_DIFFERENT:
        raise ValueError(
            f"{name} is too weak: a key is at least {_LEAST_BYTES} bytes drawn at random, as deriving "
            f"keys does not make up for a password. To be sure, {_ADVICE}"
        )
    return raw


def checked_session_id(value: object) -> str:
    """Return the name of a history, from which its keys are derived.

    Raises:
        TypeError: It is no string.
        ValueError: It is empty, or no text.
    """
    session_id = checked_text("session_id", value, wanted='the history a name, such as "user_123"')
    if has_surrogate(session_id):
        raise ValueError(
            f"session_id {session_id!r} holds a lone surrogate, which is no character: leave it out"
        )
    return session_id


def session_cipher(session_id: str, keys: Sequence[bytes]) -> MultiFernet:
    """Return what encrypts with the first of the keys and decrypts with any, for one session.

    Raises:
        ImportError: The package cryptography is not installed.
    """
    try:
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 -- of an extra
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            'EncryptedSession needs the package cryptography: install "openai-sessions[encrypt]"'
        ) from error
    salt = session_id.encode()
    derived = [HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=_INFO).derive(key) for key in keys]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in derived])


_MARK = "openai-sessions:encrypted:"
"""How the text of every envelope begins, whatever its version."""

_VERSION = "v1:"
"""Fernet, with a key derived by HKDF-SHA256, over the item as JSON in UTF-8."""

MAX_TEXT = 10_485_760
"""Characters of one text (`InputTextContentParam` in OpenAI's OpenAPI document)."""


class Sealer:
    """Puts items into envelopes and takes them out.

    Args:
        cipher: The cipher of the session.
        ttl: Seconds that an item can be read; None for ever.
        clock: Seconds since the epoch.
    """

    __slots__ = ("_cipher", "_clock", "_ttl")

    def __init__(self, cipher: MultiFernet, *, ttl: float | None, clock: Callable[[], float]) -> None:
        self._cipher = cipher
        self._ttl = ttl
        self._clock = clock

    def seal(self, items: Sequence[Item]) -> list[Item]:
        """Return items in envelopes. They get the same time, so that they expire together.

        Raises:
            InvalidItemError: An item is too large for one text of the API.
        """
        now = int(self._clock())
        return [self._sealed(index, item, now) for index, item in enumerate(items)]

    def open(self, envelope: object) -> Item | Unreadable:
        """Return the item in an envelope, or why there is none."""
        text = _text_of(envelope)
        if text is None or not text.startswith(_MARK):
            return Unreadable.UNENCRYPTED
        token = text.removeprefix(_MARK)
        if not token.startswith(_VERSION) or not token.isascii():
            return Unreadable.UNDECRYPTABLE
        return self._opened(token.removeprefix(_VERSION).encode())

    def _sealed(self, index: int, item: Item, now: int) -> Item:
        plain = json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode()
        text = _MARK + _VERSION + self._cipher.encrypt_at_time(plain, now).decode()
        if len(text) > MAX_TEXT:
            raise InvalidItemError(
                index,
                f"encrypted it is a text of {len(text):,} characters, and the API takes {MAX_TEXT:,}",
            )
        return {"role": "user", "content": text}

    def _opened(self, token: bytes) -> Item | Unreadable:
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


def checked_ttl(value: object) -> float | None:
    """Return a time to live in seconds, or None.

    Raises:
        ValueError: It is not a positive number.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ValueError(f"ttl is a positive number of seconds, or None for no expiry, not {value!r}")
    return value


def _text_of(envelope: Any) -> str | None:
    """Return the one text of a message, as a string or as its only part."""
    content = envelope.get("content") if isinstance(envelope, dict) else None
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        content = content[0].get("text")
    return content if isinstance(content, str) else None
