"""An encrypted history of any length, item by item."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from openai_sessions._items import to_replay
from openai_sessions._streaming import whole_until
from openai_sessions._types import Item
from openai_sessions.encryption._skipped import SkippedItems, Unreadable

if TYPE_CHECKING:
    from openai.types.responses import ResponseInputItemParam

_AT_A_TIME = 100
"""How many items are decrypted before they are given."""


async def opened_items(
    envelopes: AsyncGenerator[Any, None],
    open_envelope: Callable[[object], Item | Unreadable],
    on_skipped: Callable[[SkippedItems], object],
) -> AsyncGenerator[ResponseInputItemParam, None]:
    """Give the items in envelopes, in replay form, without those that cannot be opened.

    Args:
        envelopes: What the underlying session gives.
        open_envelope: Returns the item in an envelope.
        on_skipped: Called at the end with the numbers of those that were left out.
    """
    items: list[Item] = []
    skipped = SkippedItems()
    async with aclosing(envelopes):
        async for envelope in envelopes:
            opened = open_envelope(envelope)
            if isinstance(opened, Unreadable):
                skipped += SkippedItems.counted([opened])
                continue
            items.append(opened)
            end = whole_until(items) if len(items) >= _AT_A_TIME else 0
            for item in to_replay(items[:end]):
                yield cast("ResponseInputItemParam", item)
            del items[:end]
    on_skipped(skipped)
    for item in to_replay(items):
        yield cast("ResponseInputItemParam", item)
