"""The settings that a response object shows: those of its request, completed with the API's defaults.

Sources: the defaults are recorded. Where recordings of several months differ, the newest counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from openai_sessions.emulator._errors import JsonObject

PROMPT_MODEL = "emulated"
"""The model of a response whose request names a prompt and no model: the emulator stores no prompts."""


def shown_settings(
    request: JsonObject, *, seen: Iterable[JsonObject], output: Iterable[JsonObject]
) -> JsonObject:
    """Return the fields of a response object that repeat its request, and how it used the API's tools.

    Args:
        request: The checked body of the request.
        seen: The items that a model would be shown; their tools are shown too.
        output: The items that it wrote.
    """
    tier = request.get("service_tier", "auto")
    cache = {name: request[name] for name in ("prompt_cache_options",) if name in request}
    prompt = {"prompt": _PROMPT_DEFAULTS | request["prompt"]} if "prompt" in request else {}
    return {
        "parallel_tool_calls": request.get("parallel_tool_calls", True),
        "presence_penalty": request.get("presence_penalty", 0.0),
        "previous_response_id": request.get("previous_response_id"),
        **prompt,
        "prompt_cache_key": request.get("prompt_cache_key"),
        **cache,
        "prompt_cache_retention": request.get("prompt_cache_retention", "in_memory"),
        "reasoning": _REASONING_DEFAULTS | request.get("reasoning", {}),
        "safety_identifier": request.get("safety_identifier"),
        "service_tier": _USED_TIERS.get(tier, tier),
        "store": request.get("store", True),
        "temperature": request.get("temperature", 1.0),
        "text": _shown_text(request.get("text", {})),
        "tool_choice": request.get("tool_choice", "auto"),
        "tool_usage": tool_usage(output),
        "tools": _shown_tools(request.get("tools", ()), list(seen)),
        "top_logprobs": request.get("top_logprobs", 0),
        "top_p": request.get("top_p", 1.0),
        "truncation": request.get("truncation", "disabled"),
    }


def tool_usage(output: Iterable[JsonObject]) -> JsonObject:
    """Return the `tool_usage` of a response: the number of its web searches. Images cost nothing."""
    searches = [item for item in output if item["type"] == "web_search_call"]
    requests = sum(item["action"]["type"] == "search" for item in searches)
    return {"image_gen": _NO_IMAGES, "web_search": {"num_requests": requests}}


_PROMPT_DEFAULTS = {"variables": {}, "version": "1"}

_REASONING_DEFAULTS = {"context": None, "effort": None, "mode": "standard", "summary": None}

_USED_TIERS = {"auto": "default", "fast": "priority"}
"""The service tiers that the API reports under another name."""

_NO_IMAGES = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "total_tokens": 0,
}


def _shown_text(text: JsonObject) -> JsonObject:
    given = text.get("format", {"type": "text"})
    defaults = {"description": None, "strict": True} if given.get("type") == "json_schema" else {}
    return {"verbosity": "medium", **text, "format": defaults | _without_nulls(given)}


def _without_nulls(value: JsonObject) -> JsonObject:
    """Return an object without its nulls, which count as missing fields."""
    return {name: each for name, each in value.items() if each is not None}


def _shown_tools(tools: Iterable[JsonObject], seen: Iterable[JsonObject]) -> list[JsonObject]:
    """Return the tools of a request and those that its items add.

    A function that a tool search has loaded is in a namespace of its own.
    """
    loaded = {tool["name"]: tool for tool in _tools_in(seen, "tool_search_output") if "name" in tool}
    others = [tool for tool in tools if tool.get("name") not in loaded]
    return [
        *(shown_tool(tool) for tool in (*others, *_tools_in(seen, "additional_tools"))),
        *(_namespace_of(tool) for tool in loaded.values()),
    ]


def _tools_in(items: Iterable[JsonObject], item_type: str) -> list[JsonObject]:
    return [tool for item in items if item["type"] == item_type for tool in item["tools"]]


def _namespace_of(tool: JsonObject) -> JsonObject:
    if tool["type"] == "namespace":
        return shown_tool(tool)
    ready = {name: value for name, value in tool.items() if name != "defer_loading"}
    return {
        "type": "namespace",
        "description": tool.get("description"),
        "name": tool["name"],
        "tools": [shown_tool(ready)],
    }


def shown_tool(tool: JsonObject) -> JsonObject:
    """Return a checked tool with the defaults of its type, without its secrets."""
    given = _without_nulls(tool)
    fields = _FILLED.get(tool["type"], {})
    filled = {name: fill(given[name]) for name, fill in fields.items() if name in given}
    return {**_TOOL_DEFAULTS.get(tool["type"], {}), **given, **filled}


_US = {"type": "approximate", "city": None, "country": "US", "region": None, "timezone": None}

_SEARCH = {"search_context_size": "medium", "user_location": _US}

_WEB_SEARCH = {
    "filters": None,
    "return_token_budget": "default",
    "search_content_types": ["text"],
    **_SEARCH,
}

_RANKING = {"ranker": "auto", "score_threshold": 0.0}

_TOOL_DEFAULTS: Mapping[str, JsonObject] = {
    "function": {"description": None, "output_schema": None, "parameters": None, "strict": True},
    "tool_search": {"description": None, "parameters": None},
    "file_search": {"filters": None, "max_num_results": 20, "ranking_options": _RANKING},
    "web_search": _WEB_SEARCH,
    "web_search_2025_08_26": _WEB_SEARCH,
    "web_search_preview": _SEARCH,
    "web_search_preview_2025_03_11": _SEARCH,
    "image_generation": {
        "background": "auto",
        "model": "gpt-image-1",
        "moderation": "auto",
        "n": 1,
        "output_compression": 100,
        "output_format": "png",
        "quality": "auto",
        "size": "auto",
    },
    "mcp": {
        "allowed_tools": None,
        "headers": None,
        "require_approval": "always",
        "server_description": None,
        "server_url": None,
    },
}


def _named_tools(given: Any) -> Any:
    return {"read_only": None, "tool_names": None, **given} if isinstance(given, dict) else given


def _approval(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    return {name: _named_tools(given.get(name)) for name in ("always", "never")}


_REDACTED = "<redacted>"

_Fill = Callable[[Any], Any]

_LOCATED: Mapping[str, _Fill] = {"user_location": lambda given: {**_US, "country": None, **given}}

_FILLED: Mapping[str, Mapping[str, _Fill]] = {
    "file_search": {"ranking_options": lambda given: _RANKING | given},
    "mcp": {
        "allowed_tools": _named_tools,
        "authorization": lambda _: _REDACTED,
        "headers": lambda headers: dict.fromkeys(headers, _REDACTED),
        "require_approval": _approval,
    },
    "namespace": {"tools": lambda tools: [shown_tool(tool) for tool in tools]},
    "web_search": _LOCATED,
    "web_search_2025_08_26": _LOCATED,
    "web_search_preview": _LOCATED,
    "web_search_preview_2025_03_11": _LOCATED,
}
"""By the type of a tool, how the values of some of its fields are shown."""


def shown_moderation(request: JsonObject) -> JsonObject | None:
    """Return the results of moderating input and output: nothing is ever flagged; None if not requested."""
    if not request.get("moderation"):
        return None
    result = {
        "categories": dict.fromkeys(_CATEGORIES, False),
        "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
        "category_scores": dict.fromkeys(_CATEGORIES, 0.0),
        "flagged": False,
        "model": request["moderation"]["model"],
        "type": "moderation_result",
    }
    return {"input": result, "output": result}


_CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
