"""The nulls inside an item that the API refuses: where its schema names fields, never in free-form JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from openai_sessions._items.types import Item


def without_refused_nulls(item: Item) -> Item:
    """Return an item without the nulls inside its fields that the API refuses and that mean an absent field.

    A required field stays: without it, the item is refused too. So do fields that the schema does not know,
    and everything in values whose fields it does not name, such as a JSON Schema.
    """
    kind = str(item.get("type") or "message")
    inside = _ANSWER if kind == "message" and item.get("role") == "assistant" else _ITEMS.get(kind, {})
    cleaned = {key: _cleaned(item[key], inside[key]) for key in inside.keys() & item.keys()}
    return {**item, **cleaned} if cleaned else item


@dataclass(frozen=True, slots=True)
class _Object:
    """The fields of an object.

    Attributes:
        keeps: The fields that may be null, and those that are required.
        inside: The objects in its fields.
    """

    keeps: frozenset[str]
    inside: Mapping[str, _Objects] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Objects:
    """The objects that a field may have: itself, in a list, or in lists of lists.

    Attributes:
        by_type: The objects by their type; None stands for an object without one.
        fields: The names of the fields of all of them. Some servers list each object with the fields of all.
    """

    by_type: Mapping[str | None, _Object]
    fields: frozenset[str]


_Inside: TypeAlias = "Mapping[str, _Objects]"


def _cleaned(value: Any, objects: _Objects) -> Any:
    if isinstance(value, list):
        return [_cleaned(part, objects) for part in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("type")
    known = objects.by_type.get(kind if isinstance(kind, str) else None) or objects.by_type.get(None)
    if known is None or (not known.inside and None not in value.values()):
        return value
    refused = objects.fields - known.keeps
    return {
        key: _cleaned(part, known.inside[key]) if key in known.inside else part
        for key, part in value.items()
        if part is not None or key not in refused
    }


def _objects(fields: str | Mapping[str, str], inside: _Inside | None = None) -> _Objects:
    """Return objects by the fields of each type: `name!` is required, `name?` may be null, `name` neither.

    Args:
        fields: The fields of each type, or of an object that has no type.
        inside: The objects in fields of these names, whatever the type.
    """
    by_type = {None: fields} if isinstance(fields, str) else dict(fields.items())
    names = frozenset(name.rstrip("!?") for named in by_type.values() for name in named.split())
    return _Objects({kind: _object(named, inside or {}) for kind, named in by_type.items()}, names)


def _object(fields: str, inside: _Inside) -> _Object:
    names = fields.split()
    keeps = frozenset(name[:-1] for name in names if name[-1] in "!?")
    known = {name.rstrip("!?") for name in names}
    return _Object(keeps, {name: objects for name, objects in inside.items() if name in known})


_PARTS = {
    "input_text": "text! prompt_cache_breakpoint",
    "input_image": "image_url? file_id? detail prompt_cache_breakpoint",
    "input_file": "file_id? filename file_data file_url detail prompt_cache_breakpoint",
}

_ANNOTATIONS = _objects(
    {
        "file_citation": "file_id! index! filename!",
        "url_citation": "url! start_index! end_index! title!",
        "container_file_citation": "container_id! file_id! start_index! end_index! filename!",
        "file_path": "file_id! index!",
    }
)

_OUTPUT = {"output_text": "text! annotations! logprobs", "refusal": "refusal!"}

_COMPUTER_ACTIONS = _objects(
    {
        "click": "button! x! y! keys?",
        "double_click": "x! y! keys!",
        "drag": "path! keys?",
        "keypress": "keys!",
        "move": "x! y! keys?",
        "screenshot": "",
        "scroll": "x! y! scroll_x! scroll_y! keys?",
        "type": "text!",
        "wait": "",
    }
)

_CALLERS = _objects({"direct": "", "program": "caller_id!"})

_SKILLS = _objects({"skill_reference": "skill_id! version", "inline": "name! description! source!"})

_CONTAINERS = _objects(
    {
        "auto": "file_ids memory_limit? network_policy",
        "container_auto": "file_ids memory_limit? network_policy skills",
        "container_reference": "container_id!",
        "local": "skills",
    },
    {
        "network_policy": _objects({"disabled": "", "allowlist": "allowed_domains! domain_secrets"}),
        "skills": _SKILLS,
    },
)

_TOOL_NAMES = _objects("tool_names read_only")

_TOOLS_BY_TYPE = {
    "apply_patch": "allowed_callers?",
    "code_interpreter": "container! allowed_callers?",
    "computer": "",
    "computer_use_preview": "environment! display_width! display_height!",
    "custom": "name! description format defer_loading allowed_callers? async?",
    "file_search": "vector_store_ids! max_num_results ranking_options filters?",
    "function": "name! description? parameters? output_schema? strict? defer_loading allowed_callers? async?",
    "image_generation": "model quality size output_format output_compression moderation background "
    "input_fidelity? input_image_mask partial_images action",
    "local_shell": "",
    "mcp": "server_label! server_url connector_id tunnel_id authorization server_description headers? "
    "allowed_tools? allowed_callers? require_approval? defer_loading",
    "namespace": "name! description! tools!",
    "programmatic_tool_calling": "",
    "shell": "environment? allowed_callers?",
    "tool_search": "execution description? parameters?",
    **dict.fromkeys(
        ("web_search", "web_search_2025_08_26"),
        "external_web_access filters? user_location? search_context_size",
    ),
    **dict.fromkeys(
        ("web_search_preview", "web_search_preview_2025_03_11"),
        "user_location? search_context_size search_content_types",
    ),
}

_IN_TOOLS = {
    "allowed_tools": _TOOL_NAMES,
    "container": _CONTAINERS,
    "environment": _CONTAINERS,
    "format": _objects({"text": "", "grammar": "syntax! definition!"}),
    "input_image_mask": _objects("image_url file_id"),
    "ranking_options": _objects("ranker score_threshold hybrid_search"),
    "require_approval": _objects("always never", {"always": _TOOL_NAMES, "never": _TOOL_NAMES}),
}

_TOOLS = _objects(_TOOLS_BY_TYPE, {**_IN_TOOLS, "tools": _objects(_TOOLS_BY_TYPE, _IN_TOOLS)})

_ANSWER = {"content": _objects({**_PARTS, **_OUTPUT}, {"annotations": _ANNOTATIONS})}
"""The objects in a message of an assistant."""

_CALLER = {"caller": _CALLERS}

_ITEMS: Mapping[str, _Inside] = {
    "additional_tools": {"tools": _TOOLS},
    "apply_patch_call": {
        **_CALLER,
        "operation": _objects(
            {"create_file": "path! diff!", "update_file": "path! diff!", "delete_file": "path!"}
        ),
    },
    "apply_patch_call_output": _CALLER,
    "code_interpreter_call": {"outputs": _objects({"logs": "logs!", "image": "url!"})},
    "computer_call": {"action": _COMPUTER_ACTIONS, "actions": _COMPUTER_ACTIONS},
    "computer_call_output": {"output": _objects({"computer_screenshot": "image_url file_id"})},
    "custom_tool_call": _CALLER,
    "custom_tool_call_output": {**_CALLER, "output": _objects(_PARTS)},
    "file_search_call": {"results": _objects("file_id text filename attributes? score")},
    "function_call": _CALLER,
    "function_call_output": {**_CALLER, "output": _objects(_PARTS)},
    "mcp_call": {
        "error": _objects(
            {
                "mcp_protocol_error": "code! message!",
                "mcp_tool_execution_error": "content!",
                "http_error": "code! message!",
            }
        )
    },
    "message": {"content": _objects(_PARTS)},
    "shell_call": {**_CALLER, "environment": _CONTAINERS},
    "shell_call_output": {
        **_CALLER,
        "output": _objects(
            "stdout! stderr! outcome!", {"outcome": _objects({"timeout": "", "exit": "exit_code!"})}
        ),
    },
    "tool_search_output": {"tools": _TOOLS},
    "web_search_call": {
        "action": _objects(
            {"search": "query queries sources", "open_page": "url?", "find_in_page": "url! pattern!"}
        )
    },
}
"""The objects in the fields of each type of item."""
