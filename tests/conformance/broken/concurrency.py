"""Sessions broken in calls made at the same time."""

import asyncio
import copy

from tests.conformance.broken.mark import caught_by
from tests.conformance.memory import MemorySession


@caught_by("concurrent_adds_lose_nothing")
class LosesWhatOthersWrite(MemorySession):
    async def store(self, items):
        history = [*self.history, *items]
        await asyncio.sleep(0)
        self.histories[self.history_id] = history


@caught_by("concurrent_adds_lose_nothing", "concurrent_large_adds_stay_together")
class MixesItemsOfCalls(MemorySession):
    async def store(self, items):
        for item in items:
            await super().store([item])


@caught_by("concurrent_large_adds_stay_together")
class MixesRequestsOfCalls(MemorySession):
    async def store(self, items):
        for start in range(0, len(items), 20):
            await super().store(items[start : start + 20])


class LockedByItself(MemorySession):
    """Knows nothing of other sessions on its history."""

    def __init__(self, histories, history_id=None):
        super().__init__(histories, history_id)
        self.lock = asyncio.Lock()


@caught_by("concurrent_adds_of_reopened_sessions_stay_together")
class MixesRequestsOfSessions(LockedByItself):
    async def store(self, items):
        async with self.lock:
            for start in range(0, len(items), 20):
                await super().store(items[start : start + 20])


@caught_by("concurrent_pops_share_no_item", "concurrent_pops_of_reopened_sessions_share_no_item")
class PopsOneItemTwice(MemorySession):
    async def pop_item(self):
        item = self.history[-1] if self.history else None
        await asyncio.sleep(0)
        if item in self.history:
            self.history.remove(item)
        return item


@caught_by("concurrent_pops_of_reopened_sessions_share_no_item")
class PopsOneItemInTwoSessions(LockedByItself):
    async def pop_item(self):
        async with self.lock:
            return await PopsOneItemTwice.pop_item(self)


@caught_by("concurrent_first_adds_make_one_history")
class CreatesAHistoryForEachWriter(MemorySession):
    async def add_items(self, items):
        as_known = copy.copy(self)
        await asyncio.sleep(0)
        as_known.create()
        as_known.history.extend(copy.deepcopy(items))
        self.history_id = as_known.history_id
