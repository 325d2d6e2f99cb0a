"""A world in memory whose sessions break one promise each."""

import asyncio
from collections import defaultdict
from itertools import count


class MemoryWorld:
    """Keeps conversations in memory, without a server; `kind` is the class of its sessions."""

    shares_conversations = True

    def __init__(self, kind):
        self._kind = kind
        self._ids = (f"conv_{number}" for number in count())
        self.conversations = {}
        self.turns = defaultdict(int)
        self.popped = {}
        self.failed = {}

    def session(self, room, conversation_id):
        return self._kind(self, conversation_id)

    async def clear(self, session, choice):
        await session.clear_session()

    async def stored(self, conversation_id):
        texts = self.conversations.get(conversation_id)
        return None if texts is None else list(texts)

    def begin(self):
        conversation_id = next(self._ids)
        self.conversations[conversation_id] = []
        return conversation_id

    def storm(self, seed):
        pass

    def calm(self):
        pass

    def requests(self):
        return []


class Sound:
    """Breaks no promise."""

    def __init__(self, world, conversation_id):
        self._world = world
        self._id = conversation_id

    @property
    def session_id(self):
        if self._id is None:
            raise ValueError
        return self._id

    def is_turn(self, name, every=4):
        """Count the calls of all sessions of the world; every so many, tell that it is time to break."""
        self._world.turns[name] += 1
        return not self._world.turns[name] % every

    @property
    def texts(self):
        try:
            return self._world.conversations[self.session_id]
        except KeyError:
            raise LookupError(self._id) from None

    async def get_items(self, limit=None):
        await asyncio.sleep(0)
        if self._id is None:
            return []
        return [{"content": text} for text in self.show(limit)]

    def show(self, limit):
        return self.texts[-limit:] if limit else list(self.texts)

    async def add_items(self, items):
        await asyncio.sleep(0)
        if self._id is None:
            self._id = self._world.begin()
        self.store([item["content"] for item in items])

    def store(self, texts):
        self.texts.extend(texts)

    async def pop_item(self):
        await asyncio.sleep(0)
        if self._id is None or not self.texts:
            return None
        return {"content": self.take()}

    def take(self):
        return self.texts.pop()

    async def clear_session(self):
        await asyncio.sleep(0)
        self._world.conversations.pop(self._id, None)
        self._id = None


class Drops(Sound):
    def store(self, texts):
        super().store(texts[:-1] if self.is_turn("add") else texts)


class Duplicates(Sound):
    def store(self, texts):
        super().store([*texts, texts[0]] if self.is_turn("add") else texts)


class PopsTwice(Sound):
    def take(self):
        return self.texts[-1] if self.is_turn("pop") else super().take()


class Reverses(Sound):
    def store(self, texts):
        super().store(reversed(texts))


class PutsInFront(Sound):
    def store(self, texts):
        self.texts[:0] = texts


class KeepsAfterError(Sound):
    def store(self, texts):
        super().store(texts)
        if self.is_turn("add"):
            raise ConnectionError


class KeepsAfterCancelling(Sound):
    async def add_items(self, items):
        await super().add_items(items)
        await asyncio.sleep(0.001)


class LosesPops(Sound):
    def take(self):
        text = super().take()
        if self.is_turn("pop"):
            raise ConnectionError
        return text


class ShowsTwice(Sound):
    def show(self, limit):
        shown = super().show(limit)
        return [*shown, *shown[-1:]]


class ShowsTooMany(Sound):
    def show(self, limit):
        return super().show(limit and limit + 1)


class ShowsTheOldest(Sound):
    def show(self, limit):
        return self.texts[:limit]


class ShowsBackwards(Sound):
    def show(self, limit):
        return super().show(limit)[::-1]


class Hides(Sound):
    def show(self, limit):
        return super().show(limit)[:-1]


class HidesTheOldest(Sound):
    def show(self, limit):
        return super().show(limit)[1:]


class ShowsWhatWasPopped(Sound):
    def take(self):
        text = self._world.popped[self._id] = super().take()
        return text

    def show(self, limit):
        popped = self._world.popped.get(self._id)
        return [*super().show(limit), popped][-limit if limit else 0 :] if popped else super().show(limit)


class ShowsWhatFailed(Sound):
    """Stores nothing when an add raises, and shows it all the same."""

    failed = ()

    def store(self, texts):
        if self.is_turn("add"):
            self._world.failed[self._id] = texts
            raise ConnectionError
        super().store(texts)

    def show(self, limit):
        return [*super().show(limit), *self._world.failed.get(self._id, ())]


class Hangs(Sound):
    async def get_items(self, limit=None):
        await asyncio.Event().wait()
