"""Checks of several sessions one after the other: each its own history, or the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_sessions.testing._checks._samples import message, messages, numbered
from openai_sessions.testing._report import CheckSkippedError, expect, expect_texts, id_of, text_of

if TYPE_CHECKING:
    from openai_sessions.testing._report import Sessions


async def sessions_do_not_share_items(sessions: Sessions) -> None:
    """What is added to, popped from or cleared in one session changes no other."""
    one, other = await sessions.new(), await sessions.new()
    await one.add_items(messages(numbered(3, "one")))
    await other.add_items(messages(numbered(2, "other")))
    expect_texts(numbered(3, "one"), await one.get_items(), "get_items() of the session written to first")
    await one.pop_item()
    await one.clear_session()
    expect_texts(
        numbered(2, "other"),
        await other.get_items(),
        "get_items() after clear_session() of another",
    )


async def unused_session_creates_nothing(sessions: Sessions) -> None:
    """Reading, popping and clearing an unused session bring no history into being."""
    session = await sessions.new()
    if id_of(session):
        raise CheckSkippedError("the session has its id from the beginning")
    await session.get_items()
    await session.pop_item()
    await session.clear_session()
    await session.get_items(limit=1)
    expect(None, id_of(session), "session_id after get_items(), pop_item() and clear_session()")


async def reopened_session_reads_the_history(sessions: Sessions) -> None:
    """Another session on the same history reads it whole and in order."""
    first = await sessions.new()
    await first.add_items(messages(numbered(5)))
    second = await sessions.reopen(first)
    expect_texts(numbered(5), await second.get_items(), "get_items() of the reopened session")


async def reopened_sessions_see_each_other(sessions: Sessions) -> None:
    """Two sessions on one history see what the other added and popped, at once."""
    first = await sessions.new()
    await first.add_items([message("a")])
    second = await sessions.reopen(first)
    expect_texts(["a"], await second.get_items(), "get_items() of the second, at first")
    await second.add_items([message("b")])
    expect_texts(["a", "b"], await first.get_items(), "get_items() of the first, after the second added")
    await first.add_items([message("c")])
    expect_texts(
        ["a", "b", "c"], await second.get_items(), "get_items() of the second, after the first added"
    )
    expect("c", text_of(await second.pop_item()), "pop_item() of the second")
    expect_texts(["a", "b"], await first.get_items(), "get_items() of the first, after the second popped")
