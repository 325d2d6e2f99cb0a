"""The items that the checks store."""

from __future__ import annotations

from typing import Any


def message(text: str) -> dict[str, Any]:
    """Return a message of the user."""
    return {"role": "user", "content": text}


def messages(texts: list[str]) -> list[Any]:
    """Return a message of the user for each text."""
    return [message(text) for text in texts]


def numbered(number: int, prefix: str = "message") -> list[str]:
    """Return so many texts, no two alike."""
    return [f"{prefix} {index}" for index in range(number)]


def call(call_id: str) -> dict[str, Any]:
    """Return a call of a function."""
    arguments = '{"city": "Paris", "unit": null}'
    return {"type": "function_call", "call_id": call_id, "name": "get_weather", "arguments": arguments}


def output(call_id: str) -> dict[str, Any]:
    """Return what a called function gave."""
    return {"type": "function_call_output", "call_id": call_id, "output": '{"celsius": 21}'}


def answer(text: str) -> dict[str, Any]:
    """Return a message of the assistant as a model gives it."""
    return {
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }


def turn() -> list[Any]:
    """Return a question, a call of a function, its output and the answer."""
    return [message("Weather?"), call("call_1"), output("call_1"), answer("Warm.")]
