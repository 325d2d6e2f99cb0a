"""The turns of a history: a user message, and all that follows it until the next one; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from openai_sessions._item_texts import item_texts, message_text
from openai_sessions._items import to_replay
from openai_sessions._pairing import answered_calls, partners
from openai_sessions._types import Item


@dataclass(frozen=True, slots=True)
class Turn:
    """A user message and all that follows it until the next one.

    A call and its output are never in two turns: where a user message stands between them, it belongs to
    the turn of the call.

    Attributes:
        number: Its place in the whole history, from 1. What stands before the first user message is 0.
        items: Its items in replay form, oldest first.
        item_ids: The ids under which they are stored, in the same order.
    """

    number: int
    items: tuple[Item, ...]
    item_ids: tuple[str, ...]

    @property
    def text(self) -> str:
        """What the user said: the text of its user messages, each from a line of its own."""
        return "\n".join(message_text(item) for item in self.items if is_user_message(item))

    def says(self, text: str, *, case_sensitive: bool) -> bool:
        """Tell whether one of the texts of its items has this one in it."""
        wanted = text if case_sensitive else text.casefold()
        texts = (said for item in self.items for said in item_texts(item))
        return any(wanted in (said if case_sensitive else said.casefold()) for said in texts)


def split_turns(stored: Sequence[Item]) -> list[Turn]:
    """Return the turns of a whole history as listed, oldest first.

    Reasoning that cannot be shown to a model, as what it led to is gone, is left out, as in `to_replay`.
    """
    replayed = to_replay(stored)
    shown = {item["id"] for item in replayed if "id" in item}
    kept = [item for item in stored if not _is_bare_reasoning(item) or item.get("id") in shown]
    turns = []
    for number, (start, end) in turn_spans(kept).items():
        ids = tuple(str(item.get("id")) for item in kept[start:end])
        turns.append(Turn(number, tuple(replayed[start:end]), ids))
    return turns


def turn_spans(items: Sequence[Item]) -> dict[int, tuple[int, int]]:
    """Return where each turn of a whole history begins and ends, by its number."""
    starts = [start for start, _ in turn_starts(items, is_all=True)][::-1]
    bounds = [0, *starts, len(items)]
    spans = enumerate(pairwise(bounds))
    return {number: (start, end) for number, (start, end) in spans if start < end}


def turn_starts(items: Sequence[Item], *, is_all: bool) -> list[tuple[int, bool]]:
    """Return where turns begin, the newest first, among the newest items of a history.

    Args:
        items: The newest items, oldest first.
        is_all: Whether nothing precedes them.

    Returns:
        Positions of user messages, each with whether it is certain: it is not where an answer follows whose
        call may precede the items.
    """
    answered = answered_calls(items)
    starts = []
    earliest, is_certain = len(items), True
    for index in reversed(range(len(items))):
        if index in answered:
            call = answered[index]
            is_certain = is_certain and (is_all or call is not None)
            earliest = min(earliest, index if call is None else call)
        if is_user_message(items[index]) and earliest >= index:
            starts.append((index, is_certain))
    return starts


def safe_cuts(items: Sequence[Item]) -> list[int]:
    """Return after how many items a history may be cut without tearing what belongs together."""
    reach = -1
    cuts = []
    for cut, later in enumerate(partners(items)):
        if reach < cut:
            cuts.append(cut)
        reach = max([reach, *(place for place in later if not is_user_message(items[place]))])
    return [*cuts, len(items)]


def is_user_message(item: Item) -> bool:
    """Tell whether an item, stored or in replay form, is a message of the user's."""
    return item.get("type") in (None, "message") and item.get("role") == "user"


def _is_bare_reasoning(item: Item) -> bool:
    return item.get("type") == "reasoning" and not item.get("encrypted_content")
