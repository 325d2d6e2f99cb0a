"""What a session must do: one async function for each requirement, which its docstring states.

The checks run in the order of this file: one history, reads with a limit, round trips, several sessions, and
concurrent calls.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any

from openai_sessions.testing._errors import CheckFailedError, CheckSkippedError
from openai_sessions.testing._sessions import (
    Session,
    Sessions,
    counted,
    expect,
    expect_items,
    expect_texts,
    id_of,
    text_of,
    together,
)

_PICTURE = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
_CALLS = 8


async def empty_history_reads_as_empty_list(sessions: Sessions) -> None:
    """get_items() of an empty history returns an empty list."""
    session = await sessions.new()
    expect([], await session.get_items(), "get_items() of an empty history")


async def empty_history_pops_none(sessions: Sessions) -> None:
    """pop_item() of an empty history returns None."""
    session = await sessions.new()
    expect(None, await session.pop_item(), "pop_item() of an empty history")


async def empty_history_clears(sessions: Sessions) -> None:
    """clear_session() of an empty history succeeds and leaves it empty."""
    session = await sessions.new()
    await session.clear_session()
    expect([], await session.get_items(), "get_items() after clear_session() of an empty history")


async def items_keep_their_order(sessions: Sessions) -> None:
    """Items added in one call are read in their order."""
    session = await sessions.new()
    await session.add_items(messages(numbered(5)))
    expect_texts(numbered(5), await session.get_items(), "get_items() after add_items of 5 items")


async def calls_keep_their_order(sessions: Sessions) -> None:
    """Items added in later calls follow those of earlier calls."""
    session = await sessions.new()
    for start in (0, 2, 4):
        await session.add_items(messages(numbered(6)[start : start + 2]))
    expect_texts(numbered(6), await session.get_items(), "get_items() after three add_items of 2 items")


async def pop_gives_what_was_added(sessions: Sessions) -> None:
    """A popped item has exactly the keys and values that were added."""
    session = await sessions.new()
    await session.add_items([message("Hello"), {"role": "assistant", "content": "Hi there!"}])
    expect(
        {"role": "assistant", "content": "Hi there!"},
        await session.pop_item(),
        "pop_item() of 2 items",
    )


async def pop_takes_newest_until_none(sessions: Sessions) -> None:
    """Each pop removes the newest item until the history is empty."""
    session = await sessions.new()
    await session.add_items(messages(numbered(3)))
    for left in (2, 1, 0):
        expect(f"message {left}", text_of(await session.pop_item()), f"pop_item() of {left + 1} items")
        expect_texts(numbered(left), await session.get_items(), "get_items() after that pop_item()")
    expect(None, await session.pop_item(), "pop_item() after the last item")


async def items_added_after_pop_follow_the_rest(sessions: Sessions) -> None:
    """An item added after a pop follows the remaining items."""
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
    """After clear_session() there is nothing to read or to pop."""
    session = await sessions.new()
    await session.add_items(messages(numbered(3)))
    await session.clear_session()
    expect([], await session.get_items(), "get_items() after clear_session()")
    expect(None, await session.pop_item(), "pop_item() after clear_session()")


async def cleared_session_takes_items(sessions: Sessions) -> None:
    """A cleared session accepts new items."""
    session = await sessions.new()
    await session.add_items(messages(numbered(3)))
    await session.clear_session()
    await session.add_items([message("new")])
    expect_texts(["new"], await session.get_items(), "get_items() after clear_session() and add_items")


async def adding_no_items_changes_nothing(sessions: Sessions) -> None:
    """Adding an empty list succeeds and changes nothing."""
    session = await sessions.new()
    await session.add_items([])
    expect([], await session.get_items(), "get_items() after add_items([]) to an empty history")
    await session.add_items(messages(numbered(2)))
    await session.add_items([])
    expect_texts(numbered(2), await session.get_items(), "get_items() after add_items([]) to 2 items")


async def many_items_in_one_call_are_kept(sessions: Sessions) -> None:
    """One call accepts 45 items, more than two requests of the hosted API accept, and keeps their order."""
    session = await sessions.new()
    await session.add_items(messages(numbered(45)))
    expect_texts(numbered(45), await session.get_items(), "get_items() after add_items of 45 items")


async def long_history_reads_whole(sessions: Sessions) -> None:
    """A history of 250 items, more than two pages of the hosted API, is read completely and in order."""
    session = await sessions.new()
    for start in range(0, 250, 10):
        await session.add_items(messages(numbered(250)[start : start + 10]))
    expect_texts(numbered(250), await session.get_items(), "get_items() of 250 items")


async def session_id_is_stable(sessions: Sessions) -> None:
    """Once an item is stored, session_id is a non-empty string that does not change."""
    session = await sessions.new()
    await session.add_items([message("first")])
    first = session.session_id
    expect(
        (str, True), (type(first), bool(first)), f"type of session_id {first!r}, and whether it is non-empty"
    )
    await session.add_items([message("second")])
    expect(first, session.session_id, "session_id after another add_items()")


async def limit_none_gives_all(sessions: Sessions) -> None:
    """Without a limit, every item is returned."""
    await _expect_newest(sessions, limit=None, number=5)


async def limit_zero_gives_none(sessions: Sessions) -> None:
    """A limit of 0 returns an empty list."""
    await _expect_newest(sessions, limit=0, number=0)


async def limit_below_zero_gives_none(sessions: Sessions) -> None:
    """A negative limit returns an empty list."""
    await _expect_newest(sessions, limit=-1, number=0)


async def limit_one_gives_the_newest(sessions: Sessions) -> None:
    """A limit of 1 returns the newest item."""
    await _expect_newest(sessions, limit=1, number=1)


async def limit_gives_the_newest_in_order(sessions: Sessions) -> None:
    """A limit returns that many of the newest items, oldest first."""
    await _expect_newest(sessions, limit=3, number=3)


async def limit_of_all_gives_all(sessions: Sessions) -> None:
    """A limit equal to the number of items returns every item."""
    await _expect_newest(sessions, limit=5, number=5)


async def limit_above_all_gives_all(sessions: Sessions) -> None:
    """A limit above the number of items returns every item."""
    await _expect_newest(sessions, limit=6, number=5)


async def limit_of_any_size_gives_all(sessions: Sessions) -> None:
    """A limit of 2147483647, which the Agents SDK uses to read everything, returns every item."""
    await _expect_newest(sessions, limit=2147483647, number=5)


async def limit_above_a_page_gives_the_newest(sessions: Sessions) -> None:
    """A limit of 101, above the page size of the hosted API, returns the newest 101 of 120 items in order."""
    session = await sessions.new()
    for start in range(0, 120, 20):
        await session.add_items(messages(numbered(120)[start : start + 20]))
    expect_texts(
        numbered(120)[-101:], await session.get_items(limit=101), "get_items(limit=101) of 120 items"
    )


async def settings_limit_holds_without_another(sessions: Sessions) -> None:
    """A read without a limit uses the limit of session_settings."""
    session = await _session_limited_to_two(sessions)
    expect_texts(numbered(5)[-2:], await session.get_items(), "get_items() with session_settings.limit=2")


async def explicit_limit_beats_settings(sessions: Sessions) -> None:
    """The limit of a read overrides the limit of session_settings."""
    session = await _session_limited_to_two(sessions)
    read = await session.get_items(limit=3)
    expect_texts(numbered(5)[-3:], read, "get_items(limit=3) with session_settings.limit=2")


async def user_text_comes_back(sessions: Sessions) -> None:
    """A message whose content is a string is read back with that string as its content."""
    await _expect_back(sessions, [message("What is the weather in Paris?")])


async def instructions_come_back(sessions: Sessions) -> None:
    """Developer and system messages are read back with their role and text."""
    await _expect_back(
        sessions,
        [{"role": "developer", "content": "Answer briefly."}, {"role": "system", "content": "Be kind."}],
    )


async def user_picture_comes_back(sessions: Sessions) -> None:
    """A message with a text and an image is read back with both, including URL and detail of the image."""
    picture = {"type": "input_image", "image_url": _PICTURE, "detail": "high"}
    content = [{"type": "input_text", "text": "What is this?"}, picture]
    await _expect_back(sessions, [{"role": "user", "content": content}])


async def user_parts_stay_apart(sessions: Sessions) -> None:
    """A message with two texts is read back with two texts, in order."""
    content = [{"type": "input_text", "text": text} for text in ("one", "two")]
    await _expect_back(sessions, [{"role": "user", "content": content}])


async def answer_comes_back(sessions: Sessions) -> None:
    """An assistant message as returned by a model is read back with its text and annotations."""
    await _expect_back(sessions, [answer("Hi there!")])


async def function_call_comes_back(sessions: Sessions) -> None:
    """A function call and its output are read back with name, arguments, call_id and output."""
    await _expect_back(sessions, [call("call_1"), output("call_1")])


async def parallel_calls_come_back(sessions: Sessions) -> None:
    """Parallel function calls and their outputs are read back in order, even if they are equal."""
    ids = ["call_1", "call_2", "call_3"]
    await _expect_back(sessions, [*(call(i) for i in ids), *(output(i) for i in ids)])


async def encrypted_reasoning_comes_back(sessions: Sessions) -> None:
    """Encrypted reasoning is read back with its content and summary, before the call that it led to."""
    reasoning = {
        "type": "reasoning",
        "id": "rs_68d1f0f5a3b48191a1f0c2d3e4f5a6b7c8d9e0f1a2b3c4d5",
        "summary": [{"type": "summary_text", "text": "The user wants the weather."}],
        "encrypted_content": "gAAAAABo0fD1c2VhbGVkIHJlYXNvbmluZw==",
    }
    await _expect_back(sessions, [reasoning, call("call_1"), output("call_1")])


async def unicode_comes_back(sessions: Sessions) -> None:
    """Text in any script is read back character by character, without normalisation."""
    texts = ["Grüße", "Gru\u0308ße", "你好", "مرحبا", "👩\u200d👧 🇪🇺", "\U0001d518", "\ufeffmark", "a\u2028b"]
    await _expect_texts_back(sessions, texts)


async def control_characters_come_back(sessions: Sessions) -> None:
    """Line breaks, leading and trailing spaces, quotes and control characters are read back unchanged."""
    await _expect_texts_back(sessions, [" a\n\nb\r\n", "\ttab ", '"\\"', "\x01\x1b[0m\x7f", "{}", "null"])


async def empty_text_comes_back(sessions: Sessions) -> None:
    """An empty text is read back as an empty text; its message is not dropped."""
    await _expect_texts_back(sessions, ["before", "", "after"])


async def long_text_comes_back(sessions: Sessions) -> None:
    """A text of 200,000 characters is read back completely."""
    await _expect_texts_back(sessions, ["0123456789" * 20_000])


async def history_can_be_replayed(sessions: Sessions) -> None:
    """Items read from one session can be added to another, and are equal there except for their ids."""
    first, second = await sessions.new(), await sessions.new()
    await first.add_items(turn())
    replayed = await first.get_items()
    await second.add_items(replayed)
    again = await second.get_items()
    expect(
        _without_ids(replayed),
        _without_ids(again),
        "get_items() of one session, and of another one to which its items were added",
    )


async def arguments_are_left_alone(sessions: Sessions) -> None:
    """add_items() modifies neither the list nor the items that it is passed."""
    session = await sessions.new()
    items = turn()
    before = copy.deepcopy(items)
    await session.add_items(items)
    expect(before, items, "the argument of add_items(), before and after the call")


async def items_added_are_the_callers(sessions: Sessions) -> None:
    """Modifying items after add_items() does not change the history."""
    session = await sessions.new()
    items = turn()
    await session.add_items(items)
    before = copy.deepcopy(await session.get_items())
    _spoil(items)
    expect(before, await session.get_items(), "get_items() before and after the added items were modified")


async def items_read_are_the_callers(sessions: Sessions) -> None:
    """Modifying items that were read does not change the history."""
    session = await sessions.new()
    await session.add_items(turn())
    read = await session.get_items()
    before = copy.deepcopy(read)
    _spoil(read)
    expect(before, await session.get_items(), "get_items() before and after the items read were modified")


async def items_are_plain_json(sessions: Sessions) -> None:
    """Items that are read or popped consist of plain dicts, lists, strings, numbers, booleans and None."""
    session = await sessions.new()
    await session.add_items(turn())
    _expect_plain(await session.get_items(), "get_items()")
    _expect_plain(await session.pop_item(), "pop_item()")


async def sessions_do_not_share_items(sessions: Sessions) -> None:
    """Adding, popping and clearing in one session does not change another one."""
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
    """Reading, popping and clearing an unused session does not create a history."""
    session = await sessions.new()
    if id_of(session):
        raise CheckSkippedError("the session has its id from the start")
    await session.get_items()
    await session.pop_item()
    await session.clear_session()
    await session.get_items(limit=1)
    expect(None, id_of(session), "session_id after get_items(), pop_item() and clear_session()")


async def reopened_session_reads_the_history(sessions: Sessions) -> None:
    """Another session on the same history reads it completely and in order."""
    first = await sessions.new()
    await first.add_items(messages(numbered(5)))
    second = await sessions.reopen(first)
    expect_texts(numbered(5), await second.get_items(), "get_items() of the reopened session")


async def reopened_sessions_see_each_other(sessions: Sessions) -> None:
    """Two sessions on one history immediately see what the other one added and popped."""
    first = await sessions.new()
    await first.add_items([message("a")])
    second = await sessions.reopen(first)
    expect_texts(["a"], await second.get_items(), "get_items() of the second session, before other writes")
    await second.add_items([message("b")])
    expect_texts(["a", "b"], await first.get_items(), "get_items() of the first, after the second added")
    await first.add_items([message("c")])
    expect_texts(
        ["a", "b", "c"], await second.get_items(), "get_items() of the second, after the first added"
    )
    expect("c", text_of(await second.pop_item()), "pop_item() of the second")
    expect_texts(["a", "b"], await first.get_items(), "get_items() of the first, after the second popped")


async def concurrent_adds_lose_nothing(sessions: Sessions) -> None:
    """Items of concurrent add_items() calls are stored once, those of each call together and in order."""
    session = await sessions.new()
    await session.add_items([message("first")])
    await _expect_batches_whole([session], before=["first"], size=3)


async def concurrent_large_adds_stay_together(sessions: Sessions) -> None:
    """Concurrent calls with 25 items, each more than one request of the hosted API, are not interleaved."""
    session = await sessions.new()
    await session.add_items([message("first")])
    await _expect_batches_whole([session], before=["first"], size=25)


async def concurrent_first_adds_make_one_history(sessions: Sessions) -> None:
    """Concurrent first writes to a new session go to one history."""
    await _expect_batches_whole([await sessions.new()], before=[], size=2)


async def concurrent_pops_share_no_item(sessions: Sessions) -> None:
    """Concurrent pops return each item to exactly one caller, and None to surplus callers."""
    session = await sessions.new()
    await session.add_items(messages(numbered(_CALLS - 2)))
    await _expect_pops_apart([session])


async def concurrent_adds_of_reopened_sessions_stay_together(sessions: Sessions) -> None:
    """Concurrent calls with 25 items through two sessions on one history are complete and not interleaved."""
    first = await sessions.new()
    await first.add_items([message("first")])
    await _expect_batches_whole([first, await sessions.reopen(first)], before=["first"], size=25)


async def concurrent_pops_of_reopened_sessions_share_no_item(sessions: Sessions) -> None:
    """Concurrent pops through two sessions on one history return each item to exactly one caller."""
    first = await sessions.new()
    await first.add_items(messages(numbered(_CALLS - 2)))
    await _expect_pops_apart([first, await sessions.reopen(first)])


CHECKS: Mapping[str, Callable[[Sessions], Coroutine[Any, Any, None]]] = MappingProxyType(
    {
        name: check
        for name, check in list(globals().items())
        if inspect.iscoroutinefunction(check) and check.__module__ == __name__ and not name.startswith("_")
    }
)
"""Every check by its name, in the order in which they run."""


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


def _without_ids(items: list[Any]) -> list[Any]:
    return [{key: value for key, value in item.items() if key != "id"} for item in items]


def _spoil(items: list[Any]) -> None:
    for item in items:
        for part in item["content"] if isinstance(item.get("content"), list) else []:
            part["text"] = "spoilt"
        item["role"] = "spoilt"
    items.clear()


def _expect_plain(value: Any, where: str) -> None:
    if type(value) is dict:
        for key, member in value.items():
            expect(str, type(key), f"type of the key {key!r} of {where}")
            _expect_plain(member, f"{where}[{key!r}]")
    elif type(value) is list:
        for index, member in enumerate(value):
            _expect_plain(member, f"{where}[{index}]")
    elif type(value) not in {str, int, float, bool, type(None)}:
        raise CheckFailedError(
            f"{where} is a {type(value).__name__}\nexpected: plain JSON data\nactual:   {value!r}"
        )


async def _expect_texts_back(sessions: Sessions, texts: list[str]) -> None:
    session = await sessions.new()
    await session.add_items(messages(texts))
    expect_texts(texts, await session.get_items(), f"get_items() after add_items of {counted(texts)}")


async def _expect_back(sessions: Sessions, items: list[Any]) -> None:
    session = await sessions.new()
    await session.add_items(copy.deepcopy(items))
    expect_items(items, await session.get_items(), f"get_items() after add_items of {counted(items)}")


async def _expect_batches_whole(writers: list[Session], *, before: list[str], size: int) -> None:
    batches = [numbered(size, f"call {index}, item") for index in range(_CALLS)]
    calls = [writers[index % len(writers)].add_items(messages(batch)) for index, batch in enumerate(batches)]
    await together(*calls)
    stored = await writers[0].get_items()
    texts = [text_of(item) for item in stored]
    as_stored = sorted(batches, key=lambda batch: texts.index(batch[0]) if batch[0] in texts else len(texts))
    expected = [*before, *(text for batch in as_stored for text in batch)]
    expect_texts(expected, stored, f"get_items() after {_CALLS} concurrent add_items() of {size} items")


async def _expect_pops_apart(takers: list[Session]) -> None:
    pops = [takers[index % len(takers)].pop_item() for index in range(_CALLS)]
    taken = [text_of(item) for item in await together(*pops) if item is not None]
    expect(numbered(_CALLS - 2), sorted(taken), f"{_CALLS} concurrent calls of pop_item(), sorted")
    expect([], await takers[0].get_items(), f"get_items() after {_CALLS} concurrent calls of pop_item()")


def message(text: str) -> dict[str, Any]:
    """Return a user message."""
    return {"role": "user", "content": text}


def messages(texts: list[str]) -> list[Any]:
    """Return a user message for each text."""
    return [message(text) for text in texts]


def numbered(number: int, prefix: str = "message") -> list[str]:
    """Return the given number of different texts."""
    return [f"{prefix} {index}" for index in range(number)]


def call(call_id: str) -> dict[str, Any]:
    """Return a function call."""
    arguments = '{"city": "Paris", "unit": null}'
    return {"type": "function_call", "call_id": call_id, "name": "get_weather", "arguments": arguments}


def output(call_id: str) -> dict[str, Any]:
    """Return the output of a function call."""
    return {"type": "function_call_output", "call_id": call_id, "output": '{"celsius": 21}'}


def answer(text: str) -> dict[str, Any]:
    """Return an assistant message as a model returns it."""
    return {
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }


def turn() -> list[Any]:
    """Return a question, a function call, its output and the answer."""
    return [message("Weather?"), call("call_1"), output("call_1"), answer("Warm.")]
