"""A session in memory that does all that a session must, made of steps for a broken one to replace."""

import asyncio
import copy
import itertools
from dataclasses import dataclass

_ids = itertools.count(1)


@dataclass
class Settings:
    limit: int | None = None


class MemorySession:
    """Keeps each history in a list that sessions of the same id share."""

    def __init__(self, histories, history_id=None):
        self.histories = histories
        self.history_id = history_id
        self.session_settings = Settings()

    @property
    def session_id(self):
        if self.history_id is None:
            raise ValueError("nothing has been stored")
        return self.history_id

    @property
    def history(self):
        return self.histories.get(self.history_id, [])

    @classmethod
    def maker(cls):
        """Return a maker of sessions, and a function that reopens one."""
        histories = {}
        return lambda: cls(histories), lambda session: cls(histories, session.session_id)

    async def get_items(self, limit=None):
        limit = self.session_settings.limit if limit is None else limit
        return [self.out(item) for item in self.newest(self.history, limit)]

    async def add_items(self, items):
        if items:
            self.create()
            await self.store([self.into(item) for item in items])

    async def pop_item(self):
        await asyncio.sleep(0)
        return self.out(self.history.pop()) if self.history else None

    async def clear_session(self):
        self.histories.pop(self.history_id, None)

    def create(self):
        self.history_id = self.history_id or f"history {next(_ids)}"
        self.histories.setdefault(self.history_id, [])

    async def store(self, items):
        await asyncio.sleep(0)
        self.history.extend(items)

    def newest(self, items, limit):
        return items if limit is None else items[max(0, len(items) - max(0, limit)) :]

    def into(self, item):
        return copy.deepcopy(item)

    def out(self, item):
        return copy.deepcopy(item)
