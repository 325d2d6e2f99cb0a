"""Repairing a history and going back in it: what to delete is chosen by ids from one listing.

Nothing that another process stores after that listing is deleted. What is appended is stored before the first
item is deleted. A deletion that fails leaves a receipt, which only `settle(receipt)` uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from openai_sessions._conversation.locked import LockedConversation, settle_all
from openai_sessions._conversation.writing import append_behind
from openai_sessions._items.forms import checked_item, sent_form, to_replay
from openai_sessions._items.repairs import (
    RepairPlan,
    RepairReport,
    missing_partners,
    plan_closing,
    plan_repair,
    repaired,
    torn_by_replacing,
)
from openai_sessions._items.types import Item
from openai_sessions.errors import InvalidItemError, ItemNotFoundError, SplitItemsError

Cut = Callable[[str, Sequence[Item]], int]
"""Returns how many items of a conversation, given its id and all items as listed, are kept."""


@dataclass(frozen=True, slots=True)
class DeletedItems:
    """Items that were deleted.

    Attributes:
        item_ids: The ids under which they were stored, oldest first.
        items: The items in replay form, oldest first. Reasoning that led to nothing is not among them.
    """

    item_ids: tuple[str, ...] = ()
    items: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplacedItems:
    """Items that were stored again.

    Attributes:
        new_ids: The new id of each item, by its old id, oldest first: that of the item that was replaced, and
            those of all that followed it.
    """

    new_ids: Mapping[str, str] = field(default_factory=dict)


async def check_history(locked: LockedConversation) -> RepairReport:
    """Return what is wrong with a history."""
    await settle_all(locked)
    plan = plan_repair(await locked.newest(None))
    return RepairReport(locked.conversation_id, plan.findings)


async def repair_history(locked: LockedConversation) -> RepairReport:
    """Repair a history, as `plan_repair` says.

    Raises:
        UnfinishedDeletionError: The calls were closed, and some items could not be deleted.
        Exception: The calls could not be closed; nothing was changed.
    """
    await settle_all(locked)
    return await _carry_out(locked, plan_repair(await locked.newest(None)))


async def close_calls(locked: LockedConversation, items: Sequence[Item]) -> RepairReport:
    """Close the open calls among the newest items, and remove those that cannot be closed.

    Args:
        locked: The conversation.
        items: The newest items as listed, oldest first; the outputs are appended to the conversation.

    Raises:
        UnfinishedDeletionError: The calls were closed, and some items could not be deleted.
        Exception: The calls could not be closed; nothing was changed.
    """
    await settle_all(locked)
    await locked.know_the_tail()
    return await _carry_out(locked, plan_closing(items))


async def _carry_out(locked: LockedConversation, plan: RepairPlan) -> RepairReport:
    appended = await append_behind(locked, plan.outputs)
    if plan.removed:
        await locked.delete_chosen(plan.removed)
    found = RepairReport(locked.conversation_id, plan.findings)
    return repaired(found, appended=appended, deleted=plan.removed)


async def rewind_history(locked: LockedConversation, cut: Cut) -> DeletedItems:
    """Delete the items after a cut.

    Raises:
        CutPointError: There is no such point; nothing was deleted.
        UnfinishedDeletionError: Some items could not be deleted.
    """
    await settle_all(locked)
    items = await locked.newest(None)
    return await _delete(locked, items[cut(locked.conversation_id, items) :])


async def delete_named(locked: LockedConversation, item_ids: Sequence[str]) -> DeletedItems:
    """Delete items, unless that would separate items that belong together.

    Raises:
        ItemNotFoundError: Some ids are not in the conversation; nothing was deleted.
        SplitItemsError: Other items would lose their counterpart; nothing was deleted.
        UnfinishedDeletionError: Some items could not be deleted.
    """
    await settle_all(locked)
    items = await locked.newest(None)
    wanted = frozenset(item_ids)
    _expect(locked, items, item_ids)
    if partners := missing_partners(items, wanted):
        raise SplitItemsError(
            locked.conversation_id, partners, f"Delete them too: add {', '.join(map(repr, partners))}."
        )
    return await _delete(locked, [item for item in items if item.get("id") in wanted])


async def _delete(locked: LockedConversation, items: Sequence[Item]) -> DeletedItems:
    ids = tuple(str(item["id"]) for item in items)
    if ids:
        await locked.delete_chosen(ids)
    return DeletedItems(ids, tuple(to_replay(items)))


async def replace_item(locked: LockedConversation, item_id: str, new: Item) -> ReplacedItems:
    """Store an item, and all that follow it, again behind the history, and delete the old ones.

    Args:
        locked: The conversation.
        item_id: The item to be replaced.
        new: The item in its place, in sent form.

    Raises:
        ItemNotFoundError: The conversation does not have the item; nothing was changed.
        SplitItemsError: Items would lose their counterpart; nothing was changed.
        InvalidItemError: One of the items cannot be stored again; nothing was changed.
        UnfinishedDeletionError: The items are stored, and some of the old ones could not be deleted.
        Exception: The items could not be stored; nothing was changed.
    """
    await settle_all(locked)
    items = await locked.newest(None)
    _expect(locked, items, [item_id])
    ids = [str(item["id"]) for item in items]
    position = ids.index(item_id)
    if partners := torn_by_replacing(items, position, new):
        raise SplitItemsError(locked.conversation_id, partners, _REMEDY)
    written = [new, *map(sent_form, items[position + 1 :])]
    for place, item in enumerate(written, position):
        _check_storable_again(place, item, ids)
    appended = await append_behind(locked, written)
    await locked.delete_chosen(ids[position:], to_the_end=True)
    return ReplacedItems(dict(zip(ids[position:], appended, strict=True)))


_REMEDY = (
    "Keep the type and the call_id of a call and of an output. Reasoning without encrypted content cannot be "
    "separated from what it led to: rewind to the item before it, and add the items that you want instead."
)


def _expect(locked: LockedConversation, items: Sequence[Item], item_ids: Sequence[str]) -> None:
    present = {item.get("id") for item in items}
    if missing := [item_id for item_id in item_ids if item_id not in present]:
        raise ItemNotFoundError(locked.conversation_id, missing)


def _check_storable_again(place: int, item: Item, ids: Sequence[str]) -> None:
    """Refuse an item that keeps its id: it is stored until the copy is.

    Raises:
        InvalidItemError: It cannot be stored while the old one is.
    """
    if item.get("id") in ids:
        kind = item.get("type")
        reason = f"an item of type {kind!r} keeps its id, and {item['id']} is stored until its copy is"
        raise InvalidItemError(place, reason, outcome="Nothing was changed")
    checked_item(place, item)
