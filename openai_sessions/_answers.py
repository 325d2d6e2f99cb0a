"""What the API answers: JSON, and pages of lists."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import jiter

from openai_sessions._types import Item
from openai_sessions.errors import InvalidResponseError


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list of items.

    Attributes:
        items: The items in the order that was asked for.
        has_more: Whether the server says that more follow.
        last_id: The id to ask the next page after, or None when the server gave none.
    """

    items: tuple[Item, ...]
    has_more: bool
    last_id: str | None


def page_of(operation: str, answer: Item, *, limit: int | None = None) -> Page:
    """Read a list page, tolerating what servers leave out of its envelope."""
    items = answer.get("data")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidResponseError(operation, "has no list of items under 'data'", None)
    has_more = answer.get("has_more")
    ids = [item.get("id") for item in items]
    last_id = (ids[-1] if ids else None) or answer.get("last_id")
    return Page(
        items=tuple(items),
        has_more=len(items) == limit if has_more is None else bool(has_more),
        last_id=last_id if isinstance(last_id, str) else None,
    )


def decoded(content: bytes) -> Any:
    """Decode JSON once, at speed.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return jiter.from_json(content)
    except ValueError:
        return json.loads(content)  # it takes half of a surrogate pair, which an item may hold
