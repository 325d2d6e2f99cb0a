"""The body of a request for a response: its fields, and what is checked of them.

Which fields there are is told by the openai package (3.54); that null stands for an absent field, save in
`model` and `input`, that `max_output_tokens` begins at 16, and the errors of a missing or empty `input`, by
published measurements of the API (August 2026).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openai_sessions.emulator._errors import (
    JsonObject,
    invalid_id,
    missing_parameter,
)
from openai_sessions.emulator._message_schema import FLAG, FREE_ARRAY, FREE_OBJECT, TEXT, TEXTS
from openai_sessions.emulator._responses._errors import nothing_to_answer, unsupported_parameter
from openai_sessions.emulator._shapes import Null, Shape, Value, conform_object, kind_of, wrong_type
from openai_sessions.emulator._validation import check_body, check_include, check_metadata, check_range

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_INTEGER = Value(("integer",))
_NUMBER = Value(("number",))
_OBJECTS = Value(("array",), elements=FREE_OBJECT)
_TIERS = ("auto", "default", "fast", "flex", "priority", "scale", "ultrafast")

_OPTIONAL: Mapping[str, Value] = {
    **dict.fromkeys(("background", "parallel_tool_calls", "store", "stream"), FLAG),
    **dict.fromkeys(("max_output_tokens", "max_tool_calls", "top_logprobs"), _INTEGER),
    **dict.fromkeys(("frequency_penalty", "presence_penalty", "temperature", "top_p"), _NUMBER),
    **dict.fromkeys(("previous_response_id", "prompt_cache_key", "safety_identifier", "user"), TEXT),
    **dict.fromkeys(
        ("access_programs", "background_options", "image", "metadata", "moderation"), FREE_OBJECT
    ),
    **dict.fromkeys(("prompt", "prompt_cache_options", "reasoning", "stream_options", "text"), FREE_OBJECT),
    "context_management": FREE_ARRAY,
    "conversation": Value(("string", "object"), shape=Shape(required={"id": TEXT})),
    "include": TEXTS,
    "instructions": TEXT,
    "prompt_cache_retention": Value(("string",), choices=("in_memory", "in-memory", "24h")),
    "service_tier": Value(("string",), choices=_TIERS),
    "tool_choice": Value(("string", "object"), choices=("none", "auto", "required")),
    "tools": _OBJECTS,
    "truncation": Value(("string",), choices=("auto", "disabled")),
}
_REQUEST = Shape(
    required={"model": Value(("string",), may_be_empty=False)},
    optional={name: value.nullable(null=Null.ABSENT) for name, value in _OPTIONAL.items()},
)
_KNOWN = ("input", *_REQUEST.required, *_REQUEST.optional)
_BOUNDS: Mapping[str, tuple[float, float]] = {
    "frequency_penalty": (-2, 2),
    "max_output_tokens": (16, float("inf")),
    "max_tool_calls": (1, float("inf")),
    "presence_penalty": (-2, 2),
    "temperature": (0, 2),
    "top_logprobs": (0, 20),
    "top_p": (0, 1),
}
_UNSUPPORTED = ("background", "moderation", "prompt")
"""What the emulator cannot do, and says so rather than do something else."""


def check_request(body: Any) -> JsonObject:
    """Return the body without nulls, its `input` as a list of items and its `conversation` as an id.

    Raises:
        ApiError: 400 for an unknown field, a missing or an ill-typed one, or one that asks for what the
            emulator does not do.
    """
    body = check_body(body, known=_KNOWN)
    if "model" in body and body["model"] is None:
        raise wrong_type(None, kinds=("string",), path="model")
    fields = {name: value for name, value in body.items() if name != "input"}
    request = conform_object(fields, to=_REQUEST, path="")
    for name in _UNSUPPORTED:
        if request.get(name):
            raise unsupported_parameter(name)
    _check_bounds(request)
    _check_tools(request.get("tools", ()))
    check_include({"include": request.get("include", [])})
    check_metadata(request.get("metadata"))
    if "conversation" in request:
        request["conversation"] = _checked_conversation(request["conversation"])
    return {**request, "input": _checked_input(body)}


def wants_stream(body: Any) -> bool:
    """Tell whether the body of a request asks for server-sent events."""
    return isinstance(body, dict) and body.get("stream") is True


def conversation_of(body: Any) -> str | None:
    """Return the id of the conversation that the unchecked body of a request names, if it names one."""
    named = body.get("conversation") if isinstance(body, dict) else None
    conversation_id = named.get("id") if isinstance(named, dict) else named
    return conversation_id if isinstance(conversation_id, str) else None


def _checked_conversation(named: str | JsonObject) -> str:
    conversation_id = str(named["id"] if isinstance(named, dict) else named)
    if not conversation_id.startswith("conv"):
        raise invalid_id("conversation", value=conversation_id, expectation="begins with 'conv'")
    return conversation_id


def _checked_input(body: JsonObject) -> list[Any]:
    if "input" not in body:
        raise missing_parameter("input")
    given = body["input"]
    if not isinstance(given, str | list):
        raise wrong_type(given, kinds=("string", "array"), path="input")
    if not given:
        if body.get("conversation") is None and body.get("previous_response_id") is None:
            raise nothing_to_answer()
        return []
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def _check_bounds(request: JsonObject) -> None:
    for name, (minimum, maximum) in _BOUNDS.items():
        if (value := request.get(name)) is not None:
            kind = "integer" if _OPTIONAL[name] is _INTEGER else "decimal"
            check_range(name, value, minimum=minimum, maximum=maximum, kind=kind)


def _check_tools(tools: Sequence[JsonObject]) -> None:
    for index, tool in enumerate(tools):
        path = f"tools[{index}]"
        _check_text(tool, "type", path=path)
        if tool["type"] in {"function", "custom"}:
            _check_text(tool, "name", path=path)


def _check_text(value: JsonObject, name: str, *, path: str) -> None:
    if name not in value:
        raise missing_parameter(f"{path}.{name}")
    if kind_of(value[name]) != "string":
        raise wrong_type(value[name], kinds=("string",), path=f"{path}.{name}")
