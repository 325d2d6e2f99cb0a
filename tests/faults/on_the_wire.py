"""What an operation costs on the wire: the requests that it makes without a fault, rewritten fault by fault.

Each request of a write is a letter here: N creates the conversation, A, B and C append 20, 20 and 5 items
(in small letters when sent again after a look), L is a look that does not find them, F one that does, l a
listing that fails, and D a deletion.
"""

from __future__ import annotations

from openai_sessions import RetryPolicy

from .world import LETTERS, LIES, LOST, Spot, spots

POLICY = RetryPolicy(attempts=3, initial_wait=0.0001, max_wait=0.0002, settle_after=0.0001)
"""A policy whose waits hold up nothing; `World.patient` sees to it that late commits come in time."""

APPLIED = LOST - {"cut_before", "error_500_before", "late_commit", "stall"}
"""The kinds after which the write is there at once, although nothing says so."""

BEFORE = {"A": 0, "B": 20, "C": 40}
"""How many items of the write are stored before each of its requests."""

SIZES = {"A": 20, "B": 20, "C": 5}
DELETIONS_AT_A_TIME = 8

_AS_LETTERS = str.maketrans({**dict.fromkeys("ABCabc", "P"), **dict.fromkeys("Fl", "L")})


def of_a_write(*faults: Spot, begun: bool = False) -> set[str]:
    """Return the requests that a write of 45 items may make under faults, in the letters of `World.wire`.

    There is more than one answer only where a late commit comes before the first look or after it, where a
    page lies, and where deletions are under way when another fails.
    """
    return {wire.translate(_AS_LETTERS) for wire in _rewritten(faults, begun=begun)}


def of_requests(wire: str, *faults: Spot) -> set[str]:
    """Return what may become of requests that are simply sent again: a fault costs one, a refusal ends them.

    A page that lies is asked for again, or is believed, which may end them as well.
    """
    wires = {wire}
    for fault in faults:
        wires = {after for wire in wires for after in _sent_again(wire, fault)}
    return wires


def is_final(kind: str, operation: str) -> bool:
    """Return whether a request is not sent again: it is refused, or a second one would create another."""
    return kind == "quota" or (kind == "not_json" and operation == "create_conversation")


def behind(first: Spot, wires: set[str]) -> list[Spot]:
    """Return every fault of every request that follows the one with a first fault.

    Of many deletions these are the first, one in the middle and the last.
    """
    wire = max(wires, key=len)
    start = _places(wire, first.operation)[first.after] + 1
    operations = {letter: operation for operation, letter in LETTERS.items()}
    return [
        fault
        for operation in map(operations.get, dict.fromkeys(wire[start:]))
        for fault in spots(operation, after=_some(wire, operation, start))
    ]


def _sent_again(wire: str, fault: Spot) -> list[str]:
    places = _places(wire, fault.operation)
    if fault.after >= len(places):
        return [wire]
    place = places[fault.after]
    before, letter, rest = wire[:place], wire[place], wire[place + 1 :]
    if fault.kind in LIES:
        return [before + letter + after for after in (letter + rest, rest, "")]
    if not is_final(fault.kind, fault.operation):
        return [before + 2 * letter + rest]
    others = len(rest) - len(rest.lstrip("D")) if letter == "D" else 0
    return [before + letter + rest[:others]]


def _some(wire: str, operation: str, start: int) -> tuple[int, ...]:
    numbers = [number for number, place in enumerate(_places(wire, operation)) if place >= start]
    if operation == "delete_item":
        numbers = sorted({numbers[0], numbers[len(numbers) // 2], numbers[-1]})
    return tuple(numbers)


def _places(wire: str, operation: str) -> list[int]:
    return [place for place, letter in enumerate(wire.translate(_AS_LETTERS)) if letter == LETTERS[operation]]


def _rewritten(faults: tuple[Spot, ...], *, begun: bool) -> set[str]:
    wires = {"ABC" if begun else "NABC"}
    for fault in faults:
        for number in range(fault.after, fault.after + min(fault.times, 3 * POLICY.attempts)):
            wires = {after for wire in wires for after in _rewrite(wire, fault, number)}
    return wires


def _rewrite(wire: str, fault: Spot, number: int) -> list[str]:
    places = _places(wire, fault.operation)
    if number >= len(places):
        return [wire]
    place = places[number]
    before, letter, rest = wire[:place], wire[place], wire[place + 1 :]
    return [before + after for after in _RULES[fault.operation](fault.kind, before, letter, rest)]


def _creation(kind: str, before: str, letter: str, rest: str) -> list[str]:
    return [letter] if is_final(kind, "create_conversation") else [letter + letter + rest]


def _post(kind: str, before: str, letter: str, rest: str) -> list[str]:
    """A lost answer is looked for at most twice; behind one, so is every failure."""
    batch = letter.upper()
    rollback = "D" * BEFORE[batch]
    is_last = before.upper().count(batch) + 1 == POLICY.attempts
    looks = "LL" if letter != batch or kind in LOST else ""
    again = batch.lower() if looks else batch
    if kind in APPLIED:
        return [letter + "F" + rest]
    if kind == "late_commit":
        return [letter + "F" + rest, letter + "LF" + rest]
    return [letter + looks + (rollback if kind == "quota" or is_last else again + rest)]


def _look(kind: str, before: str, letter: str, rest: str) -> list[str]:
    """A listing that fails is asked for again, one that is refused ends the write, an old one misleads."""
    batch = next(letter for letter in reversed(before.upper()) if letter in SIZES)
    is_second = before.rstrip("l").endswith("L")
    is_there = letter == "F" or rest.startswith("F")
    if kind == "quota":
        looks_again = "F" if is_there else "LL"
        stored = BEFORE[batch] + (SIZES[batch] if is_there else 0)
        return ["l" + looks_again + "D" * stored]
    if kind == "stale_page":
        if letter == "F":
            return ["L" + (batch.lower() if is_second else "F") + rest]
        return ["L" + rest, "L"]
    return ["l" + letter + rest]


def _deletion(kind: str, before: str, letter: str, rest: str) -> list[str]:
    return _sent_again(letter + rest, Spot(kind, "delete_item"))


_RULES = {
    "create_conversation": _creation,
    "create_items": _post,
    "list_items": _look,
    "delete_item": _deletion,
}
