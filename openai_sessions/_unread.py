"""What a session was given since its history was last read, without the texts that a listing tells again.

The Agents SDK compacts a history only if it recognises in it, to the letter, what a model was last shown:
what was read before the run in replay form, and what the run has added since as the run wrote it. What
the two forms differ in, such as a status or empty logprobs, no listing tells, and is kept here: the
outline of each item, which has a mark in the place of each text. The texts are taken from the listing.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from openai_sessions._items import replay_form
from openai_sessions._plain_json import plain_json
from openai_sessions._same_item import same_item
from openai_sessions._types import Item

_MAX_ITEMS = 250
"""More than a run writes; a session that only writes must not grow without end."""

_MAX_OUTLINE = 4096
"""Characters; a longer one, of an item with much that no listing tells, is not kept."""

_AS_LISTED = ""
"""Stands for the outline of a plain message, which a listing gives back as it was given."""

_NO_OUTLINE = '"#"'
"""A mark that no text has."""


class UnreadItems:
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
