"""The types of this library's vocabulary, and what the API requires of each type of item."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Protocol, TypeAlias, runtime_checkable

Item: TypeAlias = dict[str, Any]
"""An item as JSON, whether it is sent, listed or returned to a reader."""


@runtime_checkable
class RunItem(Protocol):
    """An item that a run of the Agents SDK has generated, as in `result.new_items`."""

    def to_input_item(self) -> Any:
        """Return the item as a model request accepts it."""


Metadata: TypeAlias = Mapping[str, str]
"""The metadata of a conversation."""

ConversationCallback: TypeAlias = Callable[[str], Awaitable[None] | None]
"""A function, or coroutine function, that is called with the id of a conversation."""

CountTokens: TypeAlias = Callable[[str], int]
"""A function that returns the number of tokens in a text."""

SCHEMA: Mapping[str, Any] = json.loads(files("openai_sessions").joinpath("schema.json").read_text("utf-8"))
"""OpenAI's public schema, as `tools/schema.py` writes it."""


def _required_on_create() -> dict[str, frozenset[str]]:
    shapes = {name: item["shape"] for name, item in SCHEMA["items"].items()}
    ids = {name for name, item in SCHEMA["items"].items() if item["needs_id"] and name != "reasoning"}
    required = {
        name: frozenset({*SCHEMA["shapes"][shape]["required"], *(["id"] if name in ids else ())})
        for name, shape in {**shapes, "message": SCHEMA["messages"]["user"]}.items()
    }
    return {**required, "configuration_update": frozenset()}  # which the openai package has


REQUIRED_ON_CREATE = _required_on_create()
"""The known item types, each with the fields that the API requires to create an item of the type.

Reasoning also requires its id, unless it has `encrypted_content`. Items of any other type pass both ways
unchanged.
"""

INCLUDE: tuple[str, ...] = (
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "file_search_call.results",
    "web_search_call.action.sources",
    "reasoning.encrypted_content",
)
"""The `include` values that every list request sends: without them, items lack what a model must be sent."""


def requires_id(item_type: str) -> bool:
    """Return whether the API creates items of this type only with their id."""
    return "id" in REQUIRED_ON_CREATE.get(item_type, ())


def is_user_message(item: Item) -> bool:
    """Return whether an item, in any form, is a message of the user."""
    return item.get("type") in (None, "message") and item.get("role") == "user"


def is_compaction(item: Item) -> bool:
    """Return whether an item stands for the items before it, as OpenAI's compaction gives it."""
    return item.get("type") == "compaction"


def is_bare_reasoning(item: Item) -> bool:
    """Return whether an item is reasoning without encrypted content, which the API knows by its id alone."""
    return item.get("type") == "reasoning" and not item.get("encrypted_content")


def is_unknown_reasoning(item: Item) -> bool:
    """Return whether an item is reasoning with neither an id nor encrypted content, which the API refuses."""
    return is_bare_reasoning(item) and not item.get("id")


def newest_id(items: Sequence[Item]) -> str | None:
    """Return the id of the newest of listed items, oldest first; None if there are none."""
    return str(items[-1]["id"]) if items else None
