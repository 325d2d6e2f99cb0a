"""What a session was given since its history was last read, as it was given.

The Agents SDK compacts a history only if it recognises in it, to the letter, what a model was last shown:
what was read before the run in replay form, and what the run has added since as the run wrote it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from openai_sessions._items import replay_form
from openai_sessions._plain_json import plain_json
from openai_sessions._same_item import same_item
from openai_sessions._types import Item

_MAX_ITEMS = 1000
"""More than a run writes; a session that only writes must not grow without end."""


class UnreadItems:
    """The items that were stored since the history was last read, in the form in which they came."""

    def __init__(self) -> None:
        self._given: deque[Item] = deque(maxlen=_MAX_ITEMS)

    def add(self, items: Iterable[object]) -> None:
        """Remember items that were stored."""
        self._given.extend(_as_given(plain_json(item)) for item in items)

    def forget(self) -> None:
        """Forget all: the history is being read."""
        self._given.clear()

    def restored_in(self, history: Sequence[Item]) -> list[Item]:
        """Return a history, oldest first, with its newest items in the form in which they came."""
        restored = list(history)
        for back in range(1, min(len(restored), len(self._given)) + 1):
            if not same_item(self._given[-back], restored[-back]):
                break
            restored[-back] = self._given[-back]
        return restored


def _as_given(item: Item) -> Item:
    """Return an item without the id that its replay form has not."""
    keeps_id = "id" in replay_form(item)
    return {key: value for key, value in item.items() if key != "id" or keeps_id}
