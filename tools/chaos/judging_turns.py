"""Compare the turns that users were told of with what the server stores. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise

from tools.chaos.model import TurnItem


class TurnWrong(str, Enum):
    """What can be wrong with a turn."""

    DOUBLED = "turns doubled"
    TOOL_TWICE = "tools run twice"
    UNANSWERED = "questions without answers"
    LOST = "turns lost, or not whole"
    KEPT = "turns stored although the run raised"
    TORN = "turns torn apart by others"


@dataclass(slots=True)
class PlayedTurn:
    """A turn that has ended.

    Attributes:
        name: Its name, unique in the run.
        tools: How many tools the model calls.
        outcome: "returned", "killed", or the name of the error that the run raised.
        runs: How often the tool of each step ran.
    """

    name: str
    tools: int
    outcome: str = ""
    runs: Counter[int] = field(default_factory=Counter)

    @property
    def has_returned(self) -> bool:
        """Whether the run returned its answer."""
        return self.outcome == "returned"

    @property
    def was_killed(self) -> bool:
        """Whether the process was killed while it ran: its user was told nothing."""
        return self.outcome == "killed"


def judge_turns(turns: Collection[PlayedTurn], items: Sequence[TurnItem]) -> set[tuple[TurnWrong, str]]:
    """Return what is wrong with which turns of a conversation.

    A turn that returned is stored whole and once; one that raised is not stored. Of one whose process was
    killed, both are right; and `left_by_killed` tells of those in between.

    Args:
        turns: The turns, each ended.
        items: The items of the conversation, oldest first, once nothing is running or left to settle.
    """
    stored = _stored(items)
    torn = set(_torn(items))
    return {
        (wrong, turn.name)
        for turn in turns
        for wrong in _wrongs(turn, stored.get(turn.name, Counter()), is_torn=turn.name in torn)
    }


def left_by_killed(turns: Collection[PlayedTurn], items: Sequence[TurnItem]) -> set[str]:
    """Return the turns of killed processes of which a part is stored."""
    stored = _stored(items)
    killed = {turn.name for turn in turns if turn.was_killed}
    return {name for name in killed if stored.get(name) and not stored[name]["answer", 0]}


def unpaired(items: Sequence[TurnItem]) -> set[str]:
    """Return the turns that have a call without its output, or an output without its call."""
    stored = _stored(items)
    return {
        name
        for name, parts in stored.items()
        if any(parts["call", step] != parts["output", step] for _, step in list(parts))
    }


def missing_markers(names: Collection[str], items: Sequence[TurnItem]) -> set[str]:
    """Return the items of other processes that were acknowledged and are not stored."""
    return set(names) - {item.name for item in items if item.part == "marker"}


Parts = Counter[tuple[str, int]]
"""How often each part of a turn is stored, with its step."""


def _stored(items: Sequence[TurnItem]) -> Mapping[str, Parts]:
    stored: dict[str, Parts] = {}
    for item in items:
        if item.part != "marker":
            stored.setdefault(item.name, Counter())[item.part, item.step] += 1
    return stored


def _wrongs(turn: PlayedTurn, parts: Parts, *, is_torn: bool) -> Iterator[TurnWrong]:
    if any(number > 1 for number in parts.values()):
        yield TurnWrong.DOUBLED
    if any(number > 1 for number in turn.runs.values()):
        yield TurnWrong.TOOL_TWICE
    if is_torn:
        yield TurnWrong.TORN
    if turn.was_killed:
        return
    if turn.has_returned:
        if any(not parts[part] for part in _whole(turn)):
            yield TurnWrong.LOST
    elif parts["answer", 0]:
        yield TurnWrong.KEPT
    if parts and not parts["answer", 0]:
        yield TurnWrong.UNANSWERED


def _whole(turn: PlayedTurn) -> list[tuple[str, int]]:
    steps = [(part, step) for step in range(turn.tools) for part in ("call", "output")]
    return [("question", 0), *steps, ("answer", 0)]


def _torn(items: Sequence[TurnItem]) -> Iterator[str]:
    """Yield the turns between whose items there are items of another turn."""
    names = [item.name for item in items if item.part != "marker"]
    last = {name: place for place, name in enumerate(names)}
    for place, (name, following) in enumerate(pairwise(names)):
        if name != following and last[name] > place:
            yield name
