"""A run: several tasks make random operations on several conversations, which are judged at quiet points."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from openai_sessions import UnsettledWriteError
from tools.chaos.judging import Operation, Violation, Wrong, judge, judge_reads
from tools.chaos.worlds import Session, World, operation_number, text_of

RELATED = 12
"""The number of operations reported with a violation."""

_MISLEADING = frozenset({"empty_page", "stale_page"})
"""The faults that answer a list request with a wrong page."""

_COPIES = frozenset({Wrong.DUPLICATED, Wrong.STORED_AFTER_ERROR})
"""What a copy that comes late is told by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The size of a run.

    Attributes:
        operations: The least number of random operations.
        seed: The seed of all choices.
        rooms: The number of conversations in use at the same time.
        tasks: The number of tasks on each, with a session object each if the class allows it.
        burst: The average number of operations of a task between two quiet points.
        longest: The number of items above which a conversation is left at a quiet point: each item costs a
            request when it is cleared.
        cancelled: The probability that an operation is cancelled at a random time.
        cancelled_within: Seconds within which it is cancelled.
        patience: Seconds after which an operation counts as hanging.
    """

    operations: int = 20_000
    seed: int = 1
    rooms: int = 24
    tasks: int = 3
    burst: int = 10
    longest: int = 100
    cancelled: float = 0.05
    cancelled_within: float = 0.2
    patience: float = 120.0


@dataclass(slots=True)
class Result:
    """The outcome of a run.

    Attributes:
        operations: The number of random operations.
        requests: The number of requests that they sent.
        cancelled: The number of cancelled operations.
        errors: The number of operations that raised another error, by its name.
        late: The number of copies of items that the server stored, or listed, later than the session looked.
        violations: The violations, each with the lines of the operations related to it.
    """

    operations: int = 0
    requests: int = 0
    cancelled: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    late: int = 0
    violations: list[tuple[Violation, Sequence[str]]] = field(default_factory=list)


class Run:
    """A run of one session class.

    Args:
        world: The session class and its server.
        plan: The size of the run.
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
        self._receipts: list[Mapping[str, Any]] = []

    async def go(self, *, on_quiet: Callable[[Result], object] = lambda _: None) -> Result:
        """Make all operations and judge them.

        Args:
            on_quiet: Called with the result so far at every quiet point.

        Raises:
            TimeoutError: An operation did not finish within `patience`.
        """
        choices = random.Random(self._plan.seed)  # noqa: S311 - must be reproducible
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
        """Let the tasks of a room share its operations, so that they finish at about the same time."""
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
        """Make an operation, and note it when it has finished."""
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
        """Return the value, the name of the error, and the conversation id of the session afterwards."""
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
        except UnsettledWriteError as error:
            self._receipts.append(error.receipt)
            return None, type(error).__name__, id_of(session)
        except Exception as error:  # noqa: BLE001 - every error is counted
            return None, type(error).__name__, id_of(session)
        return value, None, id_of(session)

    async def _end(self, number: int, draw: Draw, call: Any) -> Any:
        """Wait for a call; cancel it if the draw says so."""
        task = asyncio.ensure_future(call)
        if draw.cancel_after is not None:
            await asyncio.wait({task}, timeout=draw.cancel_after)
            task.cancel()
        done, _ = await asyncio.wait({task}, timeout=self._plan.patience)
        if not done:
            raise TimeoutError(f"operation {number} ({draw}) hangs")
        return task.result()

    async def _judge(self, room: Room) -> None:
        """Settle and judge the conversations of a room."""
        for conversation_id in sorted(room.conversations):
            await self._settle(room, conversation_id)
        stored = {each: await self._world.stored(each) for each in room.conversations}
        of_history = judge(room.operations, stored)
        of_reads = judge_reads(room.operations, judged=room.judged, misled=self._misled)
        late = [each for each in of_history if each.wrong in _COPIES and self._is_late(each.add)]
        self.result.late += len(late)
        violations = [
            *(each for each in of_history if each not in late),
            *(each for each in of_reads if not self._is_late(each.add)),
        ]
        self.result.violations += [(each, self._told(each, room)) for each in violations]
        room.judged = len(room.operations)
        is_long = any(len(texts or ()) > self._plan.longest for texts in stored.values())
        if violations or late or is_long or len(stored) > 1 or None in stored.values():
            room.forget()

    def _is_late(self, add: Operation) -> bool:
        """Return whether a request of an add was applied late, or a page hid it when it was looked for."""
        return add.number in self._misled or any("(late_commit)" in met for met in self._met[add.number])

    async def _settle(self, room: Room, conversation_id: str) -> None:
        """Settle what failed writes have left, make an add, and pops, which return values that were kept."""
        if await self._world.stored(conversation_id) is None:
            return
        seat = room.visitor(conversation_id)
        for receipt in [each for each in self._receipts if each["conversation_id"] == conversation_id]:
            self._receipts.remove(receipt)
            with suppress(UnsettledWriteError):  # it cannot tell which items are of the write
                await self._world.settle(seat.session, receipt)
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
        """Return lines for the add, the pop of the item, the wrong read, and failures that may explain it.

        For a wrong read these are the last failures before its end, otherwise the first after the add.
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


@dataclass(frozen=True, slots=True)
class Draw:
    """A random operation, before it is assigned to a session.

    Attributes:
        name: The method: add, pop, get or clear.
        size: The number of items of an add.
        limit: The `limit` of a get.
        way: Selects the way to clear, from 0 to 1.
        cancel_after: Seconds until it is cancelled, or None.
    """

    name: str
    size: int = 1
    limit: int | None = None
    way: float = 0.0
    cancel_after: float | None = None

    @classmethod
    def from_choices(cls, choices: random.Random, plan: Plan) -> Draw:
        """Draw the next operation; every draw consumes the same random numbers, whatever it results in."""
        return cls(
            name=choices.choices(("add", "pop", "get", "clear"), (40, 34, 25, 0.7))[0],
            size=choices.choice((choices.randint(1, 4), choices.randint(1, 45))),
            limit=choices.choice((None, choices.randint(1, 40))),
            way=choices.random(),
            cancel_after=(
                choices.uniform(0, plan.cancelled_within),
                None,
            )[choices.random() >= plan.cancelled],
        )


@dataclass(frozen=True, slots=True)
class Seat:
    """A session object, with the name that it has in reports."""

    room: Room
    name: str
    session: Session


class Room:
    """A conversation, the session objects that share it, and their operations. A clear starts the next one.

    Args:
        number: Its number in the run.
        world: Creates its sessions.

    Attributes:
        operations: The finished operations.
        judged: The number of operations at the last quiet point.
        conversations: The ids of the conversations that they used.
    """

    def __init__(self, number: int, world: World) -> None:
        self.number = number
        self._world = world
        self._generations = count()
        self.forget()

    def forget(self) -> None:
        """Forget all operations and conversations so far."""
        self.operations: list[Operation] = []
        self.judged = 0
        self.conversations: set[str] = set()
        self.renew()

    def renew(self) -> None:
        """Continue with new session objects, in a new conversation."""
        self._name = f"{self.number}.{next(self._generations)}"
        self._seats = {0: Seat(self, f"{self._name}.0", self._world.session(self.number, None))}

    def seat(self, task: int) -> Seat:
        """Return the session object of a task; all tasks share one until there is a conversation."""
        conversation_id = id_of(self._seats[0].session)
        index = task if conversation_id and self._world.shares_conversations else 0
        if index not in self._seats:
            session = self._world.session(self.number, conversation_id)
            self._seats[index] = Seat(self, f"{self._name}.{index}", session)
        return self._seats[index]

    def visitor(self, conversation_id: str) -> Seat:
        """Return a session object on a conversation that no task uses."""
        return Seat(self, f"{self.number} when quiet", self._world.session(self.number, conversation_id))


def id_of(session: Session) -> str | None:
    """Return the conversation id of a session, or None while it has none."""
    try:
        return session.session_id
    except ValueError:
        return None


def _shown(operation: Operation) -> str:
    """Return the number of items that a get returned, with the first and the last of them."""
    seen = operation.seen
    if seen is None:
        return ""
    asked = "" if operation.limit is None else f" of at most {operation.limit}"
    return f"{len(seen)}{asked}" + (f", {seen[0]} to {seen[-1]}" if seen else "")


def _message(text: str) -> dict[str, str]:
    return {"role": "user" if text.endswith(("0", "2", "4", "6", "8")) else "assistant", "content": text}
