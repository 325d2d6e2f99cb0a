"""The types of this library's vocabulary, and what the API requires of each type of item."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
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

REQUIRED_ON_CREATE: dict[str, frozenset[str]] = {
    "additional_tools": frozenset({"role", "tools"}),
    "apply_patch_call": frozenset({"call_id", "status", "operation"}),
    "apply_patch_call_output": frozenset({"call_id", "status"}),
    "code_interpreter_call": frozenset({"id", "status", "container_id", "code", "outputs"}),
    "compaction": frozenset({"encrypted_content"}),
    "compaction_trigger": frozenset(),
    "computer_call": frozenset({"id", "call_id", "pending_safety_checks", "status"}),
    "computer_call_output": frozenset({"call_id", "output"}),
    "configuration_update": frozenset(),
    "custom_tool_call": frozenset({"call_id", "name", "input"}),
    "custom_tool_call_output": frozenset({"call_id", "output"}),
    "file_search_call": frozenset({"id", "status", "queries"}),
    "function_call": frozenset({"call_id", "name", "arguments"}),
    "function_call_output": frozenset({"output"}),
    "image_generation_call": frozenset({"id", "status", "result"}),
    "item_reference": frozenset({"id"}),
    "local_shell_call": frozenset({"id", "call_id", "action", "status"}),
    "local_shell_call_output": frozenset({"id", "output"}),
    "mcp_approval_request": frozenset({"id", "server_label", "name", "arguments"}),
    "mcp_approval_response": frozenset({"approval_request_id", "approve"}),
    "mcp_call": frozenset({"id", "server_label", "name", "arguments"}),
    "mcp_list_tools": frozenset({"id", "server_label", "tools"}),
    "message": frozenset({"role", "content"}),
    "program": frozenset({"id", "call_id", "code", "fingerprint"}),
    "program_output": frozenset({"id", "call_id", "result", "status"}),
    "reasoning": frozenset({"summary"}),
    "shell_call": frozenset({"call_id", "action"}),
    "shell_call_output": frozenset({"call_id", "output"}),
    "tool_search_call": frozenset({"arguments"}),
    "tool_search_output": frozenset({"tools"}),
    "web_search_call": frozenset({"id", "status", "action"}),
}
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
