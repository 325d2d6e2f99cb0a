"""The floor: a client that only sends requests, receives bytes, and decodes them."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import jiter
import openai

from openai_sessions._items.types import INCLUDE
from tools.bench.workload import batches

KEY = "sk-bench"
PAGE = 100
IN_FLIGHT = 16
"""The number of pages of a history that are requested at the same time."""


@dataclass(frozen=True, slots=True)
class History:
    """A conversation and the ids of its items."""

    conversation_id: str
    ids: tuple[str, ...]


class BareClient:
    """Sends the requests of a session with the HTTP library that openai uses.

    Args:
        base_url: The base URL of the API.
    """

    def __init__(self, base_url: str) -> None:
        family = importlib.import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__.split(".")[0])
        self._base_url = base_url
        self._client = family.AsyncClient(
            headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, timeout=60
        )

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def warm_up(self, connections: int) -> None:
        """Open this number of connections."""
        await asyncio.gather(*(self._get("/conversations/none", status=404) for _ in range(connections)))

    async def fill(self, number: int) -> History:
        """Create a conversation with this number of items."""
        created = await self._post("/conversations", {"items": []})
        answers = [await self.add(created["id"], batch) for batch in batches(number)]
        return History(created["id"], tuple(item["id"] for answer in answers for item in answer["data"]))

    async def add(self, conversation_id: str, batch: Sequence[Any]) -> Any:
        """Add at most 20 items."""
        return await self._post(f"/conversations/{conversation_id}/items", {"items": batch})

    async def read_from_both_ends(self, history: History) -> None:
        """Fetch the first page, then the rest two pages at a time."""
        first, *rest = list(_pages(history))
        count = await self._count(first)
        from_the_start, from_the_end = rest[: (len(rest) + 1) // 2], _backwards(history, len(rest) // 2)
        for ascending in from_the_start:
            pair = [ascending, *from_the_end[:1]]
            from_the_end = from_the_end[1:]
            count += sum(await asyncio.gather(*map(self._count, pair)))
        _check(count, len(history.ids))

    async def read_at_once(self, history: History) -> None:
        """Fetch all pages, sixteen at a time."""
        one_of_some = at_once(IN_FLIGHT)
        counts = await asyncio.gather(*(one_of_some(self._count(page)) for page in _pages(history)))
        _check(sum(counts), len(history.ids))

    async def read_newest(self, history: History, number: int) -> None:
        """Fetch the newest items in one request."""
        _check(await self._count(_path(history, limit=number, order="desc")), number)

    async def append(self, history: History, number: int) -> None:
        """Add items, 20 in each request, one after another."""
        for batch in batches(number):
            await self.add(history.conversation_id, batch)

    async def _count(self, path: str) -> int:
        return len((await self._get(path))["data"])

    async def _get(self, path: str, *, status: int = 200) -> Any:
        return _decoded(await self._client.get(self._base_url + path), status)

    async def _post(self, path: str, body: Any) -> Any:
        return _decoded(await self._client.post(self._base_url + path, json=body), 200)


def at_once(limit: int) -> Callable[[Awaitable[Any]], Awaitable[Any]]:
    """Return a function that awaits its argument, at most `limit` at the same time."""
    semaphore = asyncio.Semaphore(limit)

    async def wait(each: Awaitable[Any]) -> Any:
        async with semaphore:
            return await each

    return wait


def _decoded(response: Any, status: int) -> Any:
    if response.status_code != status:
        raise RuntimeError(f"{response.request.url} returned {response.status_code}")
    return jiter.from_json(response.content)


def _check(count: int, expected: int) -> None:
    if count != expected:
        raise RuntimeError(f"expected {expected} items, got {count}")


def _path(history: History, **query: object) -> str:
    pairs = [*query.items(), *(("include[]", value) for value in INCLUDE)]
    return f"/conversations/{history.conversation_id}/items?{urlencode(pairs)}"


def _pages(history: History) -> Iterator[str]:
    yield _path(history, limit=PAGE, order="asc")
    for start in range(PAGE, len(history.ids), PAGE):
        yield _path(history, limit=PAGE, order="asc", after=history.ids[start - 1])


def _backwards(history: History, number: int) -> list[str]:
    """Return the paths of the last `number` pages, newest first; the newest may be a short page."""
    pages = []
    end = len(history.ids)
    for _ in range(number):
        start = (end - 1) // PAGE * PAGE
        cursor = {} if end == len(history.ids) else {"after": history.ids[end]}
        pages.append(_path(history, limit=end - start, order="desc", **cursor))
        end = start
    return pages
