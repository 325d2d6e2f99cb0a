"""The values that a directory returns, and the checks of its arguments."""

from __future__ import annotations

import inspect
import math
import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from openai_sessions._arguments import checked_text, is_number, is_whole_number
from openai_sessions._items.text import has_surrogate
from openai_sessions.directory._database import MAX_NAME
from openai_sessions.session import OpenAIConversationsSession

MAIN = "main"
"""The first branch of every name."""

CREATION_KEY = "openai_sessions.creation"
"""The metadata key of a conversation that contains the id of its recorded creation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEntry:
    """A name in a directory.

    Attributes:
        name: The name.
        user: Its owner, or None.
        title: Its title, or None.
        turn_count: How many writes through the directory have ended a turn of the current branch, with an
            answer of the assistant. A fork starts with the turns that it has copied, a cleared branch with 0.
            Items that were popped, or written without the directory, do not change it.
        conversation_id: The conversation of its current branch; None until its first write.
        metadata: The metadata that the directory stores with the name, independent of the conversation's
            metadata at OpenAI.
        created_at: When the name was first opened, or reset after it had expired.
        used_at: When it was created or reset, or last written to or forked through the directory. Opening
            and reading do not change it.
        expires_at: When it expires or has expired; None for never. An expired entry remains until it is used
            again, which resets it, or swept.
        branch: The current branch.
    """

    name: str
    user: str | None
    title: str | None
    turn_count: int
    conversation_id: str | None
    metadata: dict[str, str] = field(hash=False)
    created_at: datetime
    used_at: datetime
    expires_at: datetime | None
    branch: str


TitleWriter = Callable[[list[Any]], "str | Awaitable[str | None] | None"]
"""Returns a title for the items of a turn, or None; may be a coroutine function."""

Order = Literal["-used_at", "used_at", "name", "-name"]
"""The order of a page of names; a minus sign reverses it."""


@dataclass(frozen=True, slots=True)
class SessionPage:
    """A page of the names of a directory.

    Attributes:
        entries: The names, in the requested order.
        next_after: The `after` argument for the next page; None on the last page.
    """

    entries: tuple[SessionEntry, ...]
    next_after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchEntry:
    """A branch of a name.

    Attributes:
        branch: The branch.
        conversation_id: Its conversation; None until its first write.
        created_at: When it was created.
        is_current: Whether it is the current branch of the name.
    """

    branch: str
    conversation_id: str | None
    created_at: datetime
    is_current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LostCreation:
    """A conversation that may exist at OpenAI, and whose id nobody knows.

    Attributes:
        creation_id: The value of `openai_sessions.creation` in its metadata, which identifies it, for
            instance in OpenAI's dashboard.
        name: The name that it was created for.
        branch: The branch that it was created for.
        user: The owner of the name at that time, or None.
        metadata: The other metadata that was sent with the request.
        requested_at: When it was requested.
    """

    creation_id: str
    name: str
    branch: str
    user: str | None
    metadata: dict[str, str] = field(hash=False)
    requested_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """The results of a sweep; of a dry run, what a sweep would do.

    Attributes:
        expired: The number of expired names that were removed.
        deleted: The number of conversations that were deleted at OpenAI, or were already gone.
        failed: The number of conversations that could not be deleted and are left for the next sweep.
        remaining: The number of all conversations that are still to be deleted.
        lost_creations: Conversations that may exist, and that cannot be deleted without their ids.
    """

    expired: int
    deleted: int
    failed: int
    remaining: int
    lost_creations: tuple[LostCreation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedObjects:
    """What became of the objects of one kind.

    Attributes:
        deleted: The ids of objects that the server says it has deleted.
        already_gone: The ids of objects that it no longer had.
        failed: The reason of each failure, by the id of the object, which may still be stored.
    """

    deleted: tuple[str, ...] = ()
    already_gone: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict, hash=False)

    def as_json(self) -> dict[str, Any]:
        """Return values that `json.dumps` accepts."""
        return {"deleted": [*self.deleted], "already_gone": [*self.already_gone], "failed": {**self.failed}}


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureReport:
    """The results of the erasure of a user, including those of its interrupted runs.

    Attributes:
        user: The user.
        at: When the erasure ended.
        dry_run: Whether nothing was changed: then `deleted` is what would be deleted.
        conversations: The user's conversations, by id.
        items: Their items, as `CONVERSATION/items/ITEM`.
        responses: Stored responses, by id.
        files: Uploaded files that items named, by id.
        keys: The key of the user's encrypted histories, by the user.
        lost_creations: Conversations that may exist, and that cannot be deleted without their ids.
    """

    user: str
    at: datetime
    dry_run: bool
    conversations: ErasedObjects
    items: ErasedObjects
    responses: ErasedObjects
    files: ErasedObjects
    keys: ErasedObjects
    lost_creations: tuple[LostCreation, ...]

    @property
    def has_failures(self) -> bool:
        """Whether something may still be stored: call `erase()` again."""
        return any(objects.failed for objects in self._kinds().values())

    def as_json(self) -> dict[str, Any]:
        """Return the report as values that `json.dumps` accepts."""
        return {
            "user": self.user,
            "at": self.at.isoformat(),
            "dry_run": self.dry_run,
            **{kind: objects.as_json() for kind, objects in self._kinds().items()},
            "lost_creations": [
                {**asdict(lost), "requested_at": lost.requested_at.isoformat()}
                for lost in self.lost_creations
            ],
        }

    def _kinds(self) -> dict[str, ErasedObjects]:
        kinds = ("conversations", "items", "responses", "files", "keys")
        return {kind: getattr(self, kind) for kind in kinds}


_MAX_AGE = timedelta(days=365_000)
"""About the range of a datetime."""

_SET_BY_DIRECTORY = frozenset({"conversation_id", "openai_client"})
"""Session arguments that the directory provides."""


def checked_name(value: object, what: str = "name") -> str:
    """Return a name, a branch or an id that is not empty.

    Raises:
        TypeError: It is not a string.
        ValueError: It is empty, too long, or contains a character that databases do not accept.
    """
    return checked_column(checked_text(f"the {what}", value, wanted="at least one character"), what)


def checked_column(value: object, what: str) -> str:
    """Return a string that fits into a column of names, such as a tenant; it may be empty.

    Raises:
        TypeError: It is not a string.
        ValueError: It is too long, or contains a character that databases do not accept.
    """
    if not isinstance(value, str):
        raise TypeError(f"the {what} must be a string, not {type(value).__name__}")
    if len(value) > MAX_NAME:
        raise ValueError(
            f"the {what} {value[:40]!r}… has {len(value)} characters, and at most {MAX_NAME} fit"
        )
    if "\0" in value or has_surrogate(value):
        raise ValueError(
            f"the {what} {value!r} contains NUL or a lone surrogate, which databases do not accept"
        )
    return value


def checked_optional(value: object, what: str) -> str | None:
    """Return a user or a title, or None.

    Raises:
        TypeError, ValueError: As `checked_name`.
    """
    return None if value is None else checked_name(value, what)


def search_key(text: str) -> str:
    """Return a text as searches compare it: without differences of case, width or composition."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def checked_lifetime(value: object) -> float | None:
    """Return `expires_in` in seconds, or None.

    Raises:
        TypeError: It is neither a timedelta nor a number.
        ValueError: It is not positive, or too large.
    """
    if value is None:
        return None
    seconds = _seconds("expires_in", value)
    if not 0 < seconds < math.inf or seconds > _MAX_AGE.total_seconds():
        raise ValueError(f"expires_in must be positive and at most {_MAX_AGE.days} days, not {value!r}")
    return float(seconds)


def checked_age(value: object) -> timedelta:
    """Return `older_than` as a timedelta.

    Raises:
        TypeError: It is neither a timedelta nor a number.
        ValueError: It is negative, or too large.
    """
    seconds = _seconds("older_than", value)
    if not 0 <= seconds <= _MAX_AGE.total_seconds():
        raise ValueError(f"older_than must be between 0 and {_MAX_AGE.days} days, not {value!r}")
    return timedelta(seconds=seconds)


def _seconds(name: str, value: object) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not is_number(seconds):
        raise TypeError(f"{name} must be a timedelta or a number of seconds, not {value!r}")
    return seconds


def checked_count(value: object, what: str) -> int:
    """Return a whole number of at least 1.

    Raises:
        TypeError: It is not a whole number.
        ValueError: It is less than 1.
    """
    if not is_whole_number(value):
        raise TypeError(f"{what} must be a whole number, not {value!r}")
    if value < 1:
        raise ValueError(f"{what} must be at least 1, not {value!r}")
    return value


def checked_options(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of `OpenAIConversationsSession`.

    Raises:
        TypeError: One is unknown, or set by the directory.
    """
    known = inspect.signature(OpenAIConversationsSession).parameters.keys() - _SET_BY_DIRECTORY
    for name in value:
        if name not in known:
            raise TypeError(
                f"{name!r} is not a session option of a directory: use one of {', '.join(sorted(known))}"
            )
    return dict(value)
