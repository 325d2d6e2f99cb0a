"""Keys, of which only digests are kept: a digest is the owner of the conversations made with its key."""

from __future__ import annotations

import hashlib

EVERY_KEY = ""
"""The owner of conversations that every key sees: those an emulator began with."""


def owner_of(api_key: str) -> str:
    """Return the owner that the conversations of a bearer key are kept under."""
    return hashlib.sha256(api_key.encode()).hexdigest()
