"""Histories as a conversation lists them, for tests of turns: by hand, and drawn."""

from __future__ import annotations

import itertools

from hypothesis import strategies as st

from openai_sessions._items.turns import call_keys, output_keys

PAIRS = {
    "apply_patch_call": ("apply_patch_call_output", "call_id", "call_id"),
    "computer_call": ("computer_call_output", "call_id", "call_id"),
    "custom_tool_call": ("custom_tool_call_output", "call_id", "call_id"),
    "function_call": ("function_call_output", "call_id", "call_id"),
    "local_shell_call": ("local_shell_call_output", "call_id", "id"),
    "mcp_approval_request": ("mcp_approval_response", "id", "approval_request_id"),
    "program": ("program_output", "call_id", "call_id"),
    "shell_call": ("shell_call_output", "call_id", "call_id"),
    "tool_search_call": ("tool_search_output", "call_id", "call_id"),
    "hologram_call": ("hologram_call_output", "call_id", "call_id"),
}
"""The types of calls, each with the type of its output and the fields of both that name the call."""

_numbers = itertools.count()


def message(role: str, text: str) -> dict:
    """Return a message as it is listed."""
    content = [{"type": "input_text", "text": text}]
    return {
        "id": f"msg_{next(_numbers)}",
        "type": "message",
        "role": role,
        "status": "completed",
        "content": content,
    }


def user(text: str = "?") -> dict:
    return message("user", text)


def assistant(text: str = "!") -> dict:
    return message("assistant", text)


def call(key: str, call_type: str = "function_call") -> dict:
    """Return a call; its output names it by `key`."""
    _, name, _ = PAIRS[call_type]
    return {"id": f"call_{next(_numbers)}", "type": call_type, "status": "completed", name: key}


def output(key: str, call_type: str = "function_call") -> dict:
    """Return the output of a call."""
    output_type, _, name = PAIRS[call_type]
    return {"id": f"output_{next(_numbers)}", "type": output_type, name: key}


def reasoning(encrypted: str | None = None) -> dict:
    return {
        "id": f"rs_{next(_numbers)}",
        "type": "reasoning",
        "summary": [],
        **({"encrypted_content": encrypted} if encrypted else {}),
    }


def compaction(content: str = "gAAAAA") -> dict:
    return {"id": f"cmp_{next(_numbers)}", "type": "compaction", "encrypted_content": content}


def ids(items: list[dict]) -> list[str]:
    return [item["id"] for item in items]


def torn(items: list[dict], cut: int) -> bool:
    """Return whether a cut separates a call from one of its outputs, by their keys."""
    before = {key for item in items[:cut] for key in call_keys(item)}
    behind: set[str] = set()
    for item in items[cut:]:
        if before.difference(behind).intersection(output_keys(item)):
            return True
        behind.update(call_keys(item))
    return False


def _parts() -> st.SearchStrategy:
    """Draw how to make one item: messages, reasoning, and calls and outputs that have few names."""
    name = st.tuples(st.sampled_from("ab"), st.sampled_from(sorted(PAIRS)))
    return st.one_of(
        st.just((user,)),
        st.just((assistant,)),
        st.sampled_from([(reasoning,), (reasoning, "encrypted")]),
        name.map(lambda given: (call, *given)),
        name.map(lambda given: (output, *given)),
    )


def _made(parts: list[tuple]) -> list[dict]:
    return [make(*given) for make, *given in parts]


compacted = st.lists(_parts() | st.just((compaction,)), max_size=14).map(_made)
"""Draws such histories with compaction items in them."""

interleaved = st.lists(_parts(), max_size=14).map(_made)
"""Draws histories in which items stand in any order: user messages between calls and outputs, and outputs
of calls that are not there.
"""
