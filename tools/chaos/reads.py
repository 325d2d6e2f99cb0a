"""What was returned by reads, and what is wrong with it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from tools.chaos.history import Operation, Violation, Wrong, displaced

Flaw = tuple[str, str]
"""The item, and what is wrong with it."""


def judge_reads(
    operations: Sequence[Operation], *, judged: int = 0, misled: Collection[int] = frozenset()
) -> list[Violation]:
    """Compare what reads have returned with what they must return.

    What was under way at the same time as a read may show in it or not. A pop that raised may have removed
    one item, and a clear that raised any.

    Args:
        operations: All that was done since the conversations began, each ended.
        judged: How many of them there were when all was last quiet. No pop of these does anything any more.
        misled: The numbers of those that have met a page which does not show what is stored. Nothing is
            expected of such a read, nor behind such a clear.

    Returns:
        One violation for each read that was wrong.
    """
    facts = _Facts.of(operations, judged, misled)
    return [
        Violation(Wrong.READ, text, facts.of_text[text], read, flaw)
        for read in operations[judged:]
        if read.seen is not None and read.number not in misled
        for text, flaw in _first(_flaws(read, read.seen, facts))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What bears on reads.

    Attributes:
        adds: All that were added.
        of_text: The add of each item.
        pops: The pop that has returned an item.
        failed_pops: Those that may have removed an item that nothing has returned.
        clears: All clears.
        proofs: The clears that have left nothing.
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
    if strangers := set(seen) - facts.of_text.keys():
        raise ValueError(f"Nobody has added {sorted(strangers)}.")
    yield from ((text, "is shown twice") for text, copies in Counter(seen).items() if copies > 1)
    yield from _gone(read, seen, facts)
    if read.limit is not None:
        yield from ((text, "is shown beyond the limit") for text in seen[: -read.limit])
    yield from ((each.text, "is out of order") for each in displaced(seen, facts.of_text))
    if len(read.conversations) == 1:
        yield from _missing(read, seen, facts)


def _gone(read: Operation, seen: Sequence[str], facts: _Facts) -> Iterator[Flaw]:
    """Yield what is shown although it must be gone by then."""
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


def _missing(read: Operation, seen: Sequence[str], facts: _Facts) -> Iterator[Flaw]:
    """Yield what is not shown although it was there all the time; each failed pop may have taken one."""
    shown = frozenset(seen)
    # Items that are surely behind one that is shown must be shown; when more were asked for, all must.
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
    """Tell whether what was added was stored before a read, and no clear can have removed it."""
    is_stored = not add.error and add.ended < read.started and add.conversations == read.conversations
    return is_stored and not any(
        clear.started < read.ended and clear.ended > add.started for clear in facts.clears
    )
