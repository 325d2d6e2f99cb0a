"""Which values of `include` a server takes. Servers other than OpenAI's may know only some of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from weakref import WeakKeyDictionary

import openai

_lacking: WeakKeyDictionary[object, dict[str, set[str]]] = WeakKeyDictionary()
"""The registry of the process: for each HTTP client and base URL, the values that the server lacks."""

_CHOICES = re.compile(r"supported|allowed|permitted|expected|should be|one of|valid values", re.IGNORECASE)
"""Begins the list of the values that a server has."""

_PLACE = re.compile(r"include(?:\[\])?(?:\[|', )(\d+)")
"""The place of a value in the request, as in `include[3]`, or in the errors of pydantic."""


class Include:
    """The values of `include` that list requests send.

    Args:
        needed: Those that the replay form needs: the ones that the server lacks are left out.
        given: Those of the caller, which are always sent.
        http_client: The HTTP client; all that share it know what the server lacks.
        base_url: The base URL of the server.
    """

    def __init__(
        self, needed: Iterable[str], given: Iterable[str], *, http_client: object, base_url: str
    ) -> None:
        self.given = tuple(dict.fromkeys(given))
        self._needed = tuple(value for value in dict.fromkeys(needed) if value not in self.given)
        self._lacking = _lacking.setdefault(http_client, {}).setdefault(base_url, set())

    @property
    def needed(self) -> tuple[str, ...]:
        """The values that the server is not known to lack."""
        return tuple(value for value in self._needed if value not in self._lacking)

    @property
    def lacking(self) -> tuple[str, ...]:
        """The needed values that the server lacks."""
        return tuple(value for value in self._needed if value in self._lacking)

    def leave_out(self, values: Iterable[str]) -> list[str]:
        """Send these values no more to this server; return those that were not known to be lacking."""
        new = [value for value in values if value not in self._lacking]
        self._lacking.update(new)
        return new


def is_about_include(error: openai.APIStatusError, sent: Sequence[str]) -> bool:
    """Return whether a response may refuse the values of `include` that were sent."""
    if error.status_code not in (400, 422):
        return False
    if isinstance(error.body, dict) and isinstance(error.body.get("param"), str):
        return str(error.body["param"]).startswith("include")
    return any(word in _text(error) for word in ("include", *sent))


def refused(error: openai.APIStatusError, sent: Sequence[str]) -> list[str]:
    """Return the values that a response refuses by name, or by their place in the request."""
    said = _CHOICES.split(_text(error), maxsplit=1)[0]
    named = [value for value in sent if value in said]
    place = _PLACE.search(_text(error))
    if named or place is None:
        return named
    return list(sent[int(place[1]) : int(place[1]) + 1])


def _text(error: openai.APIStatusError) -> str:
    return f"{error.message} {error.body}"
