"""What a directory tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

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
