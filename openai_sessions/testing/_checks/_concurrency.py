"""Checks of calls made at the same time, in one event loop."""

from __future__ import annotations

from openai_sessions.testing._checks._samples import message, messages, numbered
from openai_sessions.testing._report import Session, Sessions, expect, expect_texts, text_of, together

_CALLS = 8


async def concurrent_adds_lose_nothing(sessions: Sessions) -> None:
    """Items added by several calls at once are all stored, once, those of each call together and in order."""
    session = await sessions.new()
    await session.add_items([message("first")])
    await _expect_batches_whole([session], before=["first"], size=3)


async def concurrent_large_adds_stay_together(sessions: Sessions) -> None:
    """Calls of 25 items at once, each more than one request of the hosted API, do not mix their items."""
    session = await sessions.new()
    await session.add_items([message("first")])
    await _expect_batches_whole([session], before=["first"], size=25)


async def concurrent_first_adds_make_one_history(sessions: Sessions) -> None:
    """The first writers of a new session, all at once, write to one history."""
    await _expect_batches_whole([await sessions.new()], before=[], size=2)


async def concurrent_pops_share_no_item(sessions: Sessions) -> None:
    """Pops made at once give each item to exactly one of them, and None to those too many."""
    session = await sessions.new()
    await session.add_items(messages(numbered(_CALLS - 2)))
    await _expect_pops_apart([session])


async def concurrent_adds_of_reopened_sessions_stay_together(sessions: Sessions) -> None:
    """Calls of 25 items at once, through two sessions on one history, lose nothing and do not mix."""
    first = await sessions.new()
    await first.add_items([message("first")])
    await _expect_batches_whole([first, await sessions.reopen(first)], before=["first"], size=25)


async def concurrent_pops_of_reopened_sessions_share_no_item(sessions: Sessions) -> None:
    """Pops made at once through two sessions on one history give each item to exactly one of them."""
    first = await sessions.new()
    await first.add_items(messages(numbered(_CALLS - 2)))
    await _expect_pops_apart([first, await sessions.reopen(first)])


async def _expect_batches_whole(writers: list[Session], *, before: list[str], size: int) -> None:
    batches = [numbered(size, f"call {index}, item") for index in range(_CALLS)]
    calls = [writers[index % len(writers)].add_items(messages(batch)) for index, batch in enumerate(batches)]
    await together(*calls)
    stored = await writers[0].get_items()
    texts = [text_of(item) for item in stored]
    as_stored = sorted(batches, key=lambda batch: texts.index(batch[0]) if batch[0] in texts else len(texts))
    expected = [*before, *(text for batch in as_stored for text in batch)]
    expect_texts(expected, stored, f"get_items() after {_CALLS} calls of add_items of {size} items at once")


async def _expect_pops_apart(takers: list[Session]) -> None:
    pops = [takers[index % len(takers)].pop_item() for index in range(_CALLS)]
    taken = [text_of(item) for item in await together(*pops) if item is not None]
    expect(numbered(_CALLS - 2), sorted(taken), f"{_CALLS} calls of pop_item() at once, sorted")
    expect([], await takers[0].get_items(), f"get_items() after {_CALLS} calls of pop_item() at once")
