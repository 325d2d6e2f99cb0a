"""What a read may give while a conversation changes."""

from __future__ import annotations

from collections.abc import Sequence

State = Sequence[str]

PAGE = 100


def could_be_sequential(labels: State, states: Sequence[State], *, silent: bool = False) -> bool:
    """Tell whether reading page by page could have given these items.

    Each page is served in one of the states, none in an earlier one than the page before. A reader
    that finds its cursor gone begins again: it then gives what one does that begins at that moment,
    so that nothing has to be said of it here.

    Args:
        labels: What was read, oldest first.
        states: What the server held, from the start of the read to its end.
        silent: The server answers the first page for a cursor that is gone; a reader that knows none
            of its items cannot tell.
    """

    def goes_on(read: int, time: int) -> bool:
        return any(_continues(read, now) for now in range(time, len(states)))

    def _continues(read: int, now: int) -> bool:
        page = _page(labels[:read], states[now], silent=silent)
        if page is None or tuple(labels[read : read + len(page)]) != tuple(page):
            return False
        end = read + len(page)
        if len(page) < PAGE or (not silent and labels[end - 1] == states[now][-1]):
            return end == len(labels)
        return goes_on(end, now)

    return goes_on(0, 0)


def _page(read: State, state: State, *, silent: bool) -> State | None:
    """Return the page after what was read, or None where the reader has to begin again."""
    if not read:
        return state[:PAGE]
    if read[-1] in state:
        start = list(state).index(read[-1]) + 1
        return state[start : start + PAGE]
    return state[:PAGE] if silent and set(read).isdisjoint(state[:PAGE]) else None


def is_fair(labels: State, states: Sequence[State], *, silent: bool = False) -> bool:
    """Tell whether items that were there throughout appear once and in order, and others at most once.

    Args:
        labels: What was read, oldest first.
        states: What the server held, from the start of the read to its end.
        silent: The server answers the first page for a cursor that is gone: those that were deleted
            meanwhile may then appear in another place.
    """
    places = {label: int(label[1:]) for state in states for label in state}
    throughout = set(states[0]).intersection(*states)
    compared = [label for label in labels if label in throughout] if silent else list(labels)
    return (
        throughout <= set(labels) <= places.keys()
        and len(labels) == len(set(labels))
        and compared == sorted(compared, key=places.__getitem__)
    )
