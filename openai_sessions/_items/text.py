"""The text of an item: what is counted as tokens and searched; and what of it is safe to show."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from openai_sessions._items.types import Item


def item_text(item: Item) -> str:
    """Return the text that a model reads of an item: what `max_tokens` counts.

    It is the text of a message, the summary of reasoning, the name and the arguments or action of a call, and
    the output of a call, one line per value; a value that is not text is compact JSON. Ids, roles, types,
    statuses, encrypted content, images, audio and files are left out.

    Args:
        item: An item, as listed or in replay form.
    """
    return "\n".join(item_texts(item))


def item_texts(item: Item) -> list[str]:
    """Return the values that `item_text` joins."""
    fields = {key: value for key, value in item.items() if key not in _NOT_TEXT and not key.endswith("_id")}
    if item.get("type") == "image_generation_call":
        fields.pop("result", None)
    return [text for value in fields.values() for text in _texts(value)]


def message_text(item: Item) -> str:
    """Return the text of a message, one line per part."""
    return "\n".join(_texts(item.get("content")))


_NOT_TEXT = frozenset(
    {"created_by", "encrypted_content", "fingerprint", "id", "model", "phase", "role", "status", "type"}
)
"""Fields that describe an item, besides those whose names end in `_id`."""

_MEDIA = frozenset({"computer_screenshot", "input_audio", "input_image", "output_audio"})
"""Types of parts that are left out."""

_DATA = frozenset({"b64_json", "encrypted_content", "file_data"})
"""Fields with binary data, which are left out at any depth."""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, dict):
        yield from _texts_of_part(value)
    elif isinstance(value, str):
        if value and not _is_data_url(value):
            yield value
    elif value is not None:
        yield json.dumps(value)


def _texts_of_part(part: dict[str, Any]) -> Iterator[str]:
    """Yield the text of a content part, or the JSON of another dict."""
    if part.get("type") in _MEDIA:
        return
    text = part.get("text", part.get("refusal"))
    if isinstance(text, str) and "type" in part:
        yield from _texts(text)
    elif readable := _without_data(part):
        yield json.dumps(readable, ensure_ascii=False, separators=(",", ":"))


def _without_data(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: part for key, part in value.items() if key not in _DATA and not _is_data_url(part)}
        return {key: _without_data(part) for key, part in kept.items()}
    if isinstance(value, list):
        return [_without_data(part) for part in value if not _is_data_url(part)]
    return value


def _is_data_url(value: object) -> bool:
    return isinstance(value, str) and value.startswith("data:") and ";base64," in value[:100]


_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
"""The C0 and C1 controls, except tab and line feed: the terminal acts on them."""

_BIDI_CONTROLS = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""They change the direction of writing, so that a line reads differently from what it contains."""

_INVISIBLE = r"\u2028\u2029\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
"""Line separators, marks, and tag characters, which only a model reads."""

_SURROGATES = r"\ud800-\udfff"
"""Halves of surrogate pairs: JSON can contain them, but no output can encode them."""

UNSAFE = re.compile(f"[{_CONTROLS}{_BIDI_CONTROLS}{_INVISIBLE}{_SURROGATES}]")
"""Matches a character that must not reach a terminal as it is."""


def safe_json(text: str) -> str:
    """Return the text of a JSON value with escapes for unsafe characters, which occur only in its strings."""
    return UNSAFE.sub(lambda match: json.dumps(match[0])[1:-1], text)


def has_surrogate(text: str) -> bool:
    """Return whether a string contains a lone surrogate, which UTF-8 cannot encode.

    Python has them in strings that it decoded with `surrogateescape`, such as arguments and environment
    variables.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
