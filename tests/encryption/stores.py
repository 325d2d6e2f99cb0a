"""Helpers of the encryption tests: keys, a clock, a plain session."""

from dataclasses import dataclass

KEY = "PYoP8Q2wWW0nFM3mRJjB5Cvs4ZrQd0SnVn4rDnBfGiA="
OTHER_KEY = "6Lr5mGgyGkCq2bqf3NjWcQv1oT8yUxEoJ0zAhK4sXdI="

HELLO = {"role": "user", "content": "Hello"}
HI = {"role": "assistant", "content": "Hi there!"}


@dataclass
class Clock:
    """A clock that a test sets, in Unix seconds."""

    now: float = 1_760_000_000.0

    def __call__(self):
        return self.now


class ListSession:
    """A session in a list, which a test may read and change, and whose methods can be made to fail.

    Attributes:
        items: The stored items.
        failing: The names of the methods whose next call raises.
        calls: The names of the methods called.
    """

    def __init__(self, session_id="list"):
        self.session_id = session_id
        self.session_settings = None
        self.items = []
        self.failing = []
        self.calls = []

    async def get_items(self, limit=None):
        self._call("get_items")
        return [dict(item) for item in (self.items if limit is None else self.items[-limit:])]

    async def add_items(self, items):
        self._call("add_items")
        self.items += items

    async def pop_item(self):
        self._call("pop_item")
        return self.items.pop() if self.items else None

    async def clear_session(self):
        self._call("clear_session")
        self.items.clear()

    def _call(self, name):
        self.calls.append(name)
        if name in self.failing:
            self.failing.remove(name)
            raise ConnectionError(name)


def texts(items):
    return [item["content"] for item in items]


def said(*words):
    return [{"role": "user", "content": word} for word in words]
