"""What OpenAI's public document does not say of requests, or says otherwise than the API.

Each rule has its source: "recorded" is published traffic of the API, "measured" are published measurements of
August 2026, and "package" is the openai package, whose newest version (3.57) is ahead of the document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai_sessions.emulator._errors import JsonObject


PREFIXES = {
    "additional_tools": "at",
    "apply_patch_call": "apc",
    "apply_patch_call_output": "apco",
    "code_interpreter_call": "ci",
    "compaction": "cmp",
    "computer_call": "cu",
    "computer_call_output": "cuo",
    "configuration_update": "cfu",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "file_search_call": "fs",
    "function_call": "fc",
    "function_call_output": "fco",
    "image_generation_call": "ig",
    "local_shell_call": "lsh",
    "local_shell_call_output": "lsho",
    "mcp_approval_request": "mcpr",
    "mcp_approval_response": "mcpr",
    "mcp_call": "mcp",
    "mcp_list_tools": "mcpl",
    "message": "msg",
    "program": "cm",
    "program_output": "progo",
    "reasoning": "rs",
    "shell_call": "sh",
    "shell_call_output": "sho",
    "tool_search_call": "tsc",
    "tool_search_output": "tso",
    "web_search_call": "ws",
}
"""The prefixes of ids: those of real traffic where it has the type, and placeholders elsewhere."""

WRITTEN_BY_APPLICATIONS = (
    "additional_tools",
    "apply_patch_call_output",
    "computer_call_output",
    "custom_tool_call_output",
    "function_call_output",
    "local_shell_call_output",
    "mcp_approval_response",
)
"""Types that the document has in the output of responses, and that only requests have."""

FILLED_IN = {
    "annotations": [],
    "detail": "auto",
    "execution": "server",
    "logprobs": [],
    "status": "completed",
}
"""The values of missing fields; others are null."""

NOT_REQUIRED = {
    "FunctionTool": ("parameters", "strict"),
    "InputImageContent": ("detail",),
    "OutputTextContent": ("annotations", "logprobs"),
}
"""Fields that the document requires, and that recorded requests omit."""

_OBJECT = {"kinds": ["object"]}

_NULLABLE_OBJECT = {"kinds": ["object"], "null": "kept"}

_FLAG = {"kinds": ["boolean"]}

_INTEGER = {"kinds": ["integer"]}

_TEXT = {"kinds": ["string"]}

_NULLABLE_TEXT = {"kinds": ["string"], "null": "kept"}

_PENALTY = {"kinds": ["number"], "minimum": -2, "maximum": 2}

_ASYNC = {"async": {"kinds": ["boolean"], "null": "kept"}}

_LIFETIME = {"ttl": {"kinds": ["string"], "choices": ["30m", "12h"]}}

CHANGED: Mapping[str, Mapping[str, JsonObject]] = {
    "CompactResponseMethodPublicBody": {"image": _OBJECT},  # package
    "CreateResponse": {
        **dict.fromkeys(("access_programs", "background_options", "image"), _OBJECT),  # package
        **dict.fromkeys(("frequency_penalty", "presence_penalty"), _PENALTY),  # recorded in responses
        "max_tool_calls": {"minimum": 1},  # measured
        "model": {"min_length": 1},  # measured
        "prompt_cache_retention": {"choices": ["in-memory"]},  # package, older versions
        "tool_choice": {  # the Agents SDK sends it
            "variants": dict.fromkeys(("web_search", "web_search_2025_08_26"), "WebSearchChoice")
        },
    },
    "CustomToolCall": {"async": _FLAG},  # package
    "CustomToolParam": _ASYNC,  # package
    "FileSearchToolCall.results": {"vector_store_id": _TEXT},  # recorded
    "FunctionTool": _ASYNC,  # package
    "FunctionToolCall": {"async": _FLAG},  # package
    "FunctionToolParam": _ASYNC,  # package
    "ImageGenTool": {  # package
        "complexity": {"kinds": ["string"], "choices": ["low", "medium", "high"]},
        "frame_count": _INTEGER,
        "frame_duration_ms": _INTEGER,
        "output_format": {"choices": ["gif", "svg"]},
        "quality": {"choices": ["xhigh", "max"]},
        "svg": _OBJECT,
    },
    "ImageGenToolCall": {
        **dict.fromkeys(("action", "background", "output_format", "quality"), _NULLABLE_TEXT),  # recorded
        **dict.fromkeys(("revised_prompt", "size"), _NULLABLE_TEXT),  # recorded
        **dict.fromkeys(("error", "svg_usage"), _NULLABLE_OBJECT),  # package
    },
    # The document limits the parts of a function's output, but not the same parts of messages.
    "InputFileContent": {"file_data": {"max_length": 73_400_320}},
    "InputImageContent": {"image_url": {"max_length": 20_971_520}},
    "InputTextContent": {"text": {"max_length": 10_485_760}},
    "MCPToolCall": {"error": {"kinds": ["string"]}},  # package, older versions
    "PromptCacheBreakpointConfig": _LIFETIME,  # package
    "PromptCacheBreakpointParam": _LIFETIME,  # package
    "PromptCacheOptionsParam": {  # package
        "comparison_response_id": _TEXT,
        "prewarm": _FLAG,
        "ttl": {"choices": ["12h"]},
    },
    "WebSearchActionSearch": {"sources": {"variants": {"api": "ApiSource"}}},  # recorded
    "WebSearchToolCall": {"status": {"choices": ["incomplete"]}},  # package
}
"""Fields of shapes: those that the document lacks, and what it lacks of others."""

ADDED_SHAPES: Mapping[str, JsonObject] = {
    "ApiSource": {"required": {"name": _TEXT}, "optional": {}},  # recorded
    "WebSearchChoice": {"required": {}, "optional": {}},  # the Agents SDK sends it
    "ConfigurationUpdate": {  # package
        "required": {},
        "optional": dict.fromkeys(("reasoning", "text"), _NULLABLE_OBJECT),
    },
}
"""Shapes that the document lacks."""

ADDED_ITEMS: Mapping[str, JsonObject] = {
    "configuration_update": {"shape": "ConfigurationUpdate", "needs_id": False},  # package
}
"""Types of items that the document lacks."""


def with_rules(document: JsonObject) -> JsonObject:
    """Return the data of the public document with these rules."""
    shapes: dict[str, JsonObject] = {**ADDED_SHAPES, **document["shapes"]}
    for name in NOT_REQUIRED.keys() & shapes.keys():
        _relax(shapes[name], NOT_REQUIRED[name])
    for name in CHANGED.keys() & shapes.keys():
        for each, change in CHANGED[name].items():
            fields = shapes[name]["required" if each in shapes[name]["required"] else "optional"]
            if each in fields or "kinds" in change:
                fields[each] = _merged(fields.get(each, {}), change)
    for name in _reached(document["requests"].values(), shapes):
        for each, value in _fields(shapes[name]).items():
            if each != "model":
                value["null"] = "absent"  # measured
    return {**document, "items": {**ADDED_ITEMS, **document["items"]}, "shapes": shapes}


def _relax(shape: JsonObject, names: Iterable[str]) -> None:
    shape["optional"] |= {name: shape["required"].pop(name) for name in names}
    shape["defaults"] = [*shape.get("defaults", ()), *(name for name in names if name in FILLED_IN)]


def _merged(value: JsonObject, change: JsonObject) -> JsonObject:
    """Return a field with a change: lists, the variants of an object and of the elements of a list grow."""
    if "variants" in change and "elements" in value:
        return {**value, "elements": _merged(value["elements"], change)}
    lists = {key: list(dict.fromkeys([*value.get(key, ()), *change[key]])) for key in _LISTS & change.keys()}
    variants = {key: value.get(key, {}) | change[key] for key in {"variants"} & change.keys()}
    return value | change | lists | variants


_LISTS = {"choices", "kinds"}


def _reached(names: Iterable[str], shapes: Mapping[str, JsonObject]) -> set[str]:
    """Return the names of these shapes and of those in their fields, except tools."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            fields = _fields(shapes[name])
            waiting += [inside for each in fields if each != "tools" for inside in _shapes_in(fields[each])]
    return found


def _fields(shape: JsonObject) -> JsonObject:
    return {**shape["required"], **shape["optional"]}


def _shapes_in(value: JsonObject) -> Iterable[str]:
    inside = _shapes_in(value["elements"]) if "elements" in value else ()
    return [*value.get("variants", {}).values(), *([value["shape"]] if "shape" in value else ()), *inside]
