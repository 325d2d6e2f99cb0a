"""Which items belong together: call pairs, requests of at most 20 items, turns, limits, fork points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from openai_sessions._items.forms import replay_form, to_replay
from openai_sessions._items.text import item_text, item_texts, message_text
from openai_sessions._items.types import Item
from openai_sessions.errors import ForkPointError


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


def batches(items: Sequence[Item], size: int) -> list[list[Item]]:
    """Split items into requests of at most `size` items, in order.

    A call and its output, and a reasoning item and what follows it, stay in one request where they
    fit. Among the splits that tear the fewest such pairs, the one with the fewest requests is taken,
    and among those the one whose first requests are fullest.
    """
    belonging = partners(items)
    best: list[tuple[int, int, int]] = [(0, 0, len(items))] * (len(items) + 1)
    for start in reversed(range(len(items))):
        best[start] = min(_cuts(start, belonging[start : start + size], best))
    return _split(items, [-negative_end for _, _, negative_end in best])


def _cuts(
    start: int, belonging: Sequence[list[int]], best: Sequence[tuple[int, int, int]]
) -> list[tuple[int, int, int]]:
    """Return (torn pairs, requests, -end) for each request that starts at `start`.

    Args:
        start: The position of its first item.
        belonging: The partners of each item that fits into the request.
        best: The best cut from each later position.
    """
    cuts = []
    later: list[int] = []
    for end, partners_of_last in enumerate(belonging, start + 1):
        later += partners_of_last
        torn = sum(partner >= end for partner in later)
        cuts.append((torn + best[end][0], 1 + best[end][1], -end))
    return cuts


def _split(items: Sequence[Item], ends: Sequence[int]) -> list[list[Item]]:
    requests = []
    start = 0
    while start < len(items):
        requests.append(list(items[start : ends[start]]))
        start = ends[start]
    return requests


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


CountTokens = Callable[[str], int]
"""Returns how many tokens a text takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnLimits:
    """The most that a read returns. Each limit that is not None holds.

    Attributes:
        turns: Turns; what precedes the first user message is one.
        tokens: Tokens of the texts of items.
        items: Items.
        count_tokens: Counts the tokens of a text; not None where tokens are limited.
    """

    turns: int | None = None
    tokens: int | None = None
    items: int | None = None
    count_tokens: CountTokens | None = None

    @property
    def admit_nothing(self) -> bool:
        """Whether no item is within the limits."""
        return any(limit is not None and limit <= 0 for limit in (self.turns, self.tokens, self.items))

    def start_of_newest(self, items: Sequence[Item], *, is_all: bool) -> int | None:
        """Return where the newest whole turns within the limits begin; None when more must be known.

        Args:
            items: The newest items as listed, oldest first.
            is_all: Whether nothing precedes them.
        """
        start = counted = len(items)
        tokens = 0
        for number, (candidate, is_certain) in enumerate(_candidates(items, is_all=is_all), 1):
            if _exceeds(number, self.turns) or _exceeds(len(items) - candidate, self.items):
                return start
            if self.tokens is not None and self.count_tokens is not None:
                tokens += _counted(items[max(0, candidate) : counted], self.count_tokens)
                counted = max(0, candidate)
                if tokens > self.tokens:
                    return start
            if not is_certain:
                return None
            start = candidate
        return start


def _candidates(items: Sequence[Item], *, is_all: bool) -> list[tuple[int, bool]]:
    """Return where turns begin or may begin, the newest first, and whether each is certain.

    The last is what precedes the first user message, or, at -1, a turn that begins before the items.
    """
    starts = turn_starts(items, is_all=is_all)
    if not is_all:
        return [*starts, (-1, False)]
    return starts if not items or (starts and starts[-1][0] == 0) else [*starts, (0, True)]


def _exceeds(number: int, limit: int | None) -> bool:
    return limit is not None and number > limit


def _counted(items: Sequence[Item], count_tokens: CountTokens) -> int:
    total = 0
    for item in items:
        tokens: object = count_tokens(item_text(replay_form(item)))
        if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
            raise TypeError(f"count_tokens returns a number of tokens, 0 or more, not {tokens!r}")
        total += tokens
    return total


def cut_before_turn(conversation_id: str, items: Sequence[Item], turn: int) -> int:
    """Return how many of the items, oldest first, precede a turn.

    Raises:
        ForkPointError: There is no such turn; says which there are.
    """
    spans = turn_spans(items)
    if turn not in spans:
        numbers = f"its turns are {min(spans)} to {max(spans)}" if spans else "it holds no items"
        raise ForkPointError(conversation_id, f"it has no turn {turn}: {numbers}")
    return spans[turn][0]


def cut_after_item(conversation_id: str, items: Sequence[Item], item_id: str) -> int:
    """Return how many of the items, oldest first, there are up to one of them, and with it.

    Raises:
        ForkPointError: There is no such item, or a call would be torn from its output, or reasoning from
            what it has led to; says which items are the nearest after which nothing is torn.
    """
    ids = [str(item.get("id")) for item in items]
    if item_id not in ids:
        held = f"{len(ids)} items, from {ids[0]} to {ids[-1]}" if ids else "no items"
        raise ForkPointError(conversation_id, f"it has no item {item_id!r}: it holds {held}")
    cut = ids.index(item_id) + 1
    cuts = safe_cuts(items)
    if cut not in cuts:
        behind = min(place for place in cuts if place > cut)
        before = max(place for place in cuts if place < cut)
        safe = [ids[place - 1] for place in (before, behind) if place]
        raise ForkPointError(
            conversation_id,
            f"after {item_id} a call would be torn from its output, or reasoning from what it has led to: "
            f"give after_item={' or '.join(map(repr, safe))}",
            safe,
        )
    return cut
