"""Compaction: a model sums up the older turns of a history, and reads start at the compaction item.

The API can only append. So the compaction item and the newest turns, which stay as they are, are written
behind the history, and the old copies of these turns are deleted: `old turns, compaction item, newest turns`.

The server compacts while no lock is held, as that takes as long as an answer of the model. What others write
meanwhile would be before the compaction item, where no model sees it. Therefore the newest item is compared
before the write, and afterwards the listing must show nothing between that item and what was written;
otherwise the write is undone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from openai_sessions._api.client import ConversationsClient
from openai_sessions._arguments import checked_maximum, is_whole_number
from openai_sessions._conversation.counting import start_of_newest
from openai_sessions._conversation.locked import LockedConversation, settle_all
from openai_sessions._conversation.reading import HistoryCache
from openai_sessions._conversation.state import Receipt
from openai_sessions._conversation.writing import OvertakenError, append_and_delete, delete_appended
from openai_sessions._items.forms import sent_form, to_replay, to_stored
from openai_sessions._items.turns import (
    TurnLimits,
    complete_items,
    from_newest_compaction,
    is_retained,
    newest_compaction,
    open_calls,
    turn_starts,
)
from openai_sessions._items.types import CountTokens, Item, is_unknown_reasoning, newest_id
from openai_sessions.errors import ConversationChangedError
from openai_sessions.tokens import ServerTokens, checked_count_tokens

logger = logging.getLogger("openai_sessions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compaction:
    """How a history is compacted, and from which size on.

    A history is due if it exceeds `max_turns` or `max_tokens`, counted from its newest compaction item on; or
    in any case, if it has neither. The newest `keep_turns` turns stay as they are; fewer of them, if they
    exceed half of `max_tokens`, or if one has an item that the API cannot store a second time: one that keeps
    its id, as the call of a hosted tool does, or reasoning without encrypted content. Messages of the user
    that have no answer, directly before them, stay too. Everything before, the previous compaction item
    included, is sent to `POST /responses/compact`. It returns the user's messages, of which the newest stay
    that fit into the same half, and into `max_turns` with those turns.

    Attributes:
        model: The model that compacts, such as "gpt-5-mini". The compaction item is encrypted by OpenAI, and
            for its models only.
        max_turns: Maximum number of turns; None for no limit.
        max_tokens: Maximum number of tokens, counted as for `HistoryLimits`; None for no limit.
        count_tokens: Returns the number of tokens of a text, or an `openai_sessions.tokens.ServerTokens`; by
            default tiktoken counts.
        keep_turns: Maximum number of the newest turns that stay as they are.
        instructions: Instructions for the model that compacts; None for none.
        delete_replaced: Whether to delete what the compaction item stands for, by ids, one request for each
            item. By default it stays stored: models do not see it, people do.

    Raises:
        TypeError: A value is of the wrong type.
        ValueError: A limit is less than 1, `keep_turns` is less than 0, or the model is empty.
    """

    model: str
    max_turns: int | None = None
    max_tokens: int | None = None
    count_tokens: CountTokens | ServerTokens | None = None
    keep_turns: int = 2
    instructions: str | None = None
    delete_replaced: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.model, str):
            raise TypeError(f"model must be the name of a model such as 'gpt-5-mini', not {self.model!r}")
        if not self.model:
            raise ValueError("model is empty: give the name of the model that compacts")
        checked_maximum("max_turns", self.max_turns, "turns")
        checked_maximum("max_tokens", self.max_tokens, "tokens")
        checked_count_tokens(self.count_tokens)
        if self.count_tokens is not None and self.max_tokens is None:
            raise ValueError("count_tokens= needs max_tokens=, which is not given: give both, or neither")
        if not is_whole_number(self.keep_turns) or self.keep_turns < 0:
            raise ValueError(f"keep_turns must be a whole number from 0, not {self.keep_turns!r}")
        if not isinstance(self.instructions, str | None):
            raise TypeError(f"instructions must be a string, not {self.instructions!r}")
        if not isinstance(self.delete_replaced, bool):
            raise TypeError(f"delete_replaced must be True or False, not {self.delete_replaced!r}")

    @property
    def has_limits(self) -> bool:
        """Whether only a history that exceeds a limit is compacted."""
        return self.max_turns is not None or self.max_tokens is not None


def check_compact_when(value: Compaction | None, *, from_compaction: bool) -> None:
    """Raise unless a value says how to compact, and from which size on; None for never.

    Raises:
        TypeError: It is not a `Compaction`.
        ValueError: It has no limit, or reads of the history do not start at the newest compaction item.
    """
    if value is None:
        return
    if not isinstance(value, Compaction):
        raise TypeError(f"compact_when must be an openai_sessions.Compaction, not {value!r}")
    if not value.has_limits:
        raise ValueError(
            "compact_when has no limit, and would compact after each turn: give the Compaction max_tokens= "
            "or max_turns="
        )
    if not from_compaction:
        raise ValueError(_NOT_FROM_COMPACTION)


def checked_compaction(
    value: Compaction | None, compact_when: Compaction | None, *, from_compaction: bool
) -> Compaction:
    """Return how to compact now: as a caller of `compact()` says, or else as `compact_when` does.

    Raises:
        TypeError: It is not a `Compaction`.
        ValueError: There is none, or reads of the history do not start at the newest compaction item.
    """
    if not isinstance(value, Compaction | None):
        raise TypeError(f"compaction must be an openai_sessions.Compaction, not {value!r}")
    wanted = value or compact_when
    if wanted is None:
        raise ValueError("give compact() a Compaction(model=…), or the session compact_when=")
    if not from_compaction:
        raise ValueError(_NOT_FROM_COMPACTION)
    return wanted


_NOT_FROM_COMPACTION = (
    "history_limits has from_compaction=False, so that reads would not start at the compaction item: leave "
    "from_compaction= out"
)


@dataclass(frozen=True, slots=True)
class CompactedHistory:
    """What a compaction has changed.

    Attributes:
        compaction_id: The id of the compaction item.
        item_ids: The ids of all items that were written, in order: the user's messages that the server
            returned, the compaction item, and the newest turns.
        replaced_ids: The ids of the items that were deleted, oldest first: the old copies of the newest
            turns, and with `delete_replaced=True` everything before them.
        usage: What the model that compacts has used, as the API reports it: `input_tokens` and the like.
    """

    compaction_id: str
    item_ids: tuple[str, ...]
    replaced_ids: tuple[str, ...]
    usage: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ItemForms:
    """How stored items are read and written: an encrypted session stores others than the model sees.

    Attributes:
        opened: Returns an item as the model sees it; None if it cannot be read.
        sealed: Returns items as they are stored.
        renewed: Returns stored items as their copies are stored.
    """

    opened: Callable[[Item], Item | None]
    sealed: Callable[[Sequence[Item]], list[Item]]
    renewed: Callable[[Sequence[Item]], list[Item]]


AS_THEY_ARE = ItemForms(opened=lambda item: item, sealed=to_stored, renewed=list)


@dataclass(frozen=True, slots=True)
class History:
    """A history that may be compacted.

    Attributes:
        conversation_id: The conversation.
        stored: Its items as listed, oldest first, from the newest compaction item on; or all.
        opened: What the model sees of each, or None.
    """

    conversation_id: str
    stored: Sequence[Item]
    opened: Sequence[Item | None]

    @property
    def newest_id(self) -> str | None:
        """The id of the newest item."""
        return newest_id(self.stored)

    def view(self) -> tuple[list[int], list[Item]]:
        """Return the positions and the items that a model needs."""
        places = [place for place, item in enumerate(self.opened) if item is not None]
        items = [item for item in self.opened if item is not None]
        needed = list(from_newest_compaction(items))
        return places[len(items) - len(needed) :], needed


@dataclass(frozen=True, slots=True)
class Plan:
    """A compaction that is due.

    Attributes:
        history: What was read.
        replaced: What the server compacts, as the model sees it.
        cut: The position of the first stored item that stays as it is.
        limits: Those of what follows the compaction item, and of the messages before it.
        deletes_replaced: Whether the items before the cut are deleted.
    """

    history: History
    replaced: Sequence[Item]
    cut: int
    limits: TurnLimits
    deletes_replaced: bool


async def read_history(
    locked: LockedConversation, compaction: Compaction, forms: ItemForms, history: HistoryCache | None
) -> History:
    """Return the history as far as a compaction needs it."""
    await settle_all(locked)
    if compaction.delete_replaced:
        items = await locked.newest(None, history)
    else:
        items, _ = await locked.from_compaction(history)
    return History(locked.conversation_id, items, [forms.opened(item) for item in items])


async def plan_compaction(
    client: ConversationsClient, compaction: Compaction, history: History
) -> Plan | None:
    """Return what to compact; None if the history is within the limits, or has only turns that stay.

    Args:
        client: Counts the tokens, if the server is to count them.
        compaction: The limits; its `count_tokens` is given if tokens are limited.
        history: The history.
    """
    places, view = history.view()
    limits = TurnLimits(
        turns=compaction.max_turns,
        tokens=compaction.max_tokens,
        count_tokens=compaction.count_tokens,
        from_compaction=True,
    )
    if compaction.has_limits and await start_of_newest(client, limits, view, is_all=True) == 0:
        return None
    half = None if compaction.max_tokens is None else compaction.max_tokens // 2
    kept = TurnLimits(turns=compaction.keep_turns, tokens=half, count_tokens=compaction.count_tokens)
    newest = newest_compaction(view)
    after = 0 if newest is None else newest + 1
    cut = after + (await start_of_newest(client, kept, view[after:], is_all=True) or 0)
    cut = _storable_again(history, places, view, cut)
    while cut > after and is_retained(view[cut - 1]):  # reads keep it before the compaction item, as it is
        cut -= 1
    if cut == after or _waits_for_output(view, cut):
        return None
    complete = complete_items((), view[:cut], is_whole=True)
    replayed = to_replay([view[place] for place in complete])
    replaced = [item for item in replayed if not is_unknown_reasoning(item)]  # of another provider's model
    stored_cut = places[cut] if cut < len(places) else len(history.stored)
    fitting = replace(limits, tokens=half, from_compaction=False)
    return Plan(history, replaced, stored_cut, fitting, compaction.delete_replaced)


def _storable_again(history: History, places: Sequence[int], view: Sequence[Item], cut: int) -> int:
    """Return the first position from `cut` on that starts turns whose items can all be stored again."""
    kept_ids = [place for place in range(cut, len(view)) if "id" in sent_form(history.stored[places[place]])]
    if not kept_ids:
        return cut
    starts = [start for start, _ in turn_starts(view, is_all=True) if start > kept_ids[-1]]
    return min(starts, default=len(view))


def _waits_for_output(view: Sequence[Item], cut: int) -> bool:
    """Return whether a call of the newest turn, which waits for its output, is before a position."""
    newest = next((start for start, _ in turn_starts(view, is_all=True)), 0)
    return any(newest <= place < cut for place in open_calls(view))


async def request_compaction(
    client: ConversationsClient, compaction: Compaction, plan: Plan
) -> tuple[list[Item], Mapping[str, Any]]:
    """Have the server compact, and return its items in replay form, and its usage.

    Of the user's messages, which the server returns with the compaction item, the newest stay that fit into
    half of `max_tokens`, and into `max_turns`, together with the newest turns.

    Raises:
        CompactionError: The server cannot compact.
        InvalidResponseError: It returned no compaction item.
    """
    body: dict[str, Any] = {"model": compaction.model, "input": plan.replaced}
    if compaction.instructions is not None:
        body["instructions"] = compaction.instructions
    answer = await client.compact(body)
    items = to_replay(answer["output"])
    end = newest_compaction(items) or 0
    newest = [item for item in plan.history.opened[plan.cut :] if item is not None]
    fitting = await start_of_newest(client, plan.limits, [*items[:end], *newest], is_all=True) or 0
    usage = answer.get("usage")
    return items[min(fitting, end) :], usage if isinstance(usage, dict) else {}


async def store_compacted(
    locked: LockedConversation, plan: Plan, output: Sequence[Item], forms: ItemForms
) -> CompactedHistory:
    """Write the compaction item and the newest turns behind the history, and delete their old copies.

    Raises:
        ConversationChangedError: Others have written since the history was read. Nothing was changed.
        Exception: A request failed. Nothing was changed.
    """
    await settle_all(locked)
    history = plan.history
    await _expect_unchanged(locked, history)
    newest = to_stored(to_replay(forms.renewed(history.stored[plan.cut :]), form=sent_form))
    start = 0 if plan.deletes_replaced else plan.cut
    old = [
        str(item["id"])
        for place, item in enumerate(history.stored)
        if place >= start and (place >= plan.cut or history.opened[place] is not None)
    ]
    sealed, compaction = forms.sealed(output), newest_compaction(output) or 0
    locked.known.revision = object()
    try:
        ids = await append_and_delete(
            locked,
            [*sealed, *newest],
            [old[:-1], old[-1:]],  # reads keep the user's messages that are left before the new items
            behind=history.newest_id,
            split=compaction,
        )
    except OvertakenError as error:
        raise _changed(history, locked.conversation_id, error.item_id) from None
    return CompactedHistory(ids[compaction], ids, tuple(old))


async def _expect_unchanged(locked: LockedConversation, history: History) -> None:
    if locked.conversation_id != history.conversation_id:
        raise _changed(history, locked.conversation_id, None)
    now = newest_id(await locked.newest(1))
    if now != history.newest_id:
        raise _changed(history, locked.conversation_id, now)


def _changed(history: History, conversation_id: str, now: str | None) -> ConversationChangedError:
    return ConversationChangedError(
        history.conversation_id, history.newest_id, conversation_id, now, during="compaction"
    )


async def undo_compaction(locked: LockedConversation, result: CompactedHistory) -> None:
    """Undo a compaction that had succeeded when its caller was cancelled, if it has deleted nothing."""
    if not result.replaced_ids:
        await delete_appended(locked, Receipt(locked.conversation_id, stored=result.item_ids))


class Compacting(Protocol):
    """A session that can be compacted."""

    def compact(self) -> Coroutine[Any, Any, CompactedHistory | None]:
        """Compact the history, if it is due."""
        ...


async def compact_after_turn(session: Compacting) -> None:
    """Compact the history of a session if it is due; log a failure, as the turn is stored."""
    try:
        await session.compact()
    except Exception as error:  # noqa: BLE001 -- whatever it was, the turn is stored
        logger.warning("%r: the history was not compacted: %s: %s", session, type(error).__name__, error)
