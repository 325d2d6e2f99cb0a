"""Which items belong together: turns, limits of reads, cut points, requests, calls with their outputs."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from openai_sessions._items.forms import replay_form, to_replay
from openai_sessions._items.text import item_text, item_texts, message_text
from openai_sessions._items.types import (
    CountTokens,
    Item,
    is_bare_reasoning,
    is_compaction,
    is_user_message,
)
from openai_sessions.errors import CutPointError

if TYPE_CHECKING:
    from openai_sessions.tokens import ServerTokens


@dataclass(frozen=True, slots=True)
class Turn:
    """A user message and all items up to the next one.

    A call and its output are always in the same turn: a user message between them belongs to the turn of the
    call.

    Attributes:
        number: The position of the turn in the history, from 1; 0 for items before the first user message.
        items: The items in replay form, oldest first.
        item_ids: The ids of the items, in the same order.
    """

    number: int
    items: tuple[Item, ...]
    item_ids: tuple[str, ...]

    @property
    def text(self) -> str:
        """The text of the user messages, one line per part."""
        return "\n".join(message_text(item) for item in self.items if is_user_message(item))

    def says(self, text: str, *, case_sensitive: bool) -> bool:
        """Return whether the text of one of the items contains `text`."""
        wanted = text if case_sensitive else text.casefold()
        texts = (said for item in self.items for said in item_texts(item))
        return any(wanted in (said if case_sensitive else said.casefold()) for said in texts)


def split_turns(stored: Sequence[Item]) -> list[Turn]:
    """Return the turns of a whole history as listed, oldest first.

    Reasoning that `to_replay` leaves out is in no turn.
    """
    replayed = to_replay(stored)
    shown = {item["id"] for item in replayed if "id" in item}
    kept = [item for item in stored if not is_bare_reasoning(item) or item.get("id") in shown]
    turns = []
    for number, (start, end) in turn_spans(kept).items():
        ids = tuple(str(item.get("id")) for item in kept[start:end])
        turns.append(Turn(number, tuple(replayed[start:end]), ids))
    return turns


def turn_spans(items: Sequence[Item]) -> dict[int, tuple[int, int]]:
    """Return the start and end of each turn of a whole history, by the turn's number."""
    starts = [start for start, _ in turn_starts(items, is_all=True)][::-1]
    bounds = [0, *starts, len(items)]
    spans = enumerate(pairwise(bounds))
    return {number: (start, end) for number, (start, end) in spans if start < end}


def turn_starts(items: Sequence[Item], *, is_all: bool) -> list[tuple[int, bool]]:
    """Return the positions at which turns start, newest first.

    Args:
        items: The newest items of a history, oldest first.
        is_all: Whether they are the whole history.

    Returns:
        Positions of user messages, each with whether it certainly starts a turn. It is uncertain if the call
        of a later output may precede `items`.
    """
    call_of = calls_by_output(items)
    starts = []
    earliest, is_certain = len(items), True
    for index in reversed(range(len(items))):
        if index in call_of:
            call = call_of[index]
            is_certain = is_certain and (is_all or call is not None)
            earliest = min(earliest, index if call is None else call)
        if is_user_message(items[index]) and earliest >= index:
            starts.append((index, is_certain))
    return starts


def ends_turn(items: Sequence[Item]) -> bool:
    """Return whether items in sent form, or of a response, end with an answer: a turn is then complete."""
    last = items[-1] if items else {}
    return last.get("type") in (None, "message") and last.get("role") == "assistant"


def count_ended(items: Sequence[Item]) -> int:
    """Return how many turns of a whole history in sent form end with an answer."""
    return sum(ends_turn(items[start:end]) for start, end in turn_spans(items).values())


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnLimits:
    """Limits of a read of whole turns. All of them apply; None is no limit.

    Attributes:
        turns: The maximum number of turns; the items before the first user message count as one.
        tokens: The maximum number of tokens.
        items: The maximum number of items.
        count_tokens: Counts the tokens of a text. Required if tokens are limited. A `ServerTokens` counts no
            texts: see `_conversation.counting`.
        from_compaction: Nothing before the newest compaction item is read, except what `compaction_start`
            keeps. That and the item itself are not a turn: if the items after it are within the limits, it
            is kept, with the messages before it unless they exceed the tokens or items.
    """

    turns: int | None = None
    tokens: int | None = None
    items: int | None = None
    count_tokens: CountTokens | ServerTokens | None = None
    from_compaction: bool = False

    @property
    def are_of_turns(self) -> bool:
        """Whether turns or tokens are limited."""
        return self.turns is not None or self.tokens is not None

    @property
    def admit_nothing(self) -> bool:
        """Whether a limit is zero or less."""
        return any(limit is not None and limit <= 0 for limit in (self.turns, self.tokens, self.items))

    def start_of_newest(self, items: Sequence[Item], *, is_all: bool) -> int | None:
        """Return the start of the newest whole turns within the limits, or None if older items are needed.

        Args:
            items: The newest items of a history as listed, oldest first.
            is_all: Whether they are the whole history.
        """
        compaction = newest_compaction(items) if self.from_compaction else None
        if compaction is None:
            start = self._start_of_turns(items, is_all=is_all)
            return None if start == 0 and self._may_follow_compaction(is_all=is_all) else start
        start = self._start_of_turns(items[compaction + 1 :], is_all=True)
        return compaction + 1 + start if start else self._start_with(compaction, items, is_all=is_all)

    def _may_follow_compaction(self, *, is_all: bool) -> bool:
        """Return whether an older item, right before those that are known, may be a compaction item."""
        return self.from_compaction and not is_all

    def _start_with(self, compaction: int, items: Sequence[Item], *, is_all: bool) -> int | None:
        """Return the start of a history whose items after the compaction item are within the limits."""
        for keep_messages in (True, False):
            start = compaction_start(items, compaction, is_all=is_all, keep_messages=keep_messages)
            if start is None or self._admit(items[start:]):
                return start
        return _start_after(compaction, items)

    def _admit(self, items: Sequence[Item]) -> bool:
        """Return whether items are within the limits of items and tokens."""
        if _exceeds(len(items), self.items):
            return False
        if self.tokens is None or not callable(self.count_tokens):
            return True
        return _counted(items, self.count_tokens) <= self.tokens

    def _start_of_turns(self, items: Sequence[Item], *, is_all: bool) -> int | None:
        """Return what `start_of_newest` does, without regard to compaction."""
        if not self.are_of_turns and self.items is None:
            return 0 if is_all else None
        start = counted = len(items)
        tokens = 0
        for number, (candidate, is_certain) in enumerate(_candidates(items, is_all=is_all), 1):
            if _exceeds(number, self.turns) or _exceeds(len(items) - candidate, self.items):
                return start
            if self.tokens is not None and callable(self.count_tokens):
                tokens += _counted(items[max(0, candidate) : counted], self.count_tokens)
                counted = max(0, candidate)
                if tokens > self.tokens:
                    return start
            if not is_certain:
                return None
            start = candidate
        return start

    def starts_of_newest(self, items: Sequence[Item], *, is_all: bool) -> tuple[list[int], bool]:
        """Return the starts of the newest whole turns within the limits of turns and items, newest first.

        Args:
            items: The newest items of a history as listed, oldest first.
            is_all: Whether they are the whole history.

        Returns:
            The starts, and whether older items may have more. Those of the compaction item, and of the
            messages before it, are the last.
        """
        compaction = newest_compaction(items) if self.from_compaction else None
        if compaction is None:
            found, has_more = self._starts_of_turns(items, is_all=is_all)
            return found, has_more or (0 in found and self._may_follow_compaction(is_all=is_all))
        after = compaction + 1
        found, _ = self._starts_of_turns(items[after:], is_all=True)
        whole = _start_after(compaction, items)
        starts = [after + start for start in found if after + start >= whole]
        if after < len(items) and 0 not in found:
            return starts, False
        for keep_messages in (False, True):
            start = compaction_start(items, compaction, is_all=is_all, keep_messages=keep_messages)
            if start is None:
                return starts, True
            if start not in starts and not _exceeds(len(items) - start, self.items):
                starts.append(start)
        return starts, False

    def _starts_of_turns(self, items: Sequence[Item], *, is_all: bool) -> tuple[list[int], bool]:
        """Return what `starts_of_newest` does, without regard to compaction."""
        starts: list[int] = []
        for number, (candidate, is_certain) in enumerate(_candidates(items, is_all=is_all), 1):
            if _exceeds(number, self.turns) or _exceeds(len(items) - candidate, self.items):
                return starts, False
            if not is_certain:
                return starts, True
            starts.append(candidate)
        return starts, False


def newest_compaction(items: Sequence[Item]) -> int | None:
    """Return the position of the newest compaction item, or None."""
    return next((place for place in reversed(range(len(items))) if is_compaction(items[place])), None)


def from_newest_compaction(items: Sequence[Item]) -> Sequence[Item]:
    """Return the items that a model needs: all, if none of them is a compaction item."""
    compaction = newest_compaction(items)
    return items if compaction is None else items[compaction_start(items, compaction, is_all=True) :]


def compaction_start(
    items: Sequence[Item], compaction: int, *, is_all: bool, keep_messages: bool = True
) -> int | None:
    """Return where the items start that a model needs, or None if older items are needed to know.

    OpenAI's guide to compaction allows to drop the items before the newest compaction item. Two kinds of
    them are kept, so that nothing that a model needs is lost:

    - the messages directly before it that are not the assistant's: `/responses/compact` returns the user's
      messages and then the compaction item, and its output is to be passed on unpruned;
    - calls before it whose outputs are after it, with the reasoning before them, and all that follows them:
      a model refuses an output without its call.

    Args:
        items: The newest items of a history, oldest first.
        compaction: The position of the newest compaction item.
        is_all: Whether they are the whole history.
        keep_messages: Whether to keep the messages before the compaction item.
    """
    start = compaction
    while keep_messages and start and is_retained(items[start - 1]):
        start -= 1
    call_of = calls_by_output(items)
    earliest = len(items)
    index = len(items)
    while index:
        index -= 1
        call = call_of.get(index, len(items))
        if call is None and not is_all:
            return None
        earliest = min(earliest, len(items) if call is None else call)
        follows_reasoning = index and index < start and items[index - 1].get("type") == "reasoning"
        if index <= min(start, earliest) and not follows_reasoning:
            break
    return None if index == 0 and not is_all else index


def is_retained(item: Item) -> bool:
    """Return whether an item may be one of those that compaction returns before a compaction item."""
    return item.get("type") in (None, "message") and item.get("role") != "assistant"


def _start_after(compaction: int, items: Sequence[Item]) -> int:
    """Return where the first whole turn after a compaction item starts, without answers to calls before it.

    The items before the first user message belong to a turn that started before the compaction item.
    """
    answers = [output for output, call in calls_by_output(items).items() if call is None or call < compaction]
    after = max([compaction, *answers])
    starts = [start for start, _ in turn_starts(items, is_all=True) if start > after]
    return starts[-1] if starts else len(items)


def _candidates(items: Sequence[Item], *, is_all: bool) -> list[tuple[int, bool]]:
    """Return the positions at which turns start or may start, newest first, each with whether it is certain.

    The last one is 0 for the items before the first user message, or -1 for a turn that may start earlier.
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
            raise TypeError(f"count_tokens must return a whole number from 0, not {tokens!r}")
        total += tokens
    return total


def cut_before_turn(conversation_id: str, items: Sequence[Item], turn: int) -> int:
    """Return how many items of a whole history, oldest first, precede a turn.

    Raises:
        CutPointError: There is no such turn.
    """
    spans = turn_spans(items)
    if turn not in spans:
        numbers = f"its turns are {min(spans)} to {max(spans)}" if spans else "it has no items"
        raise CutPointError(conversation_id, f"it has no turn {turn}: {numbers}")
    return spans[turn][0]


def cut_after_item(conversation_id: str, items: Sequence[Item], item_id: str) -> int:
    """Return how many items of a whole history, oldest first, there are up to and including an item.

    Raises:
        CutPointError: There is no such item, or items that belong together would be separated. The nearest
            items that separate none are in its `safe_item_ids`.
    """
    ids = [str(item.get("id")) for item in items]
    if item_id not in ids:
        present = f"its {len(ids)} items are {ids[0]} to {ids[-1]}" if ids else "it has no items"
        raise CutPointError(conversation_id, f"it has no item {item_id!r}: {present}")
    cut = ids.index(item_id) + 1
    cuts = safe_cuts(items)
    if cut not in cuts:
        before = max(place for place in cuts if place < cut)
        behind = min(place for place in cuts if place > cut)
        safe = [ids[place - 1] for place in (before, behind) if place]
        raise CutPointError(
            conversation_id,
            f"{item_id} is between a call and its output, or between reasoning and the item it led to: "
            f"give after_item={' or '.join(map(repr, safe))}",
            safe,
        )
    return cut


def safe_cuts(items: Sequence[Item]) -> list[int]:
    """Return after how many items a history can be cut without separating items that belong together."""
    reach = -1
    cuts = []
    for cut, later in enumerate(partners(items)):
        if reach < cut:
            cuts.append(cut)
        reach = max([reach, *(place for place in later if not is_user_message(items[place]))])
    return [*cuts, len(items)]


def batches(items: Sequence[Item], size: int, max_bytes: int) -> list[list[Item]]:
    """Split items into requests of at most `size` items and `max_bytes` bytes of JSON, in order.

    A larger item has a request of its own. A call and its output, and reasoning and the item that follows it,
    are in the same request if they fit.
    Of the splits that separate the fewest such pairs, the one with the fewest requests is chosen, and of
    these the one whose first requests have the most items.
    """
    belonging = partners(items)
    before = [0, *accumulate(map(_bytes_of, items))]
    best: list[tuple[int, int, int]] = [(0, 0, len(items))] * (len(items) + 1)
    for start in reversed(range(len(items))):
        fits = bisect_right(before, before[start] + max_bytes) - 1
        end = max(start + 1, min(start + size, fits))
        best[start] = min(_cuts(start, belonging[start:end], best))
    return _split(items, [-negative_end for _, _, negative_end in best])


def _bytes_of(item: Item) -> int:
    """Return the size of an item in a list in the body of a request."""
    return len(json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")) + 1


def _cuts(
    start: int, belonging: Sequence[list[int]], best: Sequence[tuple[int, int, int]]
) -> list[tuple[int, int, int]]:
    """Return (separated pairs, requests, -end) for each request that starts at `start`.

    Args:
        start: The position of its first item.
        belonging: The partners of each item that fits into the request.
        best: The best of these tuples for each later position.
    """
    cuts = []
    later: list[int] = []
    for end, partners_of_last in enumerate(belonging, start + 1):
        later += partners_of_last
        separated = sum(partner >= end for partner in later)
        cuts.append((separated + best[end][0], 1 + best[end][1], -end))
    return cuts


def _split(items: Sequence[Item], ends: Sequence[int]) -> list[list[Item]]:
    requests = []
    start = 0
    while start < len(items):
        requests.append(list(items[start : ends[start]]))
        start = ends[start]
    return requests


def partners(items: Sequence[Item]) -> list[list[int]]:
    """Return, for each item, the positions of the later items that belong to it.

    The outputs belong to a call, and the next item belongs to reasoning.
    """
    later: list[list[int]] = [[] for _ in items]
    for output, call in calls_by_output(items).items():
        if call is not None:
            later[call].append(output)
    for index in range(1, len(items)):
        if items[index - 1].get("type") == "reasoning":
            later[index - 1].append(index)
    return later


def calls_by_output(items: Sequence[Item]) -> dict[int, int | None]:
    """Return the position of the call of each output, by the position of the output.

    Calls and outputs are those of functions, custom tools, computers, shells, patches, programs and tool
    searches, requests and responses of an approval, and unknown types with such names. They are matched by
    the id that the API uses for the pair; if it is null, by type.

    Args:
        items: Items of one history, oldest first.

    Returns:
        None for an output whose call is not among the items.
    """
    answered: dict[int, int | None] = {}
    calls: dict[str, int] = {}
    for index, item in enumerate(items):
        if keys := output_keys(item):
            answered[index] = max((calls[key] for key in keys if key in calls), default=None)
        calls.update(dict.fromkeys(call_keys(item), index))
    return answered


def call_keys(item: Item) -> list[str]:
    """Return the keys under which an output may refer to this item; none if it is not a call."""
    item_type = str(item.get("type", ""))
    if not (item_type.endswith(("_call", "_request")) or item_type == "program"):
        return []
    return _keys(item, ("call_id", "id"))


def output_keys(item: Item) -> list[str]:
    """Return the keys of the call that this item is the output of; none if it is not an output."""
    if not str(item.get("type", "")).endswith(("_output", "_response")):
        return []
    return _keys(item, ("call_id", "approval_request_id", "id"))


def _keys(item: Item, names: tuple[str, ...]) -> list[str]:
    keys = [item[name] for name in names if isinstance(item.get(name), str)]
    is_named = any(isinstance(item.get(name), str) for name in names if name != "id")
    return keys if is_named else [*keys, f" {_kind(item)}"]  # no id starts with a space


def _kind(item: Item) -> str:
    """Return what the types of a call and its output have in common, such as `tool_search`."""
    kind = str(item["type"])
    for end in ("_output", "_response", "_call", "_request"):
        kind = kind.removesuffix(end)
    return kind


_PAIRED: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "function_call": ("function_call_output", ("call_id",), ("call_id",)),
    "custom_tool_call": ("custom_tool_call_output", ("call_id",), ("call_id",)),
    "computer_call": ("computer_call_output", ("call_id",), ("call_id",)),
    "local_shell_call": ("local_shell_call_output", ("call_id", "id"), ("call_id", "id")),
    "shell_call": ("shell_call_output", ("call_id",), ("call_id",)),
    "apply_patch_call": ("apply_patch_call_output", ("call_id",), ("call_id",)),
    "tool_search_call": ("tool_search_output", ("call_id",), ("call_id",)),
    "mcp_approval_request": ("mcp_approval_response", ("id",), ("approval_request_id",)),
    "program": ("program_output", ("call_id",), ("call_id",)),
}
"""The types of calls that have an output: its type, and the fields of both that name the call."""

_CALL_OF = {output: call for call, (output, _, _) in _PAIRED.items()}
"""The types of outputs, each with the type of its call."""


@dataclass(frozen=True, slots=True)
class CallMatches:
    """Which outputs of a history belong to which calls, by their positions.

    Attributes:
        call_of: The call of each output that has one.
        open_calls: Calls that wait for an output, and have none, in ascending order.
        orphans: Outputs that follow no call of their type with their `call_id`, in ascending order.
        extras: Outputs of calls that have an output already, in ascending order.
    """

    call_of: dict[int, int]
    open_calls: tuple[int, ...]
    orphans: tuple[int, ...]
    extras: tuple[int, ...]


def open_calls(items: Sequence[Item]) -> list[int]:
    """Return the positions of calls that wait for an output which the items do not contain.

    These are calls of functions, custom tools, computers, shells, patches and tool searches that the client
    executes, and requests for an approval. A call that the API executes itself, such as a web search or a
    shell call in a container, never waits. An output counts if it follows a call of its type.

    Args:
        items: A history in any form, oldest first.
    """
    return list(match_calls(items).open_calls)


def complete_items(before: Sequence[Item], items: Sequence[Item], *, is_whole: bool) -> list[int]:
    """Return the positions of new items that leave nothing open when they are stored.

    Left out are calls without their output, outputs without their call, and reasoning without what it led to.

    Args:
        before: The items that precede them, oldest first.
        items: The new items.
        is_whole: Whether `before` is the whole history: otherwise a call may precede it.
    """
    matches = match_calls([*before, *items])
    left_out = {*matches.open_calls, *(matches.orphans if is_whole else ())}
    kept = {place for place in range(len(items)) if len(before) + place not in left_out}
    for place in reversed(range(len(items))):
        if items[place].get("type") == "reasoning" and not _leads_to_one_of(items, place, kept):
            kept.discard(place)
    return sorted(kept)


def _leads_to_one_of(items: Sequence[Item], reasoning: int, kept: Collection[int]) -> bool:
    """Return whether the item that reasoning led to, or one of the calls made together, is kept."""
    for place in range(reasoning + 1, len(items)):
        item = items[place]
        if place in kept:
            is_next = place == reasoning + 1
            return bool(call_keys(item)) or (is_next and not (is_user_message(item) or output_keys(item)))
        if not call_keys(item):
            return False
    return False


def match_calls(items: Sequence[Item]) -> CallMatches:
    """Match outputs with calls as the API does: an output follows a call of its type with its `call_id`.

    Where several calls have one `call_id`, an output belongs to the newest of them that waits for one.
    """
    unanswered: dict[tuple[str, str], list[int]] = {}
    answered: dict[tuple[str, str], int] = {}
    call_of: dict[int, int] = {}
    waiting: set[int] = set()
    orphans: list[int] = []
    extras: list[int] = []
    for index, item in enumerate(items):
        item_type = str(item.get("type"))
        if item_type in _PAIRED:
            for key in _named(item_type, item, _PAIRED[item_type][1]):
                unanswered.setdefault(key, []).append(index)
            waiting.update([index] if _waits(item) else [])
        elif item_type in _CALL_OF and not is_of_search_by_the_api(item):
            call_type = _CALL_OF[item_type]
            keys = _named(call_type, item, _PAIRED[call_type][2])
            calls = [call for key in keys for call in unanswered.get(key, ())]
            if calls:
                call = max(calls, key=lambda call: (call in waiting, call))
                call_of[index] = call
                waiting.discard(call)
                for key in _named(call_type, items[call], _PAIRED[call_type][1]):
                    unanswered[key].remove(call)
                    answered[key] = call
            elif earlier := [answered[key] for key in keys if key in answered]:
                call_of[index] = max(earlier)
                extras.append(index)
            else:
                orphans.append(index)
    return CallMatches(call_of, tuple(sorted(waiting)), tuple(orphans), tuple(extras))


def _named(call_type: str, item: Item, names: tuple[str, ...]) -> set[tuple[str, str]]:
    return {(call_type, item[name]) for name in names if isinstance(item.get(name), str)}


def _waits(call: Item) -> bool:
    """Return whether the client must give the output of a call."""
    if call["type"] == "tool_search_call":
        return call.get("execution") == "client"
    if call["type"] == "shell_call":
        environment = call.get("environment")
        return not isinstance(environment, dict) or environment.get("type") in (None, "local")
    return bool(call["type"] != "program")


def is_of_search_by_the_api(output: Item) -> bool:
    """Return whether an output is that of a tool search which no client has executed."""
    return output["type"] == "tool_search_output" and output.get("execution") != "client"
