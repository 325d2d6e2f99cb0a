"""The response object of the API, in the order of its fields there.

The fields and their defaults are those of recorded answers; `cache_write_tokens` is in the openai package and
not yet in them. Numbers of tokens are made up: they are numbers of words.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openai_sessions.emulator._errors import JsonObject
    from openai_sessions.emulator._items import NewId
    from openai_sessions.emulator._responses._replies import Answer

_TIERS = {"auto": "default", "fast": "priority"}
"""What the service makes of a requested tier, where it is another one."""

_FUNCTION_DEFAULTS = {"description": None, "parameters": None, "strict": True}
_COUNTED = frozenset({"text", "refusal", "arguments", "input", "output", "instructions"})
_NO_IMAGES = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "total_tokens": 0,
}
_FAILURE = {
    "code": "server_error",
    "message": "The model failed, as the test that scripted the reply wants it.",
}


def response_ids(second: int) -> NewId:
    """Return a maker of ids for one response and its items, which have one beginning in common.

    Recorded ids are 50 hex digits: 16 that belong together, two zeros, the second, and 24 others.
    """
    family = secrets.token_hex(8)
    return lambda prefix: f"{prefix}_{family}00{second:08x}{secrets.token_hex(12)}"


def response_body(
    request: JsonObject, *, response_id: str, second: int, seen: Iterable[JsonObject], answer: Answer
) -> JsonObject:
    """Return the response object.

    Args:
        request: The checked body of the request.
        response_id: The id of the response.
        second: When it was created and ended, in seconds since the epoch.
        seen: The items that a model would have been shown.
        answer: What it answered.
    """
    done, failed = answer.status == "completed", answer.status == "failed"
    conversation = {"conversation": {"id": request["conversation"]}} if "conversation" in request else {}
    return {
        "id": response_id,
        "object": "response",
        "created_at": second,
        "status": answer.status,
        "background": False,
        "billing": {"payer": "developer"},
        "completed_at": second if done else None,
        **conversation,
        "error": _FAILURE if failed else None,
        "frequency_penalty": request.get("frequency_penalty", 0.0),
        "incomplete_details": {"reason": "max_output_tokens"} if answer.status == "incomplete" else None,
        **_echoes(request),
        "output": list(answer.output),
        **_settings(request),
        "usage": None if failed else _usage(request, seen=seen, output=answer.output),
        "user": request.get("user"),
        "metadata": request.get("metadata", {}),
    }


def begun(body: JsonObject) -> JsonObject:
    """Return the response object as it was before anything was put out."""
    return {
        **body,
        "status": "in_progress",
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "output": [],
        "service_tier": "auto" if body["service_tier"] == "default" else body["service_tier"],
        "usage": None,
    }


def _echoes(request: JsonObject) -> JsonObject:
    return {
        "instructions": request.get("instructions"),
        "max_output_tokens": request.get("max_output_tokens"),
        "max_tool_calls": request.get("max_tool_calls"),
        "model": request["model"],
        "moderation": None,
    }


def _settings(request: JsonObject) -> JsonObject:
    tier = request.get("service_tier", "auto")
    options = (
        {"prompt_cache_options": request["prompt_cache_options"]} if "prompt_cache_options" in request else {}
    )
    return {
        "parallel_tool_calls": request.get("parallel_tool_calls", True),
        "presence_penalty": request.get("presence_penalty", 0.0),
        "previous_response_id": request.get("previous_response_id"),
        "prompt_cache_key": request.get("prompt_cache_key"),
        **options,
        "prompt_cache_retention": request.get("prompt_cache_retention", "in_memory"),
        "reasoning": {"context": None, "effort": None, "summary": None, **request.get("reasoning", {})},
        "safety_identifier": request.get("safety_identifier"),
        "service_tier": _TIERS.get(tier, tier),
        "store": request.get("store", True),
        "temperature": request.get("temperature", 1.0),
        "text": {"format": {"type": "text"}, "verbosity": "medium", **request.get("text", {})},
        "tool_choice": request.get("tool_choice", "auto"),
        "tool_usage": {"image_gen": _NO_IMAGES, "web_search": {"num_requests": 0}},
        "tools": [_tool(tool) for tool in request.get("tools", ())],
        "top_logprobs": request.get("top_logprobs", 0),
        "top_p": request.get("top_p", 1.0),
        "truncation": request.get("truncation", "disabled"),
    }


def _tool(tool: JsonObject) -> JsonObject:
    return {"type": "function", **_FUNCTION_DEFAULTS, **tool} if tool["type"] == "function" else tool


def _usage(request: JsonObject, *, seen: Iterable[JsonObject], output: Iterable[JsonObject]) -> JsonObject:
    read = _words({"instructions": request.get("instructions")}) + _words(list(seen))
    written = _words(list(output))
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }


def _words(value: Any, name: str = "") -> int:
    if isinstance(value, str):
        return len(value.split()) if name in _COUNTED else 0
    if isinstance(value, list):
        return sum(_words(each, name) for each in value)
    if isinstance(value, dict):
        return sum(_words(each, key) for key, each in value.items())
    return 0
