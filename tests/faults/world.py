"""An emulator, sessions on it, and what its database really holds."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import openai

from openai_sessions import OpenAIConversationsSession, SessionError
from openai_sessions.emulator import FAULT_KINDS, Fault
from openai_sessions.emulator._faults import FaultKind, OperationName
from openai_sessions.session import RetryBudget
from tests.wire import FAST, HTTP_FAMILY, arguments

FAILURES = (openai.OpenAIError, SessionError)
"""What an operation may raise when the network or the server fails."""

LATE = 0.001
"""Seconds of a late commit: less than FAST.settle_after."""

LOST = frozenset(
    {
        "cut_before",
        "cut_after_commit",
        "late_commit",
        "error_500_before",
        "error_500_after_commit",
        "stall",
        "stall_after_commit",
        "truncated_body",
        "not_json",
    }
)
"""The kinds after which the outcome of a write is unknown."""

LIES = ("empty_page", "stale_page")
"""The kinds of pages that hide items."""

ALWAYS = 99
"""More times than any request is sent."""

LETTERS = {
    "create_conversation": "N",
    "create_items": "P",
    "list_items": "L",
    "retrieve_item": "R",
    "retrieve_conversation": "G",
    "delete_item": "D",
    "delete_conversation": "X",
}
"""The operations, so that the requests of a write are one short word."""


@dataclass(frozen=True)
class Spot:
    """A fault, and the requests that meet it: `times` of an operation after the first `after`."""

    kind: FaultKind
    operation: OperationName
    after: int = 0
    times: int = 1

    def __str__(self) -> str:
        return f"{self.kind}@{self.operation}[{self.after}]x{self.times}"

    def inject(self, emulator: Any) -> None:
        delay = {"delay": LATE} if self.kind == "late_commit" else {}
        emulator.inject(
            Fault(self.kind, **delay), operation=self.operation, after=self.after, times=self.times
        )


def spots(operation: OperationName, *, after: tuple[int, ...] = (0,), times: tuple[int, ...] = (1,)) -> list:
    """Return every fault that fits an operation, at each place."""
    kinds = [kind for kind in FAULT_KINDS if Fault(kind).fits(operation)]
    return [Spot(kind, operation, place, count) for place in after for count in times for kind in kinds]


def users(count: int, *, name: str = "item") -> list[dict]:
    return [{"role": "user", "content": f"{name} {number}"} for number in range(count)]


def texts(items: list[dict]) -> list[str]:
    """Return the texts of items in replay form, and the ids of those that have none."""
    return [item["content"] if "content" in item else item["id"] for item in items]


class Patient(HTTP_FAMILY.ASGITransport):
    """Let a late commit be done between the two looks for it, however slow the machine is."""

    def __init__(self, emulator: Any) -> None:
        super().__init__(app=emulator)
        self._emulator = emulator
        self._looks = 0

    async def handle_async_request(self, request: Any) -> Any:
        """Forward a request; a second look waits for late commits."""
        self._looks = self._looks + 1 if request.method == "GET" else 0
        if self._looks == 2:
            await self._emulator.late_commits()
        return await super().handle_async_request(request)


class World:
    """An emulator with clients of this process and of others."""

    def __init__(self, emulator: Any) -> None:
        self.emulator = emulator
        self.client = emulator.client()
        self.patient = self.client.with_options(
            http_client=openai.DefaultAsyncHttpxClient(transport=Patient(emulator))
        )
        self.foreign = emulator.client().with_options(max_retries=0)

    def session(self, conversation_id: str | None = None, **options: Any) -> OpenAIConversationsSession:
        """Return a session object with waits of milliseconds."""
        given = {"openai_client": self.client, "retry_policy": FAST, "retry_budget": RetryBudget(), **options}
        return OpenAIConversationsSession(conversation_id=conversation_id, **arguments(**given))

    async def session_with(self, *items: dict, **options: Any) -> OpenAIConversationsSession:
        """Return a session object on a new conversation with these items, which it knows."""
        session = self.session(**options)
        await session.add_items(items) if items else await session.ensure_conversation()
        self.emulator.forget_requests()
        return session

    def inject(self, *faults: Spot) -> None:
        """Begin a new count of requests, in which these faults happen."""
        self.emulator.clear_faults()
        self.emulator.forget_requests()
        for fault in faults:
            fault.inject(self.emulator)

    async def calm(self) -> None:
        """Wait for late commits, and let nothing fail from now on."""
        self.emulator.clear_faults()
        await self.emulator.late_commits()

    def stored(self, conversation_id: str | None) -> list[str]:
        """Return the texts, or the ids, that the database holds, whatever a session says of them."""
        rows = self._select(
            "SELECT body FROM items WHERE conversation_id = ? ORDER BY position", conversation_id
        )
        items = [json.loads(body) for (body,) in rows]
        return [item["content"][0]["text"] if "content" in item else item["id"] for item in items]

    def stored_ids(self, conversation_id: str | None) -> list[str]:
        """Return the ids that the database holds, oldest first."""
        rows = self._select(
            "SELECT body FROM items WHERE conversation_id = ? ORDER BY position", conversation_id
        )
        return [json.loads(body)["id"] for (body,) in rows]

    def conversations(self) -> list[str]:
        """Return the ids of the conversations that are not deleted."""
        return [row[0] for row in self._select("SELECT id FROM conversations WHERE NOT deleted")]

    def operations(self) -> list[str]:
        """Return the operations requested since the count began."""
        return [request.operation for request in self.emulator.requests]

    def wire(self) -> str:
        """Return the operations requested since the count began, each as its letter."""
        return "".join(map(LETTERS.__getitem__, self.operations()))

    def count(self) -> Counter:
        """Return how often each operation was requested since the count began."""
        return Counter(self.operations())

    def faults(self) -> list[str]:
        """Return the faults that happened since the count began."""
        return [request.fault for request in self.emulator.requests if request.fault]

    async def foreign_add(self, conversation_id: str, *items: dict) -> list[str]:
        """Append items as another process does, and return their ids."""
        page = await self.foreign.conversations.items.create(conversation_id, items=list(items))
        return [item.id for item in page.data]

    async def foreign_delete(self, conversation_id: str, *item_ids: str) -> None:
        """Delete items as another process does."""
        for item_id in item_ids:
            await self.foreign.conversations.items.delete(item_id, conversation_id=conversation_id)

    def _select(self, query: str, *values: Any) -> list[tuple]:
        return self.emulator._store._connection.execute(query, values).fetchall()
