"""What is wrong with a stored history, what would repair it, and what cannot be deleted alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from openai_sessions._items.forms import sent_form
from openai_sessions._items.turns import (
    calls_by_output,
    is_of_search_by_the_api,
    match_calls,
    turn_starts,
)
from openai_sessions._items.types import Item, is_bare_reasoning

NOT_COMPLETED = "The call was not completed: the run ended before its output was stored."
"""The output that closes a call."""

NOT_ANSWERED = "The request was not answered: the run ended before its answer was stored."
"""The reason of the refusal that closes a request for an approval."""

Problem: TypeAlias = Literal[
    "call without output",
    "output without call",
    "second output",
    "reasoning without result",
    "approval not answered",
]

EXPLANATIONS: dict[Problem, str] = {
    "call without output": "has no output",
    "output without call": "follows no call of its type with its call_id",
    "second output": "is another output of a call that has one",
    "reasoning without result": "led to nothing that is stored",
    "approval not answered": "was not answered",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One item that makes the API refuse the next response, or that a model cannot understand.

    Attributes:
        problem: What is wrong with it.
        item_id: Its id.
        item_type: Its type, such as "function_call".
        call_id: The id that names the call, or None.
        name: The name of the tool, or None.
        remedy: What `repair()` does: "close" appends an output, or a refusal, that says that the call was not
            completed; "remove" deletes the item.
    """

    problem: Problem
    item_id: str
    item_type: str
    call_id: str | None
    name: str | None
    remedy: Literal["close", "remove"]

    def __str__(self) -> str:
        named = ", ".join(filter(None, (self.name, self.call_id)))
        return f"{self.item_type} {self.item_id}{f' ({named})' if named else ''} {EXPLANATIONS[self.problem]}"


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """What a repair writes and deletes.

    Attributes:
        findings: The items that are closed or removed, oldest first.
        outputs: The items to append, in the order of the calls that they close.
        removed: The ids to delete, oldest first.
    """

    findings: tuple[Finding, ...]
    outputs: tuple[Item, ...]
    removed: tuple[str, ...]


def plan_repair(items: Sequence[Item]) -> RepairPlan:
    """Return how to repair a history.

    A call of the newest turn is closed, where its output can be written without the tool. Any other call
    without output is removed, and so are outputs without a call, second outputs, and reasoning of which
    nothing remains that it led to.

    Args:
        items: A whole history as listed, oldest first.
    """
    matches = match_calls(items)
    problems: dict[int, Problem] = {
        **dict.fromkeys(matches.orphans, "output without call"),
        **dict.fromkeys(matches.extras, "second output"),
    }
    newest_turn = next((start for start, _ in turn_starts(items, is_all=True)), 0)
    return _planned(items, problems, matches.open_calls, closing_from=newest_turn)


def plan_closing(items: Sequence[Item]) -> RepairPlan:
    """Return how to close the open calls of the newest items of a history, or remove those that cannot be.

    Args:
        items: The newest items as listed, oldest first. Outputs whose calls precede them are left.
    """
    return _planned(items, {}, match_calls(items).open_calls, closing_from=0)


def _planned(
    items: Sequence[Item], problems: dict[int, Problem], open_calls: Iterable[int], *, closing_from: int
) -> RepairPlan:
    closed: dict[int, Item] = {}
    taken = {item.get("id") for item in items}
    for index in open_calls:
        is_request = items[index]["type"] == "mcp_approval_request"
        problems[index] = "approval not answered" if is_request else "call without output"
        output = _closing_output(items[index]) if index >= closing_from else None
        if output is not None and output.get("id", object()) not in taken:
            closed[index] = output
            taken.add(output.get("id"))
    for index in without_result(items, problems.keys() - closed.keys()):
        problems[index] = "reasoning without result"
    findings = tuple(
        _finding(items[index], problems[index], is_closed=index in closed) for index in sorted(problems)
    )
    removed = (str(items[index]["id"]) for index in sorted(problems.keys() - closed.keys()))
    return RepairPlan(findings, tuple(closed[index] for index in sorted(closed)), tuple(removed))


def _finding(item: Item, problem: Problem, *, is_closed: bool) -> Finding:
    call_id = item.get("call_id") or item.get("approval_request_id")
    return Finding(
        problem=problem,
        item_id=str(item["id"]),
        item_type=str(item.get("type")),
        call_id=str(call_id) if call_id else None,
        name=str(item["name"]) if item.get("name") else None,
        remedy="close" if is_closed else "remove",
    )


def _closing_output(call: Item) -> Item | None:
    """Return an output, in sent form, that says that a call was not completed; None if there is none.

    The output of a computer is a picture of its screen, which cannot be invented.
    """
    if call["type"] == "mcp_approval_request":
        return {
            "type": "mcp_approval_response",
            "approval_request_id": call["id"],
            "approve": False,
            "reason": NOT_ANSWERED,
        }
    fields = _CLOSING.get(str(call["type"]))
    if fields is None or not isinstance(call.get("call_id"), str):
        return None
    caller = {"caller": call["caller"]} if call.get("caller") else {}
    return sent_form({**fields, "call_id": call["call_id"], **caller})


_CLOSING: dict[str, dict[str, Any]] = {
    "function_call": {"type": "function_call_output", "output": NOT_COMPLETED},
    "custom_tool_call": {"type": "custom_tool_call_output", "output": NOT_COMPLETED},
    "local_shell_call": {"type": "local_shell_call_output", "output": NOT_COMPLETED},
    "shell_call": {
        "type": "shell_call_output",
        "output": [
            {"stdout": "", "stderr": NOT_COMPLETED, "outcome": {"type": "exit", "exit_code": 1}},
        ],
    },
    "apply_patch_call": {"type": "apply_patch_call_output", "status": "failed", "output": NOT_COMPLETED},
    "tool_search_call": {
        "type": "tool_search_output",
        "execution": "client",
        "status": "incomplete",
        "tools": [],
    },
}
"""The outputs that close calls, without their `call_id`."""


@dataclass(frozen=True, slots=True)
class _Thought:
    """Reasoning items in a row, and the output of the model right after them, by their positions."""

    reasoning: range
    results: range


def _thoughts(items: Sequence[Item]) -> list[_Thought]:
    thoughts = []
    index = 0
    while index < len(items):
        start = index
        while index < len(items) and items[index].get("type") == "reasoning":
            index += 1
        end = index
        while index < len(items) and _is_result(items[index]):
            index += 1
        if start < end:
            thoughts.append(_Thought(range(start, end), range(end, index)))
        index = max(index, start + 1)
    return thoughts


_NO_RESULTS = frozenset(
    {"additional_tools", "compaction_trigger", "configuration_update", "item_reference", "reasoning"}
)
"""Types of items that reasoning does not lead to, beside messages of others and outputs."""


def _is_result(item: Item) -> bool:
    """Return whether an item is output of a model other than reasoning."""
    item_type = str(item.get("type") or "message")
    if item_type == "message":
        return item.get("role") == "assistant"
    if item_type == "tool_search_output":
        return is_of_search_by_the_api(item)
    return item_type not in _NO_RESULTS and not item_type.endswith(("_output", "_response"))


def without_result(items: Sequence[Item], removed: Collection[int]) -> list[int]:
    """Return the positions of reasoning of whose results none remains, once some items are removed."""
    return [
        index
        for thought in _thoughts(items)
        if all(result in removed for result in thought.results)
        for index in thought.reasoning
    ]


def missing_partners(items: Sequence[Item], ids: Collection[str]) -> list[str]:
    """Return the ids of items that must be deleted with others, oldest first.

    These are the call of an output that would be its last, all outputs of a call, the results of reasoning,
    and reasoning whose last result is deleted.

    Args:
        items: A whole history as listed, oldest first.
        ids: The ids to be deleted.
    """
    given = {index for index, item in enumerate(items) if item.get("id") in ids}
    matches = match_calls(items)
    unmatched = {output: call for output, call in calls_by_output(items).items() if call is not None}
    for orphan in matches.orphans:
        unmatched.pop(orphan, None)
    outputs_of: dict[int, set[int]] = {}
    for output, call in {**unmatched, **matches.call_of}.items():
        outputs_of.setdefault(call, set()).add(output)
    thoughts = _thoughts(items)
    deleted, before = set(given), -1
    while len(deleted) > before:
        before = len(deleted)
        for call, outputs in outputs_of.items():
            if call in deleted or outputs <= deleted:
                deleted |= {call, *outputs}
        for thought in thoughts:
            is_torn = not deleted.isdisjoint(thought.reasoning)
            if thought.results and (is_torn or all(result in deleted for result in thought.results)):
                deleted |= {*thought.reasoning, *thought.results}
    return [str(items[index].get("id")) for index in sorted(deleted - given)]


def torn_by_replacing(items: Sequence[Item], position: int, new: Item) -> list[str]:
    """Return the ids of items that would lack their counterpart if the item at `position` were another.

    These are calls, outputs and reasoning, the new item too; and reasoning that the API knows by its id alone
    and that led to the item, or to one that follows it: they get other ids.
    """
    replaced = unsound([*items[:position], new, *items[position + 1 :]])
    lost = replaced.keys() - unsound(items).keys()
    torn = {
        index
        for thought in _thoughts(items)
        if any(position <= result for result in thought.results)
        for index in thought.reasoning
        if is_bare_reasoning(items[index])
    }
    return [str(items[index].get("id")) for index in sorted(lost | torn)]


def unsound(items: Sequence[Item]) -> dict[int, Problem]:
    """Return the positions of items that lack their counterpart, each with its problem."""
    matches = match_calls(items)
    return {
        **dict.fromkeys(matches.open_calls, "call without output"),
        **dict.fromkeys(matches.orphans, "output without call"),
        **dict.fromkeys(matches.extras, "second output"),
        **dict.fromkeys(without_result(items, ()), "reasoning without result"),
    }


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What `check()` or `repair()` has found.

    Attributes:
        conversation_id: The conversation; None if the session is unused.
        findings: The items with a problem, oldest first.
        is_repaired: Whether they were closed or removed, as each says.
        appended_ids: The ids of the outputs that were appended.
        deleted_ids: The ids of the items that were deleted, oldest first.
    """

    conversation_id: str | None
    findings: tuple[Finding, ...] = ()
    is_repaired: bool = False
    appended_ids: tuple[str, ...] = ()
    deleted_ids: tuple[str, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong: nothing was found, or everything was repaired."""
        return self.is_repaired or not self.findings

    def __str__(self) -> str:
        named = self.conversation_id or "an unused session"
        if not self.findings:
            return f"{named}: nothing to repair"
        return "\n".join([f"{named}:", *(f"  {line}" for line in self.lines())])

    def lines(self) -> list[str]:
        """Return each finding as a line, with what was done, or what `repair()` does."""
        verbs = {"close": "closed", "remove": "removed"} if self.is_repaired else _TO_DO
        return [f"{finding}: {verbs[finding.remedy]}" for finding in self.findings]


_TO_DO = {"close": "repair() closes it", "remove": "repair() removes it"}


def repaired(report: RepairReport, *, appended: Sequence[str], deleted: Sequence[str]) -> RepairReport:
    """Return the report of a check once everything that it names was done."""
    return replace(report, is_repaired=True, appended_ids=tuple(appended), deleted_ids=tuple(deleted))
