"""What an item is, and what the API demands of each type of item."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

Item: TypeAlias = dict[str, Any]
"""An item as JSON: what is sent, what is listed, and what a reader gets."""

Metadata: TypeAlias = Mapping[str, str]
"""Up to 16 pairs that the API keeps with a conversation."""

ConversationCallback: TypeAlias = Callable[[str], Awaitable[None] | None]
"""Called with the id of a conversation that was created; may be a coroutine function."""

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
"""Every known item type, with the fields without which it cannot be created.

Reasoning needs its id as well, unless it has `encrypted_content`. A type that is not here is unknown:
it passes both ways untouched.
"""

INCLUDE: tuple[str, ...] = (
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "file_search_call.results",
    "web_search_call.action.sources",
    "reasoning.encrypted_content",
)
"""The `include` values without which a listed item lacks what a model needs to be shown again."""


def requires_id(item_type: str) -> bool:
    """Tell whether the API refuses to create an item of this type without its id."""
    return "id" in REQUIRED_ON_CREATE.get(item_type, ())
