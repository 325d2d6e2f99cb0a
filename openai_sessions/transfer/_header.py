"""The first line of an export, which says what follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

VERSION = 1

_MARK = "openai_sessions"


class NewerVersionError(ValueError):
    """Tell that an export was written by a newer version of this library."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"is of version {version}, and {VERSION} is understood: install a newer openai-sessions"
        )


@dataclass(frozen=True, slots=True)
class ExportHeader:
    """What the first line of an export says.

    Attributes:
        origin: The class of the session that was exported.
        session_id: What it called itself, or None.
        exported_at: When, in ISO 8601, UTC.
        items: How many items follow, or None where it does not say.
        metadata: What the API kept with the conversation, or None where it was not hosted.
    """

    origin: str | None = None
    session_id: str | None = None
    exported_at: str | None = None
    items: int | None = None
    metadata: dict[str, str] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the value of the line."""
        told = {key: value for key, value in asdict(self).items() if key != "metadata" or value is not None}
        return {_MARK: VERSION, **told}

    @classmethod
    def from_json(cls, value: object) -> ExportHeader:
        """Read it back. Fields that are not known are passed over.

        Raises:
            NewerVersionError: It is of a newer version.
            ValueError: It is none.
        """
        version = value.get(_MARK) if isinstance(value, Mapping) else None
        if not isinstance(value, Mapping) or type(version) is not int or version < 1:
            raise ValueError('is not {"openai_sessions": 1, ...}')
        if version > VERSION:
            raise NewerVersionError(version)
        items = value.get("items")
        if items is not None and (isinstance(items, bool) or not isinstance(items, int) or items < 0):
            raise ValueError(f"has {items!r} for its number of items")
        return cls(
            origin=_text(value.get("origin")),
            session_id=_text(value.get("session_id")),
            exported_at=_text(value.get("exported_at")),
            items=items,
            metadata=_pairs(value.get("metadata")),
        )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _pairs(value: object) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ValueError(f"has {value!r} for its metadata")  # noqa: TRY004 -- of a file, not of a caller
    for key, text in value.items():
        if not isinstance(text, str):
            raise ValueError(f"has {text!r} for its metadata {key!r}")  # noqa: TRY004 -- as above
    return dict(value)
