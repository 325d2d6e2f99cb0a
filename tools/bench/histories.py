"""Histories such as an agent with a tool writes them, with a number in each item to know it by."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

BATCH = 20
"""How many items one request may add."""

_SAID = "The bridge was opened in 1937 and carries six lanes of traffic and a sidewalk across the strait. "


def items(number: int) -> list[dict[str, Any]]:
    """Return a history of so many items: a question, a call and its output, an answer, and again."""
    kinds = itertools.cycle((_question, _call, _output, _answer))
    return [kind(index) for index, kind in zip(range(number), kinds, strict=False)]


def batches(number: int) -> list[list[dict[str, Any]]]:
    """Return that history in pieces that one request may add each."""
    history = items(number)
    return [history[start : start + BATCH] for start in range(0, number, BATCH)]


def numbers(read: Iterable[Mapping[str, Any]]) -> list[int]:
    """Return the numbers of items, whatever form they were read in."""
    return [int(re.findall(r"item (\d+)", json.dumps(item))[0]) for item in read]


def _question(index: int) -> dict[str, Any]:
    return {"role": "user", "content": f"Question, item {index}: {_SAID}Is there more to say of it?"}


def _call(index: int) -> dict[str, Any]:
    arguments = json.dumps({"query": f"item {index}", "language": "en", "results": 3})
    return {"type": "function_call", "call_id": f"call_{index}", "name": "look_up", "arguments": arguments}


def _output(index: int) -> dict[str, Any]:
    output = f"Found, item {index}: {_SAID}"
    return {"type": "function_call_output", "call_id": f"call_{index - 1}", "output": output}


def _answer(index: int) -> dict[str, Any]:
    part = {"type": "output_text", "text": f"Answer, item {index}: {_SAID * 2}", "annotations": []}
    return {"type": "message", "role": "assistant", "content": [part]}
