"""Appending, popping, clearing and replacing the items of a conversation."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from openai_sessions._gateway import Gateway, NotFoundError
from openai_sessions._planning import batches
from openai_sessions._reading import read_items
from openai_sessions._types import Item

_DELETES_AT_A_TIME = 8


async def append_items(gateway: Gateway, conversation_id: str, items: Sequence[Item]) -> None:
    """Append items in order, in requests of at most 20.

    A request that fails ends the append with its error: requests before it stay stored.
    """
    for batch in batches(items):
        await gateway.create_items(conversation_id, batch)


async def pop_newest(gateway: Gateway, conversation_id: str) -> Item | None:
    """Delete the newest item and return it as listed, or None when there is none.

    When another process deletes the item first, the next one is taken.
    """
    while newest := await read_items(gateway, conversation_id, limit=1):
        try:
            await gateway.delete_item(conversation_id, newest[0]["id"])
        except NotFoundError:
            continue
        return newest[0]
    return None


async def delete_conversation(gateway: Gateway, conversation_id: str) -> None:
    """Delete a conversation; one that is gone already is as good."""
    try:
        await gateway.delete_conversation(conversation_id)
    except NotFoundError:
        return


async def replace_items(gateway: Gateway, conversation_id: str, items: Sequence[Item]) -> None:
    """Put items in the place of the whole history, under the same conversation id.

    The new items are stored before the first old one is deleted, so that a crash at any point loses
    nothing. Until it is done, readers in other processes see both.
    """
    old = await read_items(gateway, conversation_id, limit=None)
    await append_items(gateway, conversation_id, items)
    await delete_items(gateway, conversation_id, [item["id"] for item in reversed(old)])


async def delete_items(gateway: Gateway, conversation_id: str, item_ids: Sequence[str]) -> None:
    """Delete items in the order given, eight at a time; those that are gone already are as good."""
    limiter = anyio.CapacityLimiter(_DELETES_AT_A_TIME)

    async def delete(item_id: str) -> None:
        async with limiter:
            try:
                await gateway.delete_item(conversation_id, item_id)
            except NotFoundError:
                return

    async with anyio.create_task_group() as tasks:
        for item_id in item_ids:
            tasks.start_soon(delete, item_id)
