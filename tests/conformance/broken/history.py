"""Sessions broken in order, adding, popping or clearing, or in every way."""

import asyncio

from tests.conformance.broken.mark import caught_by
from tests.conformance.memory import MemorySession


@caught_by("empty_history_reads_as_empty_list")
class GivesNoneWhenEmpty(MemorySession):
    async def get_items(self, limit=None):
        return await super().get_items(limit) or None


@caught_by("empty_history_pops_none")
class RaisesWhenPoppedEmpty(MemorySession):
    async def pop_item(self):
        return self.history.pop()


@caught_by("empty_history_clears")
class RaisesWhenClearedEmpty(MemorySession):
    async def clear_session(self):
        del self.histories[self.history_id]


@caught_by("items_keep_their_order", "many_items_in_one_call_are_kept")
class DropsTheLastOfACall(MemorySession):
    async def store(self, items):
        await super().store(items[: max(1, len(items) - 1)])


@caught_by("items_keep_their_order", "limit_none_gives_all", "limit_gives_the_newest_in_order")
class ReadsNewestFirst(MemorySession):
    async def get_items(self, limit=None):
        return (await super().get_items(limit))[::-1]


@caught_by("calls_keep_their_order")
class PutsLaterCallsInFront(MemorySession):
    async def store(self, items):
        self.history[:0] = items


@caught_by("pop_takes_newest_until_none")
class PopsTheOldest(MemorySession):
    async def pop_item(self):
        return self.history.pop(0) if self.history else None


@caught_by("pop_takes_newest_until_none")
class PopsWithoutRemoving(MemorySession):
    async def pop_item(self):
        return self.history[-1] if self.history else None


@caught_by("pop_gives_what_was_added")
class AddsIdsToWhatIsPopped(MemorySession):
    async def pop_item(self):
        item = await super().pop_item()
        return item and {**item, "id": "msg_1"}


@caught_by("items_added_after_pop_follow_the_rest")
class RestoresThePoppedWhenAdding(MemorySession):
    popped = ()

    async def pop_item(self):
        item = await super().pop_item()
        self.popped = (item,) if item else ()
        return item

    async def store(self, items):
        await super().store([*self.popped, *items])


@caught_by("clear_removes_every_item")
class DoesNotClear(MemorySession):
    async def clear_session(self):
        pass


@caught_by("cleared_session_takes_items")
class IsOverWhenCleared(MemorySession):
    cleared = False

    async def clear_session(self):
        await super().clear_session()
        self.cleared = True

    async def store(self, items):
        if self.cleared:
            raise RuntimeError("the session is cleared")
        await super().store(items)


@caught_by("adding_no_items_changes_nothing")
class RefusesNoItems(MemorySession):
    async def add_items(self, items):
        await super().add_items([*items[:1], *items[1:]] if items[0] else [])


@caught_by("many_items_in_one_call_are_kept")
class TakesTwentyItemsOfACall(MemorySession):
    async def store(self, items):
        await super().store(items[:20])


@caught_by("long_history_reads_whole", "limit_above_a_page_gives_the_newest")
class ReadsOnePage(MemorySession):
    def newest(self, items, limit):
        return super().newest(items, min(100, 100 if limit is None else limit))


@caught_by("session_id_is_stable")
class ChangesItsId(MemorySession):
    @property
    def session_id(self):
        return f"{super().session_id}, {len(self.history)} items"


@caught_by("items_keep_their_order", "concurrent_adds_lose_nothing", "arguments_are_left_alone")
class Raises(MemorySession):
    async def add_items(self, items):
        raise OSError("disk full")


@caught_by("empty_history_reads_as_empty_list", "items_are_plain_json")
class CancelsItself(MemorySession):
    async def get_items(self, limit=None):
        raise asyncio.CancelledError


@caught_by("items_keep_their_order", "clear_removes_every_item")
class Hangs(MemorySession):
    async def add_items(self, items):
        await asyncio.Event().wait()
