"""Sessions broken where there are several."""

import copy

from tests.conformance.broken.mark import caught_by
from tests.conformance.memory import MemorySession


@caught_by("sessions_do_not_share_items")
class SharesOneHistory(MemorySession):
    def create(self):
        self.history_id = "the only one"
        self.histories.setdefault(self.history_id, [])


@caught_by("unused_session_creates_nothing")
class CreatesWhenRead(MemorySession):
    async def get_items(self, limit=None):
        self.create()
        return await super().get_items(limit)


@caught_by("reopened_session_reads_the_history")
class IsEmptyWhenReopened(MemorySession):
    def __init__(self, histories, history_id=None):
        super().__init__({}, history_id)


@caught_by("reopened_sessions_see_each_other")
class RemembersWhatItRead(MemorySession):
    read = None

    async def get_items(self, limit=None):
        if self.read is None:
            self.read = await super().get_items(limit)
        return self.newest(copy.deepcopy(self.read), limit)
