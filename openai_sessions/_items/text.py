"""What of an item is text that a person or a model reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from openai_sessions._items.types import Item

_NOT_TEXT = frozenset(
    {"created_by", "encrypted_content", "fingerprint", "id", "model", "phase", "role", "status", "type"}
)
"""Fields of an item that say what it is, and not what it says. So are all whose names end in `_id`."""

_MEDIA = frozenset({"computer_screenshot", "input_audio", "input_image", "output_audio"})
"""Parts that are no text, and are left out with all that they hold."""

_DATA = frozenset({"b64_json", "encrypted_content", "file_data"})
"""Fields that hold data, however deep they are."""


def item_text(item: Item) -> str:
    """Return what a model reads of an item, as one text: what `max_tokens` counts.

    That is the text of a message; the summary of reasoning; of a call its name and arguments, or its action,
    and of its output what it gave. Values that are neither texts nor parts of text are as compact JSON.
    Left out are ids, roles, types and statuses, encrypted content, and pictures, sounds and files.

    Args:
        item: An item, as listed or in replay form.
    """
    return "\n".join(item_texts(item))


def item_texts(item: Item) -> list[str]:
    """Return the texts of an item, each by itself, as `item_text` takes them."""
    fields = {key: value for key, value in item.items() if key not in _NOT_TEXT and not key.endswith("_id")}
    if item.get("type") == "image_generation_call":
        fields.pop("result", None)
    return [text for value in fields.values() for text in _texts(value)]


def message_text(item: Item) -> str:
    """Return the text of a message, its parts on lines of their own."""
    return "\n".join(_texts(item.get("content")))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, dict):
        yield from _texts_of_part(value)
    elif isinstance(value, str):
        if value and not _is_data(value):
            yield value
    elif value is not None:
        yield json.dumps(value)


def _texts_of_part(part: dict[str, Any]) -> Iterator[str]:
    """Yield the text of a part that has a type, and any other value as JSON."""
    if part.get("type") in _MEDIA:
        return
    text = part.get("text", part.get("refusal"))
    if isinstance(text, str) and "type" in part:
        yield from _texts(text)
    elif readable := _without_data(part):
        yield json.dumps(readable, ensure_ascii=False, separators=(",", ":"))


def _without_data(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: part for key, part in value.items() if key not in _DATA and not _is_data(part)}
        return {key: _without_data(part) for key, part in kept.items()}
    if isinstance(value, list):
        return [_without_data(part) for part in value if not _is_data(part)]
    return value


def has_surrogate(text: str) -> bool:
    """Return whether a string contains a lone surrogate, which UTF-8 cannot encode.

    Python puts surrogates into strings that it decodes from bytes with `surrogateescape`.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _is_data(value: object) -> bool:
    return isinstance(value, str) and value.startswith("data:") and ";base64," in value[:100]
