"""The model that the turns of a run talk to, and the texts that its turns consist of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from openai_sessions.emulator import ReplyOutput, ResponseRequest

Part = Literal["question", "call", "output", "answer", "marker"]


def question(turn: str, *, tools: int) -> str:
    """Return what the user says: the model calls so many tools, one after another, and then answers."""
    return f"turn {turn} tools {tools}"


def answer(turn: str) -> str:
    """Return what the model answers."""
    return f"answer {turn}"


def marker(name: str) -> str:
    """Return the text of an item that another process adds."""
    return f"marker {name}"


def reply(request: ResponseRequest) -> ReplyOutput:
    """Reply to a request: the next call, or the answer."""
    texts = [_user_text(item) for item in request.items]
    place = max(place for place, text in enumerate(texts) if text.startswith("turn "))
    _, turn, _, tools = texts[place].split()
    step = sum(item["type"] == "function_call_output" for item in request.items[place:])
    if step < int(tools):
        return {"type": "function_call", "name": "work", "arguments": {"turn": turn, "step": step}}
    return answer(turn)


@dataclass(frozen=True, slots=True)
class TurnItem:
    """What a stored item is: a part of a turn, or a marker.

    Attributes:
        part: The part.
        name: The turn, or the name of the marker.
        step: The number of a call or an output in its turn.
    """

    part: Part
    name: str
    step: int = 0


def parsed(items: list[Mapping[str, Any]]) -> list[TurnItem]:
    """Return what the items of a conversation are, in their order."""
    calls: dict[str, TurnItem] = {}
    found = []
    for item in items:
        if item["type"] == "function_call":
            arguments = json.loads(item["arguments"])
            calls[item["call_id"]] = TurnItem("output", arguments["turn"], arguments["step"])
            found.append(TurnItem("call", arguments["turn"], arguments["step"]))
        elif item["type"] == "function_call_output":
            found.append(calls.get(item["call_id"], TurnItem("output", "?")))
        else:
            words = item["content"][0]["text"].split()
            part: Part = "question" if words[0] == "turn" else words[0]
            found.append(TurnItem(part, words[1]))
    return found


def _user_text(item: Mapping[str, Any]) -> str:
    return str(item["content"][0].get("text", "")) if item.get("role") == "user" else ""
