"""What was done to a conversation, and what is wrong with what became of it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain


class Wrong(str, Enum):
    """What must never happen, to an item or to a read."""

    LOST = "items lost"
    DUPLICATED = "items duplicated"
    OUT_OF_ORDER = "items out of order"
    STORED_AFTER_ERROR = "items stored although the call raised"
    LOST_ON_POP = "values lost on pop"
    READ = "reads that were wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call of a session that has ended.

    Attributes:
        number: Its number in the run.
        name: Which method was called: add, pop, get or clear.
        session: Which session object was used.
        conversations: The ids that the session had before and after it.
        started: When it was called, by a clock that ticks at each start and end.
        ended: When it returned or raised.
        error: The name of what it raised, or None.
        added: The texts of the items given to an add, each unique in the run.
        popped: The text of the item that a pop returned, or None.
        limit: How many items a get asked for, or None.
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
        """Tell whether it may have removed what an add has stored."""
        return self.ended > add.started and bool(self.conversations & add.conversations)


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must never happen to an item, and did.

    Attributes:
        wrong: What it is.
        text: The item.
        add: The operation that was to store it.
        read: The operation that has returned it, or has not, if that is what is wrong.
        flaw: What is wrong with that.
    """

    wrong: Wrong
    text: str
    add: Operation
    read: Operation | None = None
    flaw: str = ""


Stored = Mapping[str, Sequence[str] | None]
"""The texts that each conversation holds, oldest first; None for one that is gone."""


def judge(operations: Collection[Operation], stored: Stored) -> list[Violation]:
    """Compare what a server holds with what it must hold.

    Args:
        operations: All that was done since the conversations began, each ended.
        stored: What they hold now, when nothing is under way and nothing unsettled.

    Returns:
        One violation for each item too few or too many, and for each that is at a wrong place.
    """
    adds = [operation for operation in operations if operation.name == "add"]
    of_text = {text: add for add in adds for text in add.added}
    popped = (operation.popped for operation in operations if operation.popped is not None)
    copies = Counter(chain(popped, *(texts for texts in stored.values() if texts)))
    if strangers := copies.keys() - of_text.keys():
        raise ValueError(f"Nobody has added {sorted(strangers)}.")
    too_many = chain.from_iterable(_too_many(add, copies) for add in adds)
    misplaced = chain.from_iterable(displaced(texts, of_text) for texts in stored.values() if texts)
    return [*too_many, *_missing(adds, copies, operations, stored), *misplaced]


def _too_many(add: Operation, copies: Counter[str]) -> Iterator[Violation]:
    wanted = 0 if add.error else 1
    wrong = Wrong.STORED_AFTER_ERROR if add.error else Wrong.DUPLICATED
    for text in add.added:
        for _ in range(copies[text] - wanted):
            yield Violation(wrong, text, add)


def _missing(
    adds: Collection[Operation], copies: Counter[str], operations: Collection[Operation], stored: Stored
) -> Iterator[Violation]:
    """Yield what no call has returned or cleared; each pop without a value may have lost one of them."""
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
    """Tell whether a clear explains that items are missing.

    While a session object waits to clear a conversation, another task may clear it, too, and begin the next.
    """
    is_gone = any(stored.get(conversation, ()) is None for conversation in add.conversations)
    return clear.may_bear_on(add) or (is_gone and clear.ended > add.started)


def displaced(texts: Sequence[str], of_text: Mapping[str, Operation]) -> Iterator[Violation]:
    """Yield the items at a wrong place.

    Args:
        texts: Items, oldest first.
        of_text: The add of each.

    The items of an add stand together, in order, and behind those of every add that returned before it was
    called. Of items that are stored twice the first ones count.
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
