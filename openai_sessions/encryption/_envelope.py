"""The envelope in which an item travels: a valid message whose only text is a mark and a token."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from openai_sessions._types import Item
from openai_sessions.encryption._skipped import Unreadable
from openai_sessions.errors import InvalidItemError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

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
