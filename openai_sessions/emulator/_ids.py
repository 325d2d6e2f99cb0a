"""Ids as the API makes them: a prefix and 48 hex digits, of which the first 8 are the second of creation."""

from __future__ import annotations

import secrets


def new_id(prefix: str, *, second: int) -> str:
    """Return a fresh id made in the given second since the epoch."""
    return f"{prefix}_{second:08x}{secrets.token_hex(20)}"
