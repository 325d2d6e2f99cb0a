"""What a copy, an export or an import has done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, "int | None"], object]
"""Called with the number of items that are done, and of all, or None while that is not known."""


@dataclass(frozen=True, slots=True)
class TransferReport:
    """What became of the items of a source.

    Attributes:
        copied: How many were written.
        already_there: How many the target held already, from a copy that was cut short.
        skipped: How many were left out: reasoning that the API cannot store, or cannot show without the
            item that it led to.
    """

    copied: int = 0
    already_there: int = 0
    skipped: int = 0
