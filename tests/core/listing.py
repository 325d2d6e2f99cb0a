"""A conversation whose pages are listed as the API does, for tests that look at each request for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from openai_sessions import OpenAIConversationsSession
from tests.wire import FAST, Call, Wire, arguments, not_found, page

TURNS = 200
"""Turns of the event loop that an answer takes: more than any client needs between two requests."""


@dataclass
class Asked:
    """One request for a page, and when it was under way, by a clock that ticks at each start and end."""

    order: str
    after: str | None
    started: int
    ended: int = 0


class ItemList:
    """A conversation of messages m0, m1, … on a server of its own.

    Args:
        count: How many messages it has.
        silent: Answer the first page for a cursor that is gone, as some servers do; else 404.
    """

    def __init__(self, count: int, *, silent: bool = False) -> None:
        self.ids = [f"m{number}" for number in range(count)]
        self.asked: list[Asked] = []
        self.before_answer: Callable[[Asked], object] = lambda _: None
        self._silent = silent
        self._clock = 0
        self.wire = Wire(self._answer)

    def session(self, **options) -> OpenAIConversationsSession:
        return OpenAIConversationsSession(
            conversation_id="conv_1",
            openai_client=self.wire.client,
            **arguments(**{"retry_policy": FAST, **options}),
        )

    def forget(self) -> None:
        """Begin a new count of requests."""
        self.asked.clear()

    @property
    def cursors(self) -> list[tuple[str, str | None]]:
        """The order and the cursor of each page that was asked for."""
        return [(asked.order, asked.after) for asked in self.asked]

    @property
    def depth(self) -> int:
        """The longest chain of requests of which each began after the one before had ended."""
        depths: list[int] = []
        for asked in self.asked:
            before = [
                depth for depth, other in zip(depths, self.asked, strict=False) if other.ended < asked.started
            ]
            depths.append(1 + max(before, default=0))
        return max(depths, default=0)

    @property
    def most_at_once(self) -> int:
        """How many requests were under way at the same time."""
        return max(
            sum(other.started <= asked.started < other.ended for other in self.asked) for asked in self.asked
        )

    def _tick(self) -> int:
        self._clock += 1
        return self._clock

    async def _answer(self, call: Call):
        if not call.path.endswith("/items"):
            return 200, {"id": "conv_1"}
        asked = Asked(call.query["order"][0], call.query.get("after", [None])[0], self._tick())
        self.asked.append(asked)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        self.before_answer(asked)
        asked.ended = self._tick()
        return self._page(asked, int(call.query["limit"][0]))

    def _page(self, asked: Asked, limit: int):
        ids = self.ids if asked.order == "asc" else self.ids[::-1]
        if asked.after is not None and asked.after not in ids and not self._silent:
            return not_found()
        start = ids.index(asked.after) + 1 if asked.after in ids else 0
        return page(*ids[start : start + limit], has_more=start + limit < len(ids))


def texts(items: list) -> list[str]:
    return [item["content"] for item in items]
