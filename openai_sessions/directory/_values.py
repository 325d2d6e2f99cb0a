"""What a directory tells of its names, and checks of what it is given."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from openai_sessions._arguments import is_number, is_whole_number
from openai_sessions._items.text import has_surrogate
from openai_sessions.directory._database import MAX_NAME
from openai_sessions.session import OpenAIConversationsSession

MAIN = "main"
"""The branch that a name begins with."""

CREATION_KEY = "openai_sessions.creation"
"""The pair in the metadata of a conversation that says by which creation it came about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEntry:
    """A name in a directory.

    Attributes:
        name: The name.
        conversation_id: The conversation of its current branch; None until its first write.
        metadata: The pairs that the directory keeps with the name. Those that OpenAI keeps with the
            conversation are others.
        created_at: When the name was first opened, or began anew after it had expired.
        used_at: When it was last opened through the directory, or written to.
        expires_at: When it will expire, or has; None for never. An expired entry stands until it is
            used again, which begins it anew, or swept.
        branch: The current branch.
    """

    name: str
    conversation_id: str | None
    metadata: dict[str, str] = field(hash=False)
    created_at: datetime
    used_at: datetime
    expires_at: datetime | None
    branch: str


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Some names of a directory, in the order of their code points.

    Attributes:
        entries: The names.
        next_after: The `after` of the next page; None when this is the last one.
    """

    entries: tuple[SessionEntry, ...]
    next_after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchEntry:
    """A branch of a name.

    Attributes:
        branch: The branch.
        conversation_id: Its conversation; None until its first write.
        created_at: When it was made.
        is_current: Whether it is the one that the name stands for.
    """

    branch: str
    conversation_id: str | None
    created_at: datetime
    is_current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LostCreation:
    """A conversation that may exist at OpenAI without anybody knowing its id.

    Attributes:
        creation_id: The value of the pair `openai_sessions.creation` in its metadata, by which it can be
            recognised, for instance in OpenAI's dashboard.
        name: The name that it was created for.
        branch: The branch that it was created for.
        metadata: The other pairs that it was to be created with.
        requested_at: When it was asked for.
    """

    creation_id: str
    name: str
    branch: str
    metadata: dict[str, str] = field(hash=False)
    requested_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """What a sweep has done.

    Attributes:
        expired: How many names had expired, and were removed.
        deleted: How many conversations were deleted at OpenAI, or were gone there already.
        failed: How many could not be deleted, and are left for the next sweep.
        remaining: How many are left in all.
        lost_creations: Conversations that may exist and that nobody can delete without their ids.
    """

    expired: int
    deleted: int
    failed: int
    remaining: int
    lost_creations: tuple[LostCreation, ...]


_LONGEST = timedelta(days=365_000)
"""A datetime can hold no more than some thousand years."""

_OF_THE_DIRECTORY = frozenset({"conversation_id", "openai_client"})
"""Arguments of a session that the directory gives."""


def checked_name(value: object, what: str = "name") -> str:
    """Return a name, a branch or a prefix of names.

    Raises:
        TypeError: It is not a string.
        ValueError: It is empty, too long, or has a character that databases do not take.
    """
    if not isinstance(value, str):
        raise TypeError(f"the {what} is a string, not {value!r}")
    if not value:
        raise ValueError(f"the {what} is empty: give at least one character")
    return checked_text(value, what)


def checked_text(value: object, what: str) -> str:
    """Return a text that may be empty, such as a tenant.

    Raises:
        TypeError: It is not a string.
        ValueError: It is too long, or has a character that databases do not take.
    """
    if not isinstance(value, str):
        raise TypeError(f"the {what} is a string, not {value!r}")
    if len(value) > MAX_NAME:
        raise ValueError(
            f"the {what} {value[:40]!r}… has {len(value)} characters, and at most {MAX_NAME} fit"
        )
    if "\0" in value or has_surrogate(value):
        raise ValueError(f"the {what} {value!r} has a NUL or a lone surrogate, which databases do not take")
    return value


def checked_strings(value: object) -> dict[str, str] | None:
    """Return a copy of the metadata of an entry.

    Raises:
        TypeError: It is not a mapping of strings to strings.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise TypeError(f"metadata is a mapping of strings to strings, not {type(value).__name__}")
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"metadata[{key!r}] is not a string under a string: give str(…) of both")
    return dict(value)


def checked_lifetime(value: object) -> float | None:
    """Return the seconds of `expires_in`, or None.

    Raises:
        TypeError: It is neither a timedelta nor a number.
        ValueError: It is not positive, or over a thousand years.
    """
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not is_number(seconds):
        raise TypeError(f"expires_in is a timedelta or a number of seconds, not {value!r}")
    if not 0 < seconds < math.inf or seconds > _LONGEST.total_seconds():
        raise ValueError(f"expires_in is positive and at most {_LONGEST.days} days, not {value!r}")
    return float(seconds)


def checked_count(value: object, what: str) -> int:
    """Return a number of things from 1.

    Raises:
        TypeError: It is not a whole number.
        ValueError: It is less than 1.
    """
    if not is_whole_number(value):
        raise TypeError(f"{what} is a whole number, not {value!r}")
    if value < 1:
        raise ValueError(f"{what} is a whole number from 1, not {value!r}")
    return value


def checked_age(value: object) -> timedelta:
    """Return an age of at least nothing.

    Raises:
        TypeError: It is neither a timedelta nor a number.
        ValueError: It is negative, or over a thousand years.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not is_number(seconds):
        raise TypeError(f"older_than is a timedelta or a number of seconds, not {value!r}")
    if not 0 <= seconds <= _LONGEST.total_seconds():
        raise ValueError(f"older_than is from 0 to {_LONGEST.days} days, not {value!r}")
    return timedelta(seconds=seconds)


def checked_options(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments for sessions.

    Raises:
        TypeError: One is no argument of a session, or one that the directory gives.
    """
    known = inspect.signature(OpenAIConversationsSession).parameters.keys() - _OF_THE_DIRECTORY
    for name in value:
        if name not in known:
            raise TypeError(
                f"{name!r} is no option of a session in a directory: one is {', '.join(sorted(known))}"
            )
    return dict(value)
