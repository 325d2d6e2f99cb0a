"""Keys of a caller's, and the cipher of one session that is derived from them."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from openai_sessions._arguments import checked_text, has_surrogate

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

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
