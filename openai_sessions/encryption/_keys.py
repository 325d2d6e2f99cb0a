"""The keys of encrypted sessions: checks, derivation, and stores with a key for each user."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from openai_sessions._arguments import checked_text
from openai_sessions._items.text import has_surrogate

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet


class KeyStore(Protocol):
    """Keys for each user: `EncryptedSession("chat", session, key_store, user="alice")`.

    `SessionDirectory.key_store()` returns one over a database; a class of your own may ask a key management
    service. A session asks at each operation and keeps no key, so that a destroyed key works nowhere from
    then on. A store that caches keys decides for how long a destroyed one still works in its process.

    What a store raises reaches the caller of the session; nothing was written. No message may contain a key.
    """

    async def get_keys(self, user: str, *, create: bool) -> Sequence[str | bytes]:
        """Return the keys of a user, newest first: the first encrypts, all decrypt.

        Args:
            user: The user.
            create: Whether to create and store a key if the user has none: true for writes. Of calls at the
                same time, in any process, all return the same key. Without it, such a user has no keys.
        """
        ...

    async def destroy_keys(self, user: str) -> bool:
        """Destroy all keys of a user, and return whether there were any.

        What was encrypted with them can then be read by nobody, also what is being written at the same time.
        The next `create=True` creates another key.
        """
        ...


def is_key_store(value: object) -> bool:
    """Return whether a value has the methods of a `KeyStore`."""
    return all(callable(getattr(value, name, None)) for name in ("get_keys", "destroy_keys"))


def derived_cipher(keys: Sequence[bytes], *, salt: bytes, info: bytes, needed_by: str) -> MultiFernet:
    """Return a cipher that encrypts with a key derived from the first key and decrypts with those of all.

    The Fernet keys are derived with HKDF-SHA256.

    Args:
        keys: At least one key.
        salt: What the cipher is for: those of other salts differ.
        info: The purpose, as HKDF understands it.
        needed_by: The class that requires the package, for the message.

    Raises:
        ImportError: The package cryptography is not installed.
    """
    try:
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 -- of an extra
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            f"{needed_by} requires the package cryptography: pip install 'openai-sessions[encrypt]'"
        ) from error
    derived = [HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(key) for key in keys]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in derived])


_MIN_KEY_BYTES = 16
"""128 bits of randomness."""

_MIN_DISTINCT_BYTES = 5
"""A key with fewer distinct bytes was typed rather than generated."""

_FERNET_KEY = re.compile(rb"[A-Za-z0-9_-]{43}=")
"""32 bytes in the format of `Fernet.generate_key()`."""

_ADVICE = "generate one with cryptography.fernet.Fernet.generate_key() and store it with your secrets"


def checked_keys(value: object, name: str = "encryption_key") -> list[bytes]:
    """Return the bytes of one key or of a list of keys. No error message contains a key.

    Args:
        value: What was given.
        name: The name of the argument, or where the keys are from.

    Raises:
        TypeError: The value is not a string, bytes or a list of these.
        ValueError: The list is empty, or a key is too weak.
    """
    if isinstance(value, (str, bytes)):
        return [_checked_key(value, name)]
    if not isinstance(value, Sequence):
        raise TypeError(
            f"{name} must be a string, bytes, or a list of them with the newest first, "
            f"not {type(value).__name__}"
        )
    if not value:
        raise ValueError(f"{name} is an empty list: {_ADVICE}")
    return [_checked_key(key, f"{name}[{index}]") for index, key in enumerate(value)]


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


def checked_user(value: object) -> str:
    """Return the user whose keys a store returns.

    Raises:
        TypeError: It is not a string.
        ValueError: It is empty.
    """
    return checked_text("user", value, wanted='the user whose key encrypts, such as "alice"')
