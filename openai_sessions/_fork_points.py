"""Where a history is cut when it is forked; pure."""

from __future__ import annotations

from collections.abc import Sequence

from openai_sessions._turns import safe_cuts, turn_spans
from openai_sessions._types import Item
from openai_sessions.errors.forking import ForkPointError


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
