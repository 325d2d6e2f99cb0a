"""What the API's own tools do when a request demands one: a call that found nothing and changed nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from openai_sessions.emulator._errors import JsonObject


def hosted_call(tool_type: object, *, query: str) -> JsonObject | None:
    """Return the call of a hosted tool as a reply has it; None for a tool that needs more facts.

    Args:
        tool_type: The type in `tool_choice`.
        query: What the user asked.
    """
    call = _CALLS.get(tool_type) if isinstance(tool_type, str) else None
    return None if call is None else call(query)


def _web_search(query: str) -> JsonObject:
    return {"type": "web_search_call", "action": {"type": "search", "queries": [query], "query": query}}


def _file_search(query: str) -> JsonObject:
    return {"type": "file_search_call", "queries": [query], "results": []}


def _code_interpreter(_: str) -> JsonObject:
    return {"type": "code_interpreter_call", "code": "pass"}


def _image_generation(query: str) -> JsonObject:
    return {
        "type": "image_generation_call",
        "background": "opaque",
        "output_format": "png",
        "quality": "low",
        "result": _PIXEL,
        "revised_prompt": query,
        "size": "1024x1024",
    }


_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
"""A PNG of one pixel in Base64."""

_CALLS: Mapping[str, Callable[[str], JsonObject]] = {
    "code_interpreter": _code_interpreter,
    "file_search": _file_search,
    "image_generation": _image_generation,
    "web_search": _web_search,
    "web_search_2025_08_26": _web_search,
    "web_search_preview": _web_search,
    "web_search_preview_2025_03_11": _web_search,
}
