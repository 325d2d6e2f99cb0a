"""Sessions broken in reads with a limit."""

from tests.conformance.broken.mark import caught_by
from tests.conformance.memory import MemorySession


@caught_by("limit_zero_gives_none")
class TakesZeroForNoLimit(MemorySession):
    def newest(self, items, limit):
        return super().newest(items, limit or None)


@caught_by("limit_below_zero_gives_none")
class TakesNegativeForNoLimit(MemorySession):
    def newest(self, items, limit):
        return super().newest(items, None if limit is not None and limit < 0 else limit)


@caught_by("limit_one_gives_the_newest", "limit_gives_the_newest_in_order")
class GivesTheOldest(MemorySession):
    def newest(self, items, limit):
        return items if limit is None else items[: max(0, limit)]


@caught_by("limit_of_all_gives_all")
class StopsBeforeTheLimit(MemorySession):
    def newest(self, items, limit):
        return super().newest(items, limit - 1 if limit == len(items) else limit)


@caught_by("limit_above_all_gives_all")
class RefusesALimitAboveAll(MemorySession):
    def newest(self, items, limit):
        return [items[-index] for index in range(limit or len(items), 0, -1)]


@caught_by("limit_of_any_size_gives_all")
class RefusesAHugeLimit(MemorySession):
    def newest(self, items, limit):
        return super().newest(
            items, limit and int.from_bytes(limit.to_bytes(2, "big", signed=True), "big", signed=True)
        )


@caught_by("settings_limit_holds_without_another")
class IgnoresItsSettings(MemorySession):
    async def get_items(self, limit=None):
        return [self.out(item) for item in self.newest(self.history, limit)]


@caught_by("explicit_limit_beats_settings")
class PutsItsSettingsFirst(MemorySession):
    async def get_items(self, limit=None):
        return await super().get_items(self.session_settings.limit or limit)
