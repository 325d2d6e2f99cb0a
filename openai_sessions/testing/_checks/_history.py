"""Checks of one history: order, adding, popping, clearing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_sessions.testing._checks._samples import message, messages, numbered
from openai_sessions.testing._report import expect, expect_texts, text_of

if TYPE_CHECKING:
    from openai_sessions.testing._report import Sessions


async def empty_history_reads_as_empty_list(sessions: Sessions) -> None:
    """A session without items gives an empty list."""
    session = await sessions.new()
    expect([], await session.get_items(), "get_items() of an empty history")


async def empty_history_pops_none(sessions: Sessions) -> None:
    """A pop from an empty history gives None."""
    session = await sessions.new()
    expect(None, await session.pop_item(), "pop_item() of an empty history")


async def empty_history_clears(sessions: Sessions) -> None:
    """An empty history can be cleared, and stays empty."""
    session = await sessions.new()
    await session.clear_session()
    expect([], await session.get_items(), "get_items() after clear_session() of an empty history")


async def items_keep_their_order(sessions: Sessions) -> None:
    """Items of one call come back in their order."""
    session = await sessions.new()
    await session.add_items(messages(numbered(5)))
    expect_texts(numbered(5), await session.get_items(), "get_items() after add_items of 5 items")


async def calls_keep_their_order(sessions: Sessions) -> None:
    """Items of later calls come behind those of earlier ones."""
    session = await sessions.new()
    for start in (0, 2, 4):
        await session.add_items(messages(numbered(6)[start : start + 2]))
    expect_texts(numbered(6), await session.get_items(), "get_items() after three add_items of 2 items")


async def pop_gives_what_was_added(sessions: Sessions) -> None:
    """The item popped is the one added, with exactly its keys and values."""
    session = await sessions.new()
    await session.add_items([message("Hello"), {"role": "assistant", "content": "Hi there!"}])
    expect(
        {"role": "assistant", "content": "Hi there!"},
        await session.pop_item(),
        "pop_item() of 2 items",
    )


async def pop_takes_newest_until_none(sessions: Sessions) -> None:
    """Each pop removes the newest item, until there is none."""
    session = await sessions.new()
    await session.add_items(messages(numbered(3)))
    for left in (2, 1, 0):
        expect(f"message {left}", text_of(await session.pop_item()), f"pop_item() of {left + 1} items")
        expect_texts(numbered(left), await session.get_items(), "get_items() after that pop_item()")
    expect(None, await session.pop_item(), "pop_item() once all are popped")


async def items_added_after_pop_follow_the_rest(sessions: Sessions) -> None:
    """An item added after a pop takes the place of the popped one."""
    session = await sessions.new()
    await session.add_items(messages(numbered(3)))
    await session.pop_item()
    await session.add_items([message("instead")])
    expect_texts(
        [*numbered(2), "instead"],
        await session.get_items(),
        "get_items() after pop_item() and add_items",
    )


async def clear_removes_every_item(sessions: Sessions) -> None:
    """After a clear there is nothing to read and nothing to pop."""
    session = await sessions.new()
    await session.add_items(messages(numbered(3)))
    await session.clear_session()
    expect([], await session.get_items(), "get_items() after clear_session()")
    expect(None, await session.pop_item(), "pop_item() after clear_session()")


async def cleared_session_takes_items(sessions: Sessions) -> None:
    """A cleared session begins a new history."""
    session = await sessions.new()
    await session.add_items(messages(numbered(3)))
    await session.clear_session()
    await session.add_items([message("anew")])
    expect_texts(["anew"], await session.get_items(), "get_items() after clear_session() and add_items")


async def adding_no_items_changes_nothing(sessions: Sessions) -> None:
    """An empty list of items can be added, and changes nothing."""
    session = await sessions.new()
    await session.add_items([])
    expect([], await session.get_items(), "get_items() after add_items([]) to an empty history")
    await session.add_items(messages(numbered(2)))
    await session.add_items([])
    expect_texts(numbered(2), await session.get_items(), "get_items() after add_items([]) to 2 items")


async def many_items_in_one_call_are_kept(sessions: Sessions) -> None:
    """One call takes 45 items, more than two requests of the hosted API, and keeps them in order."""
    session = await sessions.new()
    await session.add_items(messages(numbered(45)))
    expect_texts(numbered(45), await session.get_items(), "get_items() after add_items of 45 items")


async def long_history_reads_whole(sessions: Sessions) -> None:
    """A history of 250 items, more than two pages of the hosted API, reads whole and in order."""
    session = await sessions.new()
    for start in range(0, 250, 10):
        await session.add_items(messages(numbered(250)[start : start + 10]))
    expect_texts(numbered(250), await session.get_items(), "get_items() of 250 items")


async def session_id_is_stable(sessions: Sessions) -> None:
    """Once an item is stored, session_id is a non-empty string that stays the same."""
    session = await sessions.new()
    await session.add_items([message("first")])
    first = session.session_id
    expect(
        (str, True), (type(first), bool(first)), f"type of session_id {first!r}, and whether it is not empty"
    )
    await session.add_items([message("second")])
    expect(first, session.session_id, "session_id after another add_items()")
