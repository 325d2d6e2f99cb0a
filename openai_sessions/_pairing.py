"""Which items of a history belong together: calls and what answers them; pure."""

from __future__ import annotations

from collections.abc import Sequence

from openai_sessions._types import Item


def answered_calls(items: Sequence[Item]) -> dict[int, int | None]:
    """Return, by the position of each answer, the position of the call that it answers.

    Calls and answers are those of functions, custom tools, computers, shells, patches, programs and tool
    searches, requests for an approval, and every unknown type that is named like them. They are matched
    by what the API names them by; where that is null, by their type.

    Args:
        items: Items of one history, oldest first.

    Returns:
        None for an answer whose call is not among the items.
    """
    answered: dict[int, int | None] = {}
    calls: dict[str, int] = {}
    for index, item in enumerate(items):
        if keys := answer_keys(item):
            answered[index] = max((calls[key] for key in keys if key in calls), default=None)
        calls.update(dict.fromkeys(call_keys(item), index))
    return answered


def partners(items: Sequence[Item]) -> list[list[int]]:
    """Return for each item the positions of later items that belong to it.

    They are the answers to a call, and what follows a reasoning item.
    """
    later: list[list[int]] = [[] for _ in items]
    for answer, call in answered_calls(items).items():
        if call is not None:
            later[call].append(answer)
    for index in range(1, len(items)):
        if items[index - 1].get("type") == "reasoning":
            later[index - 1].append(index)
    return later


def call_keys(item: Item) -> list[str]:
    """Return the keys under which an answer may be one to this item; none when it is no call."""
    item_type = str(item.get("type", ""))
    if not (item_type.endswith(("_call", "_request")) or item_type == "program"):
        return []
    return _keys(item, ("call_id", "id"))


def answer_keys(item: Item) -> list[str]:
    """Return the keys of the call that this item answers; none when it is no answer."""
    if not str(item.get("type", "")).endswith(("_output", "_response")):
        return []
    return _keys(item, ("call_id", "approval_request_id", "id"))


def _keys(item: Item, names: tuple[str, ...]) -> list[str]:
    keys = [item[name] for name in names if isinstance(item.get(name), str)]
    is_named = any(isinstance(item.get(name), str) for name in names if name != "id")
    return keys if is_named else [*keys, f" {_kind(item)}"]  # no id begins with a space


def _kind(item: Item) -> str:
    """Return what the type of a call and that of its answer have in common."""
    kind = str(item["type"])
    for end in ("_output", "_response", "_call", "_request"):
        kind = kind.removesuffix(end)
    return kind
