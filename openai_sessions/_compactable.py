"""A history as the compaction of the Agents SDK reads and replaces it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from openai_sessions import _agents
from openai_sessions._arguments import checked_items, checked_limit
from openai_sessions._history import KnownHistory, copied
from openai_sessions._holding import Held
from openai_sessions._identity import Identity
from openai_sessions._items import to_replay, to_stored
from openai_sessions._operations import operation
from openai_sessions._removing import replace_items
from openai_sessions._settling import settle_all
from openai_sessions._types import Item
from openai_sessions._unread import UnreadItems

if TYPE_CHECKING:
    from openai.types.responses import ResponseInputItemParam


class CompactableHistory(Identity):
    """The part of a session that the Agents SDK looks for by private names."""

    _ignore_ids_for_matching = True  # the Agents SDK then compares items without their ids

    _history: KnownHistory | None
    _unread: UnreadItems

    async def _read(self, limit: int | None) -> list[Item]:
        wanted = checked_limit(_agents.limit_of(self.session_settings) if limit is None else limit)
        if wanted is not None and wanted <= 0:
            return []

        async def read(held: Held) -> list[Item]:
            await settle_all(held)
            return await held.newest(wanted, self._history)

        items = to_replay(await self._conversation.run(read) or [])
        return items if self._history is None else list(copied(items))

    @operation(arguments=["limit"], gives="read", items=lambda read: read[0])
    async def _read_compaction_items(self, limit: int | None) -> tuple[list[Item], bool]:
        """Return the history as the Agents SDK's compaction asks for it, and whether that is all of it."""
        items = await self._read(limit)
        return self._unread.restored_in(items), limit is not None and len(items) < limit

    @operation(takes="items")
    async def _atomic_replace_items(self, items: Sequence[ResponseInputItemParam]) -> bool:
        """Replace the history as the Agents SDK's compaction asks for it, keeping the conversation id."""
        written = to_stored(checked_items(items))
        await self._conversation.run(lambda held: replace_items(held, written), create=bool(written))
        return True
