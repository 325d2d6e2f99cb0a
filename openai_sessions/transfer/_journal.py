"""What a transfer has written, kept on disk once it is much."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Any, cast

_IN_MEMORY = 1 << 20
"""Bytes that are kept in memory."""


class Journal:
    """Lists of JSON values, to be read again from either end."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._starts: list[int] = []

    def write(self, values: Sequence[Any]) -> None:
        """Add a list."""
        if self._file is None:
            spooled = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 -- closed by close()
            self._file = cast("IO[bytes]", spooled)
        self._file.seek(0, 2)
        self._starts.append(self._file.tell())
        self._file.write(json.dumps(list(values)).encode() + b"\n")

    def oldest_first(self) -> Iterator[list[Any]]:
        """Yield the lists in the order in which they were written."""
        return map(self._read, self._starts)

    def newest_first(self) -> Iterator[list[Any]]:
        """Yield the lists in the other order."""
        return map(self._read, reversed(self._starts))

    def close(self) -> None:
        """Forget all."""
        if self._file is not None:
            self._file.close()

    def _read(self, start: int) -> list[Any]:
        file = cast("IO[bytes]", self._file)
        file.seek(start)
        return list(json.loads(file.readline()))
