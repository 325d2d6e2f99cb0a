"""Taking the newest item, deleting a conversation, and replacing a history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from openai_sessions._conversation import TakenItem
from openai_sessions._gateway import NotFoundError
from openai_sessions._holding import Held
from openai_sessions._owned import InterruptedOperationError
from openai_sessions._policy import Outcome
from openai_sessions._settling import settle_all
from openai_sessions._types import Item
from openai_sessions._writing import append_to_tail

Progress = Callable[[int, int], object]
"""Called with the number of items that are deleted, and how many there were."""

_MAX_LISTINGS = 20
"""How often others may have added items meanwhile before what they add is left to stay."""

_MAX_TAKEN_BY_OTHERS = 20
"""How often another process may be faster before a pop gives up."""


async def pop_newest(held: Held) -> Item | None:
    """Delete the newest item and return it as listed, or None when there is none.

    An item whose deletion got no answer is kept: when it turns out to be gone, the next pop returns
    it. When another process deletes the item first, the next one is taken.
    """
    await settle_all(held)
    taken = await _taken_before(held)
    if taken is not None:
        return taken
    for remaining in reversed(range(_MAX_TAKEN_BY_OTHERS)):
        newest = await held.newest(1)
        if not newest:
            return None
        try:
            return await _take(held, newest[0])
        except NotFoundError:
            held.known.remove([newest[0]["id"]])
            if not remaining:
                raise
    return None


async def _taken_before(held: Held) -> Item | None:
    """Return an item that an earlier pop has removed without returning it."""
    while held.known.taken:
        taken = held.known.taken[0]
        if not taken.is_gone:
            taken.is_gone = not await held.gateway.has_item(held.conversation_id, taken.item["id"])
        held.known.taken.remove(taken)
        if taken.is_gone:
            held.known.remove([taken.item["id"]])
            return taken.item
    return None


async def note_taken(held: Held) -> None:
    """Find out which items failed pops have removed, while no other process can: keep only those."""
    for taken in list(held.known.taken):
        if not taken.is_gone:
            with suppress(Exception):
                taken.is_gone = not await held.gateway.has_item(held.conversation_id, taken.item["id"])
    held.known.taken[:] = [taken for taken in held.known.taken if taken.is_gone]


async def _take(held: Held, item: Item) -> Item:
    """Delete an item and return it; keep it while it is not known whether it was deleted."""
    taken = TakenItem(item, is_gone=False)
    held.known.taken.append(taken)
    held.interruption.has_begun = True
    outcomes: list[Outcome] = []
    try:
        await held.gateway.delete_item(held.conversation_id, item["id"], on_failure=outcomes.append)
    except Exception:
        if Outcome.UNKNOWN not in outcomes:
            held.known.taken.remove(taken)
        raise
    held.known.remove([item["id"]])
    if held.interruption.is_set():
        taken.is_gone = True
        raise InterruptedOperationError
    held.known.taken.remove(taken)
    return item


async def put_back(held: Held, item: Item | None) -> None:
    """Undo a pop that had succeeded when its caller was cancelled: the next pop returns the item."""
    if item is not None:
        held.known.taken.append(TakenItem(item, is_gone=True))


async def delete_conversation(held: Held) -> None:
    """Delete the conversation; one that is gone already is as good. The API keeps its items."""
    held.interruption.has_begun = True
    with suppress(NotFoundError):
        await held.gateway.delete_conversation(held.conversation_id)
    held.known.forget()


async def delete_all_items(held: Held, progress: Progress | None) -> None:
    """Delete every item, newest first, eight at a time, until a second listing shows nothing.

    Raises:
        Exception: A request failed; some items may be left.
    """
    held.interruption.has_begun = True
    done = total = 0

    def count(_: str) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    items = await held.newest(None)
    for _ in range(_MAX_LISTINGS):
        total += len(items)
        await held.delete([item["id"] for item in items], on_deleted=count)
        items = await held.newest(None)
        if not items:
            break
    held.known.settle_everything()


async def replace_items(held: Held, items: Sequence[Item]) -> None:
    """Put items in the place of the whole history, under the same conversation id.

    The new items are stored before the first old one is deleted, so that a crash at any point loses
    nothing. Until it is done, readers in other processes see both.
    """
    await settle_all(held)
    old = await held.newest(None)
    await append_to_tail(held, items)
    await held.delete([item["id"] for item in old])
