"""Many ids in little memory: a process may keep those of thousands of idle conversations."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable

_FEW = 32
"""As many ids are left as they are."""


class PackedIds:
    """Lists of ids by name: 30 bytes for each id while they are packed, and 110 while they are used."""

    __slots__ = ("_lists", "_packed")

    def __init__(self) -> None:
        self._lists: dict[str, list[str]] = {}
        self._packed = b""

    def __getitem__(self, name: str) -> list[str]:
        return self._unpacked().get(name, [])

    def __setitem__(self, name: str, ids: Iterable[str]) -> None:
        self._unpacked()[name] = list(ids)

    def pack(self) -> None:
        """Take little memory until the next look at an id."""
        if sum(map(len, self._lists.values())) > _FEW:
            self._packed = zlib.compress(json.dumps(self._lists).encode())
            self._lists = {}

    def _unpacked(self) -> dict[str, list[str]]:
        if self._packed:
            self._lists = json.loads(zlib.decompress(self._packed))
            self._packed = b""
        return self._lists
