"""The ids that a server makes up: stable ones in cassettes, and which stands for which in a replay."""

from __future__ import annotations

import re
from collections import Counter

_ID = re.compile(
    r"(?:(?<![0-9A-Za-z_\\])|(?<=\\[nrt]))(?!(?:call|req|proj|ek)_)"
    r"[a-z]{2,8}_(?=[A-Za-z]*[0-9])[0-9A-Za-z]{16,64}(?![0-9A-Za-z_])"
)
"""`conv_`, `msg_`, `resp_`, … and 16 characters or more, one of them a digit.

The API's have 48 or 50 hexadecimal digits. Not the `call_` ids, which the model makes up, nor request
ids, accounts and keys.
"""


def ids_in(text: str) -> list[str]:
    """Return the ids in a text, each time they occur."""
    return _ID.findall(text)


def renamed(text: str, names: dict[str, str]) -> str:
    """Return the text with other ids in the places of those that have a new name."""
    return _ID.sub(lambda found: names.get(found[0], found[0]), text) if names else text


class StableIds:
    """New ids for those that the server made up, numbered as they appear.

    `conv_68f0…` becomes `conv_000…01`, of the same length. An id that a request held before any
    response did comes from the code itself, and stays.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()
        self._numbers: Counter[str] = Counter()

    def of_request(self, text: str) -> str:
        """Return a part of a request, or of a cassette that was there before, with the new ids.

        Those it is the first to show stay as they are.
        """
        for found in ids_in(text):
            self._names.setdefault(found, found)
            self._taken.add(self._names[found])
        return renamed(text, self._names)

    def of_response(self, text: str) -> str:
        """Return a part of a response with the new ids."""
        for found in ids_in(text):
            if found not in self._names:
                self._names[found] = self._new(found)
        return renamed(text, self._names)

    def _new(self, found: str) -> str:
        prefix, _, rest = found.partition("_")
        while True:
            self._numbers[prefix] += 1
            name = f"{prefix}_{self._numbers[prefix]:0{len(rest)}d}"
            if name not in self._taken:
                self._taken.add(name)
                return name


class BoundIds:
    """Which recorded id stands for which id of the code under test: one for one."""

    def __init__(self) -> None:
        self._recorded: dict[str, str] = {}
        self._sent: dict[str, str] = {}

    @property
    def recorded_ids(self) -> dict[str, str]:
        """Return the recorded id for each id of the code, as far as they are known."""
        return self._recorded

    def to_match(self, sent: list[str], recorded: list[str]) -> dict[str, str] | None:
        """Return the names that the ids of one request need to become those of another.

        Args:
            sent: The ids in what is compared of the request under way, in a fixed order.
            recorded: The same of a recorded one.

        Returns:
            The recorded id for each id sent, or None where an id would stand for two.
        """
        if len(sent) != len(recorded):
            return None
        names: dict[str, str] = {}
        back: dict[str, str] = {}
        for one, other in zip(sent, recorded, strict=True):
            known = self._recorded.get(one, names.get(one, other))
            known_back = self._sent.get(other, back.get(other, one))
            if known != other or known_back != one or _prefix(one) != _prefix(other):
                return None
            names[one], back[other] = other, one
        return names

    def bind(self, names: dict[str, str]) -> None:
        """Hold on to what a request has shown."""
        for sent, recorded in names.items():
            self._recorded[sent] = recorded
            self._sent[recorded] = sent

    def as_sent(self, text: str) -> str:
        """Return a part of a recorded response with the ids of the code; those it has not met, as they are.

        Those it meets here are its own from now on.
        """
        for found in ids_in(text):
            if found not in self._sent and found not in self._recorded:
                self.bind({found: found})
        return renamed(text, self._sent)


def _prefix(identifier: str) -> str:
    return identifier.partition("_")[0]
