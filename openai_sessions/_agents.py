"""What the Agents SDK needs, without importing it."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from openai_sessions._items.forms import plain_json, replay_form, same_item
from openai_sessions._items.types import Item


@dataclass
class SessionSettings:
    """Stand in for `agents.SessionSettings` while the Agents SDK is not imported.

    Attributes:
        limit: The newest items that a read returns; None for all.
    """

    limit: int | None = None


def session_settings(value: object) -> Any:
    """Return settings as the Runner expects them: `agents.SessionSettings` once that is imported.

    Args:
        value: Settings of either kind, a mapping of their fields, or None for the defaults.

    Raises:
        TypeError: It is none of these, or has a field that settings do not have.
    """
    wanted = getattr(sys.modules.get("agents"), "SessionSettings", None) or SessionSettings
    if isinstance(value, wanted):
        return value
    if isinstance(value, SessionSettings):
        return wanted(limit=value.limit)
    if value is None:
        return wanted()
    if not isinstance(value, Mapping):
        raise TypeError(f"session_settings is a SessionSettings, a dict or None, not {value!r}")
    unknown = value.keys() - {field.name for field in fields(wanted)}
    if unknown:
        raise TypeError(f"session_settings has no field {', '.join(map(repr, sorted(unknown)))}: {value!r}")
    return wanted(**value)


def limit_of(settings: object) -> object:
    """Return the limit that settings of either kind hold."""
    return getattr(settings, "limit", None)


def default_client() -> Any:
    """Return the client given to `agents.set_default_openai_client`, or None."""
    shared = sys.modules.get("agents.models._openai_shared")
    return shared.get_default_openai_client() if shared else None


def register_session(session_class: type) -> None:
    """Make instances pass `isinstance(…, agents.Session)` where that would read an unset session_id.

    On Python 3.11 and earlier the check reads the attributes of the instance.
    """
    protocol = getattr(sys.modules.get("agents"), "Session", None)
    if protocol is not None:
        protocol.register(session_class)


_MAX_ITEMS = 250
"""More than a run writes; a session that only writes must not grow without end."""

_MAX_OUTLINE = 4096
"""Characters; a longer one, of an item with much that no listing tells, is not kept."""

_AS_LISTED = ""
"""Stands for the outline of a plain message, which a listing gives back as it was given."""

_NO_OUTLINE = '"#"'
"""A mark that no text has."""


class WrittenAsGiven:
    """The items that were stored since the history was last read, in the form in which they came."""

    __slots__ = ("_outlines",)

    def __init__(self) -> None:
        self._outlines = b""

    def add(self, items: Iterable[object]) -> None:
        """Remember the outlines of items that were stored."""
        outlines = [*self._lines(), *(_outline(plain_json(item)) for item in items)][-_MAX_ITEMS:]
        self._outlines = zlib.compress("\n".join(["", *outlines]).encode()) if any(outlines) else b""

    def forget(self) -> None:
        """Forget all: the history is being read."""
        self._outlines = b""

    def restored_in(self, history: Sequence[Item]) -> list[Item]:
        """Return a history, oldest first, with its newest items in the form in which they came."""
        restored: list[Item] = []
        for outline, listed in zip(reversed(self._lines()), reversed(history), strict=False):
            if outline == _AS_LISTED:
                restored.append(listed)
                continue
            try:
                given = _filled(json.loads(outline), _texts_by_mark(listed))
            except KeyError:
                break
            if not same_item(given, listed):
                break
            restored.append(given)
        return [*history[: len(history) - len(restored)], *reversed(restored)]

    def _lines(self) -> list[str]:
        return zlib.decompress(self._outlines).decode().split("\n")[1:] if self._outlines else []


def _outline(item: Item) -> str:
    """Return an item as JSON, with marks for the texts of its replay form, and without an id it has not."""
    replayed = replay_form(item)
    if item == replayed and isinstance(item.get("content"), str):
        return _AS_LISTED
    given = {key: value for key, value in item.items() if key != "id" or "id" in replayed}
    outline = json.dumps(_marked(given, _texts_by_mark(replayed)), separators=(",", ":"))
    return outline if len(outline) <= _MAX_OUTLINE else _NO_OUTLINE


def _texts_by_mark(item: Item) -> dict[str, str]:
    return {_mark(text): text for text in _texts(item)}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _mark(text: str) -> str:
    return f"#{zlib.crc32(text.encode()):x}"


def _marked(value: Any, texts: Mapping[str, str]) -> Any:
    """Return a JSON value with a mark for each of these texts, and "=" before each other one."""
    if isinstance(value, dict):
        return {key: _marked(part, texts) for key, part in value.items()}
    if isinstance(value, list):
        return [_marked(part, texts) for part in value]
    if isinstance(value, str):
        mark = _mark(value)
        return mark if texts.get(mark) == value else f"={value}"
    return value


def _filled(outline: Any, texts: Mapping[str, str]) -> Any:
    """Return what was marked.

    Raises:
        KeyError: One of its texts is not among these.
    """
    if isinstance(outline, dict):
        return {key: _filled(part, texts) for key, part in outline.items()}
    if isinstance(outline, list):
        return [_filled(part, texts) for part in outline]
    if isinstance(outline, str):
        return outline[1:] if outline.startswith("=") else texts[outline]
    return outline
