"""Compare the operations of a run with what the server stores and with what reads returned. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain


class Wrong(str, Enum):
    """A broken promise."""

    LOST = "items lost"
    DUPLICATED = "items duplicated"
    OUT_OF_ORDER = "items out of order"
    STORED_AFTER_ERROR = "items stored although the call raised"
    LOST_ON_POP = "values lost on pop"
    READ = "reads that were wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One finished call of a session method.

    Attributes:
        number: Its number in the run.
        name: The method: add, pop, get or clear.
        session: The session object it was called on.
        conversations: The conversation ids of the session before and after the call.
        started: When it was called, by a clock that ticks at each start and end.
        ended: When it returned or raised.
        error: The name of the exception, or None.
        added: The texts of the items given to an add, each unique in the run.
        popped: The text of the item that a pop returned, or None.
        limit: The `limit` of a get, or None.
        seen: The texts of the items that a get returned, or None.
    """

    number: int
    name: str
    session: str
    conversations: frozenset[str]
    started: int
    ended: int
    error: str | None = None
    added: tuple[str, ...] = ()
    popped: str | None = None
    limit: int | None = None
    seen: tuple[str, ...] | None = None

    def may_bear_on(self, add: Operation) -> bool:
        """Return whether it may have removed items that an add stored."""
        return self.ended > add.started and bool(self.conversations & add.conversations)


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise broken for one item.

    Attributes:
        wrong: The promise.
        text: The item.
        add: The operation that added it.
        read: The get that was wrong about it, for `Wrong.READ`.
        flaw: How the get was wrong.
    """

    wrong: Wrong
    text: str
    add: Operation
    read: Operation | None = None
    flaw: str = ""


Stored = Mapping[str, Sequence[str] | None]
"""The texts stored in each conversation, oldest first; None for a deleted conversation."""

Flaw = tuple[str, str]
"""An item, and how a read was wrong about it."""


def judge(operations: Collection[Operation], stored: Stored) -> list[Violation]:
    """Compare what the server stores with what the operations should have left there.

    Args:
        operations: All operations since the conversations were created, each finished.
        stored: What the conversations contain once nothing is running and nothing is left to settle.

    Returns:
        A violation for each missing item, each surplus copy, and each item at a wrong position.
    """
    adds = [operation for operation in operations if operation.name == "add"]
    of_text = {text: add for add in adds for text in add.added}
    popped = (operation.popped for operation in operations if operation.popped is not None)
    copies = Counter(chain(popped, *(texts for texts in stored.values() if texts)))
    _check_known(copies, of_text)
    too_many = chain.from_iterable(_too_many(add, copies) for add in adds)
    misplaced = chain.from_iterable(_displaced(texts, of_text) for texts in stored.values() if texts)
    return [*too_many, *_missing(adds, copies, operations, stored), *misplaced]


def judge_reads(
    operations: Sequence[Operation], *, judged: int = 0, misled: Collection[int] = frozenset()
) -> list[Violation]:
    """Compare what each get returned with what it should have returned.

    A get may or may not show the effect of an operation that ran at the same time. A pop that raised may
    have removed one item, and a clear that raised any number.

    Args:
        operations: All operations since the conversations were created, each finished.
        judged: The number of operations before the last quiet point. The pops among them have no effect
            afterwards.
        misled: The numbers of the operations that received a wrong page. Their reads are not judged, and
            their clears may have left items.

    Returns:
        One violation for each wrong read.
    """
    facts = _Facts.of(operations, judged, misled)
    return [
        Violation(Wrong.READ, text, facts.of_text[text], read, flaw)
        for read in operations[judged:]
        if read.seen is not None and read.number not in misled
        for text, flaw in _first(_flaws(read, read.seen, facts))
    ]


def _check_known(texts: Collection[str], of_text: Mapping[str, Operation]) -> None:
    if unknown := set(texts) - of_text.keys():
        raise ValueError(f"No operation added {sorted(unknown)}.")


def _too_many(add: Operation, copies: Counter[str]) -> Iterator[Violation]:
    wanted = 0 if add.error else 1
    wrong = Wrong.STORED_AFTER_ERROR if add.error else Wrong.DUPLICATED
    for text in add.added:
        for _ in range(copies[text] - wanted):
            yield Violation(wrong, text, add)


def _missing(
    adds: Collection[Operation], copies: Counter[str], operations: Collection[Operation], stored: Stored
) -> Iterator[Violation]:
    """Yield the items that were neither returned nor cleared; a pop that returned None explains one each."""
    clears = [operation for operation in operations if operation.name == "clear"]
    pops = [operation for operation in operations if operation.name == "pop" and operation.popped is None]
    for add in adds:
        missing = [text for text in add.added if not copies[text] and not add.error]
        if not missing or any(_has_cleared(clear, add, stored) for clear in clears):
            continue
        for text in reversed(missing):
            losers = [pop for pop in pops if pop.may_bear_on(add)]
            if losers:
                pops.remove(losers[0])
            yield Violation(Wrong.LOST_ON_POP if losers else Wrong.LOST, text, add)


def _has_cleared(clear: Operation, add: Operation, stored: Stored) -> bool:
    """Return whether a clear explains missing items.

    While a session object waits to clear a conversation, another task may clear it and create the next.
    """
    is_gone = any(stored.get(conversation, ()) is None for conversation in add.conversations)
    return clear.may_bear_on(add) or (is_gone and clear.ended > add.started)


def _displaced(texts: Sequence[str], of_text: Mapping[str, Operation]) -> Iterator[Violation]:
    """Yield the items at a wrong position.

    The items of an add are adjacent and in order, after those of every add that returned before it was
    called. Of duplicates, the first copy counts.

    Args:
        texts: Items, oldest first.
        of_text: The add of each.
    """
    latest_start = 0
    previous: str | None = None
    begun: set[int] = set()
    for text in dict.fromkeys(texts):
        add = of_text[text]
        continues = previous is not None and of_text[previous] is add
        is_behind = continues and add.added.index(previous or "") > add.added.index(text)
        if is_behind or (not continues and add.number in begun) or add.ended < latest_start:
            yield Violation(Wrong.OUT_OF_ORDER, text, add)
        begun.add(add.number)
        latest_start = max(latest_start, add.started)
        previous = text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What reads are compared with.

    Attributes:
        adds: All adds.
        of_text: The add of each item.
        pops: The pop that returned each item.
        failed_pops: The pops that raised, and may have removed an item.
        clears: All clears.
        proofs: The clears that certainly left nothing.
    """

    adds: Sequence[Operation]
    of_text: dict[str, Operation]
    pops: dict[str, Operation]
    failed_pops: Sequence[Operation]
    clears: Sequence[Operation]
    proofs: Sequence[Operation]

    @classmethod
    def of(cls, operations: Sequence[Operation], judged: int, misled: Collection[int]) -> _Facts:
        adds = [operation for operation in operations if operation.name == "add"]
        clears = [operation for operation in operations if operation.name == "clear"]
        return cls(
            adds=adds,
            of_text={text: add for add in adds for text in add.added},
            pops={each.popped: each for each in reversed(operations) if each.popped is not None},
            failed_pops=[each for each in operations[judged:] if each.name == "pop" and each.error],
            clears=clears,
            proofs=[each for each in clears if not each.error and each.number not in misled],
        )


def _first(flaws: Iterator[Flaw]) -> list[Flaw]:
    return [flaw for flaw in [next(flaws, None)] if flaw is not None]


def _flaws(read: Operation, seen: Sequence[str], facts: _Facts) -> Iterator[Flaw]:
    _check_known(seen, facts.of_text)
    yield from ((text, "is shown twice") for text, copies in Counter(seen).items() if copies > 1)
    yield from _gone(read, seen, facts)
    if read.limit is not None:
        yield from ((text, "is shown beyond the limit") for text in seen[: -read.limit])
    yield from ((each.text, "is out of order") for each in _displaced(seen, facts.of_text))
    if len(read.conversations) == 1:
        yield from _not_shown(read, seen, facts)


def _gone(read: Operation, seen: Sequence[str], facts: _Facts) -> Iterator[Flaw]:
    """Yield the items that are shown after their removal."""
    for text in seen:
        add, pop = facts.of_text[text], facts.pops.get(text)
        if add.error and add.ended < read.started:
            yield text, "is shown although the call that added it had raised"
        if pop is not None and pop.ended < read.started:
            yield text, "is shown although it was popped"
        if any(_had_cleared(clear, add, read) for clear in facts.proofs):
            yield text, "is shown although it was cleared"


def _had_cleared(clear: Operation, add: Operation, read: Operation) -> bool:
    is_of_one = add.conversations == clear.conversations == read.conversations and len(add.conversations) == 1
    return is_of_one and add.ended < clear.started and clear.ended < read.started


def _not_shown(read: Operation, seen: Sequence[str], facts: _Facts) -> Iterator[Flaw]:
    """Yield the items that were stored during the whole read and are not shown; a failed pop explains one."""
    shown = frozenset(seen)
    # A read that reached its limit must show every item that is certainly newer than one it shows. A read
    # that returned fewer items must show all.
    last_end = min((facts.of_text[text].ended for text in seen), default=0) if len(seen) == read.limit else 0
    losers = [pop for pop in facts.failed_pops if pop.started < read.ended]
    for add in sorted(facts.adds, key=lambda add: add.started, reverse=True):
        if not _is_there(add, read, facts):
            continue
        behind = last_end < add.started
        for text in add.added:
            behind |= text in shown
            pop = facts.pops.get(text)
            if text in shown or not behind or (pop is not None and pop.started < read.ended):
                continue
            explanation = next((pop for pop in losers if pop.may_bear_on(add)), None)
            if explanation is None:
                yield text, "is not shown"
            else:
                losers.remove(explanation)


def _is_there(add: Operation, read: Operation, facts: _Facts) -> bool:
    """Return whether an add was stored before a read started and no clear can have removed it."""
    is_stored = not add.error and add.ended < read.started and add.conversations == read.conversations
    return is_stored and not any(
        clear.started < read.ended and clear.ended > add.started for clear in facts.clears
    )
