"""Checks of reads with a limit: the newest items, in chronological order."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from openai_sessions.testing._checks._samples import messages, numbered
from openai_sessions.testing._report import CheckSkippedError, expect_texts

if TYPE_CHECKING:
    from openai_sessions.testing._report import Session, Sessions


async def limit_none_gives_all(sessions: Sessions) -> None:
    """Without a limit every item is given."""
    await _expect_newest(sessions, limit=None, number=5)


async def limit_zero_gives_none(sessions: Sessions) -> None:
    """A limit of 0 gives an empty list."""
    await _expect_newest(sessions, limit=0, number=0)


async def limit_below_zero_gives_none(sessions: Sessions) -> None:
    """A negative limit gives an empty list."""
    await _expect_newest(sessions, limit=-1, number=0)


async def limit_one_gives_the_newest(sessions: Sessions) -> None:
    """A limit of 1 gives the newest item."""
    await _expect_newest(sessions, limit=1, number=1)


async def limit_gives_the_newest_in_order(sessions: Sessions) -> None:
    """A limit gives that many of the newest items, oldest first."""
    await _expect_newest(sessions, limit=3, number=3)


async def limit_of_all_gives_all(sessions: Sessions) -> None:
    """A limit of exactly the number of items gives every item."""
    await _expect_newest(sessions, limit=5, number=5)


async def limit_above_all_gives_all(sessions: Sessions) -> None:
    """A limit of more items than there are gives every item."""
    await _expect_newest(sessions, limit=6, number=5)


async def limit_of_any_size_gives_all(sessions: Sessions) -> None:
    """A limit of 2147483647, with which the Agents SDK asks for everything, gives every item."""
    await _expect_newest(sessions, limit=2147483647, number=5)


async def limit_above_a_page_gives_the_newest(sessions: Sessions) -> None:
    """A limit of 101, more than a page of the hosted API, gives the newest 101 of 120 items, oldest first."""
    session = await sessions.new()
    for start in range(0, 120, 20):
        await session.add_items(messages(numbered(120)[start : start + 20]))
    expect_texts(
        numbered(120)[-101:], await session.get_items(limit=101), "get_items(limit=101) of 120 items"
    )


async def settings_limit_holds_without_another(sessions: Sessions) -> None:
    """The limit of session_settings holds for a read without a limit of its own."""
    session = await _session_limited_to_two(sessions)
    expect_texts(numbered(5)[-2:], await session.get_items(), "get_items() with session_settings.limit=2")


async def explicit_limit_beats_settings(sessions: Sessions) -> None:
    """The limit of a read wins over the limit of session_settings."""
    session = await _session_limited_to_two(sessions)
    read = await session.get_items(limit=3)
    expect_texts(numbered(5)[-3:], read, "get_items(limit=3) with session_settings.limit=2")


async def _expect_newest(sessions: Sessions, *, limit: int | None, number: int) -> None:
    session = await sessions.new()
    await session.add_items(messages(numbered(5)))
    expected = numbered(5)[5 - number :]
    expect_texts(expected, await session.get_items(limit=limit), f"get_items(limit={limit}) of 5 items")


async def _session_limited_to_two(sessions: Sessions) -> Session:
    session: Any = await sessions.new()
    settings = getattr(session, "session_settings", None)
    if not hasattr(settings, "limit") or not dataclasses.is_dataclass(settings):
        raise CheckSkippedError("the session has no session_settings with a limit")
    session.session_settings = dataclasses.replace(settings, limit=2)  # type: ignore[type-var]
    await session.add_items(messages(numbered(5)))
    return session  # type: ignore[no-any-return]
