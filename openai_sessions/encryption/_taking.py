"""Taking the newest item that can be read, without losing those above it that cannot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openai_sessions._locking import FairLock
from openai_sessions._owned import InterruptedOperationError, Interruption, run_owned
from openai_sessions._types import Item
from openai_sessions.encryption._envelope import Sealer
from openai_sessions.encryption._skipped import Unreadable


class Taker:
    """Pops envelopes of a session until one can be opened, and puts the others back.

    Args:
        session: The session that holds the envelopes.
        sealer: Opens them.
    """

    __slots__ = ("_lock", "_out", "_sealer", "_session")

    def __init__(self, session: Any, sealer: Sealer) -> None:
        self._session = session
        self._sealer = sealer
        self._lock = FairLock()
        self._out: list[Item] = []  # popped and not put back, oldest first

    @property
    def left(self) -> int:
        """How many envelopes an earlier call has popped and could not put back."""
        return len(self._out)

    async def take(self) -> Item | None:
        """Remove the newest item that can be opened and return it, and remove expired ones above it."""
        async with self._lock.held():
            taken = await run_owned(self._take, undo=self._undo)
        return None if taken is None else taken[1]

    async def put_back(self) -> None:
        """Put back what an earlier call has popped and could not put back."""
        if self._out:
            async with self._lock.held():
                await self._append(self._out)
                self._out.clear()

    async def forget(self) -> None:
        """Put nothing back: the history is to be deleted."""
        if self._out:
            async with self._lock.held():
                self._out.clear()

    async def _take(self, interruption: Interruption) -> tuple[Item, Item] | None:
        """Return an envelope that was popped, and its item."""
        interruption.has_begun = True
        await self._append(self._out)
        self._out.clear()
        while (envelope := await self._session.pop_item()) is not None:
            opened = self._sealer.open(envelope)
            if opened is Unreadable.EXPIRED:
                continue
            self._out.insert(0, envelope)
            if interruption.is_set():
                break
            if isinstance(opened, dict):
                await self._append(self._out[1:])
                self._out.clear()
                return envelope, opened
        await self._append(self._out)
        self._out.clear()
        if interruption.is_set():
            raise InterruptedOperationError
        return None

    async def _undo(self, taken: tuple[Item, Item] | None) -> None:
        """Undo a pop that had succeeded when its caller was cancelled."""
        if taken is not None:
            self._out.append(taken[0])
            await self._append(self._out)
            self._out.clear()

    async def _append(self, envelopes: Sequence[Item]) -> None:
        if envelopes:
            await self._session.add_items(list(envelopes))
