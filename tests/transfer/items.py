"""Items to copy."""

from __future__ import annotations

from openai_sessions._items.forms import to_replay
from tests.fixtures.samples import SAMPLE_NAMES, sample

_LISTED_ONLY = "message_listed_only_parts"
"""A sample with parts that no request may contain."""


def users(number, name="item"):
    """Return numbered messages."""
    return [{"role": "user", "content": f"{name} {index}"} for index in range(number)]


def turn(number):
    """Return a turn with a call, as a run of an agent stores it."""
    call_id = f"call_{number}"
    return [
        {"role": "user", "content": f"question {number}"},
        {"type": "function_call", "call_id": call_id, "name": "look_up", "arguments": f'{{"n": {number}}}'},
        {"type": "function_call_output", "call_id": call_id, "output": f"found {number}"},
        {"role": "assistant", "content": f"answer {number}"},
    ]


def turns(number):
    return [item for index in range(number) for item in turn(index)]


def every_kind():
    """Return the items of all samples in replay form; reasoning with the item that follows it.

    The compaction item is the first: what a model needs is then everything.
    """
    items = []
    for name in sorted(SAMPLE_NAMES, key=lambda name: name != "compaction"):
        if name != _LISTED_ONLY:
            items += to_replay([sample(name), *answer_to(name)])
    return items


def answer_to(name):
    return [sample("message_assistant")] if sample(name)["type"] == "reasoning" else []
