"""A run: random operations by several tasks on several conversations, judged whenever all is quiet."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tools.chaos.history import Operation, Violation, judge
from tools.chaos.planning import Draw, Plan
from tools.chaos.reads import judge_reads
from tools.chaos.rooms import Room, Seat, id_of
from tools.chaos.worlds import Session, World, operation_number, text_of

RELATED = 12
"""How many operations are told with a violation."""

_MISLEADING = frozenset({"empty_page", "stale_page"})
"""The faults that make a listing wrong."""


@dataclass(slots=True)
class Result:
    """What a run has come to.

    Attributes:
        operations: How many random operations were made.
        requests: How many requests they took.
        cancelled: How many were cancelled.
        errors: How many raised another error, by its name.
        violations: What was wrong, each with the operations that bear on it.
    """

    operations: int = 0
    requests: int = 0
    cancelled: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[Violation, Sequence[str]]] = field(default_factory=list)


class Run:
    """One kind of session, tried as planned.

    Args:
        world: The kind of session and its server.
        plan: What to do.
    """

    def __init__(self, world: World, plan: Plan) -> None:
        self.result = Result()
        self._world = world
        self._plan = plan
        self._rooms = [Room(number, world) for number in range(plan.rooms)]
        self._ticks = count(1)
        self._numbers = count(1)
        self._met: defaultdict[int, list[str]] = defaultdict(list)
        self._misled: set[int] = set()

    async def go(self, *, on_quiet: Callable[[Result], object] = lambda _: None) -> Result:
        """Make all operations.

        Args:
            on_quiet: Told of the result so far at every quiet point.

        Raises:
            TimeoutError: An operation hangs.
        """
        choices = random.Random(self._plan.seed)  # noqa: S311 - reproducible is what it is for
        while self.result.operations < self._plan.operations:
            self._world.storm(choices.randrange(10**9))
            await asyncio.gather(*(self._storm(room, self._draws(choices)) for room in self._rooms))
            self._world.calm()
            self.result.requests += self._note_requests()
            await asyncio.gather(*map(self._judge, self._rooms))
            self._note_requests()
            on_quiet(self.result)
        return self.result

    def _draws(self, choices: random.Random) -> list[Draw]:
        number = self._plan.tasks * self._plan.burst
        return [Draw.from_choices(choices, self._plan) for _ in range(number)]

    async def _storm(self, room: Room, draws: Sequence[Draw]) -> None:
        """Have the tasks of a room share its operations, so that they end at about the same time."""
        left = iter(draws)
        await asyncio.gather(*(self._burst(room, task, left) for task in range(self._plan.tasks)))

    async def _burst(self, room: Room, task: int, draws: Iterator[Draw]) -> None:
        for draw in draws:
            done = await self._do(room.seat(task), draw)
            self.result.operations += 1
            if done.error == "CancelledError":
                self.result.cancelled += 1
            elif done.error:
                self.result.errors[done.error] += 1

    async def _do(self, seat: Seat, draw: Draw) -> Operation:
        """Make an operation, and note it when it has ended."""
        number, started = next(self._numbers), next(self._ticks)
        before = id_of(seat.session)
        added = tuple(f"{number}/{index}" for index in range(draw.size)) if draw.name == "add" else ()
        value, error, after = await self._end(number, draw, self._call(number, seat.session, draw, added))
        operation = Operation(
            number=number,
            name=draw.name,
            session=seat.name,
            conversations=frozenset(filter(None, (before, after))),
            started=started,
            ended=next(self._ticks),
            error=error,
            added=added,
            popped=text_of(value) if draw.name == "pop" and value is not None else None,
            limit=draw.limit if draw.name == "get" else None,
            seen=tuple(map(text_of, value)) if draw.name == "get" and value is not None else None,
        )
        seat.room.operations.append(operation)
        seat.room.conversations |= operation.conversations
        if draw.name == "clear" and (error or not after):
            seat.room.renew()
        return operation

    async def _call(
        self, number: int, session: Session, draw: Draw, added: Sequence[str]
    ) -> tuple[Any, str | None, str | None]:
        """Return the value, the name of an error, and the conversation that the session has then."""
        operation_number.set(number)
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "add": lambda: session.add_items([_message(text) for text in added]),
            "pop": session.pop_item,
            "get": lambda: session.get_items(draw.limit),
            "clear": lambda: self._world.clear(session, draw.way),
        }
        try:
            value = await calls[draw.name]()
        except asyncio.CancelledError:
            return None, "CancelledError", id_of(session)
        except Exception as error:  # noqa: BLE001 - any may come, and is counted
            return None, type(error).__name__, id_of(session)
        return value, None, id_of(session)

    async def _end(self, number: int, draw: Draw, call: Any) -> Any:
        """Wait for a call; cancel it when it is time."""
        task = asyncio.ensure_future(call)
        if draw.cancel_after is not None:
            await asyncio.wait({task}, timeout=draw.cancel_after)
            task.cancel()
        done, _ = await asyncio.wait({task}, timeout=self._plan.patience)
        if not done:
            raise TimeoutError(f"operation {number} ({draw}) hangs")
        return task.result()

    async def _judge(self, room: Room) -> None:
        """Settle and compare the conversations of a room."""
        for conversation_id in sorted(room.conversations):
            await self._settle(room, conversation_id)
        stored = {each: await self._world.stored(each) for each in room.conversations}
        violations = [
            *judge(room.operations, stored),
            *judge_reads(room.operations, judged=room.judged, misled=self._misled),
        ]
        self.result.violations += [(each, self._told(each, room)) for each in violations]
        room.judged = len(room.operations)
        is_long = any(len(texts or ()) > self._plan.longest for texts in stored.values())
        if violations or is_long or len(stored) > 1 or None in stored.values():
            room.begin_anew()

    async def _settle(self, room: Room, conversation_id: str) -> None:
        """Give what is unsettled an operation to be settled by, and values that a pop has kept a pop."""
        if await self._world.stored(conversation_id) is None:
            return
        seat = room.visitor(conversation_id)
        marker = await self._do(seat, Draw("add"))
        kept = sum(each.name == "pop" and each.popped is None for each in room.operations)
        for _ in range(kept + 1):
            last = await self._do(seat, Draw("pop"))
            if last.popped in marker.added:
                break
        for done in (marker, last):
            if done.error:
                self.result.errors[f"{done.error} when quiet"] += 1

    def _note_requests(self) -> int:
        requests = self._world.requests()
        for request in requests:
            self._met[request.number].append(request.operation + (request.met and f"({request.met})"))
            if request.met in _MISLEADING:
                self._misled.add(request.number)
        return len(requests)

    def _told(self, violation: Violation, room: Room) -> list[str]:
        """Return the add, who popped the item, and what went wrong around it and after it.

        Of a read, what went wrong before its end, the last of it.
        """
        add, read = violation.add, violation.read

        def is_of_it(operation: Operation) -> bool:
            return operation in (add, read) or operation.popped == violation.text

        def may_explain(operation: Operation) -> bool:
            went_wrong = operation.error or any("(" in met for met in self._met[operation.number])
            in_time = read is None or operation.started < read.ended
            return bool(went_wrong and in_time and operation.may_bear_on(add))

        told = sorted(room.operations, key=lambda operation: operation.started)
        around = [each for each in told if may_explain(each) and not is_of_it(each)]
        around = around[:RELATED] if read is None else around[-RELATED:]
        return [self._line(each) for each in told if is_of_it(each) or each in around]

    def _line(self, operation: Operation) -> str:
        what = f"{operation.name} {len(operation.added) or ''}".strip()
        outcome = operation.error or operation.popped or _shown(operation) or "ok"
        requests = " ".join(self._met[operation.number])
        return (
            f"{operation.started}-{operation.ended} #{operation.number} {what} by {operation.session}: "
            f"{outcome} [{requests}]"
        )


def _shown(operation: Operation) -> str:
    """Return how many items a get returned, and which at its ends."""
    seen = operation.seen
    if seen is None:
        return ""
    asked = "" if operation.limit is None else f" of at most {operation.limit}"
    return f"{len(seen)}{asked}" + (f", {seen[0]} to {seen[-1]}" if seen else "")


def _message(text: str) -> dict[str, str]:
    return {"role": "user" if text.endswith(("0", "2", "4", "6", "8")) else "assistant", "content": text}
