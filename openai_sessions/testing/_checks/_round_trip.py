"""Checks of what comes back: the items that were added, as plain data that is the caller's own."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from openai_sessions.testing._checks._samples import answer, call, message, messages, output, turn
from openai_sessions.testing._report import CheckFailedError, counted, expect, expect_items, expect_texts

if TYPE_CHECKING:
    from openai_sessions.testing._report import Sessions

_PICTURE = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


async def user_text_comes_back(sessions: Sessions) -> None:
    """A message whose content is a string comes back with that string as its content."""
    await _expect_back(sessions, [message("What is the weather in Paris?")])


async def instructions_come_back(sessions: Sessions) -> None:
    """Messages of the developer and the system come back with their role and text."""
    await _expect_back(
        sessions,
        [{"role": "developer", "content": "Answer briefly."}, {"role": "system", "content": "Be kind."}],
    )


async def user_picture_comes_back(sessions: Sessions) -> None:
    """A message with a text and an image comes back with both, the address and detail of the image too."""
    picture = {"type": "input_image", "image_url": _PICTURE, "detail": "high"}
    content = [{"type": "input_text", "text": "What is this?"}, picture]
    await _expect_back(sessions, [{"role": "user", "content": content}])


async def user_parts_stay_apart(sessions: Sessions) -> None:
    """A message of two texts comes back as two texts, in their order."""
    content = [{"type": "input_text", "text": text} for text in ("one", "two")]
    await _expect_back(sessions, [{"role": "user", "content": content}])


async def answer_comes_back(sessions: Sessions) -> None:
    """A message of the assistant as a model gave it comes back with its text and annotations."""
    await _expect_back(sessions, [answer("Hi there!")])


async def function_call_comes_back(sessions: Sessions) -> None:
    """A function call and its output come back with name, arguments, call_id and output."""
    await _expect_back(sessions, [call("call_1"), output("call_1")])


async def parallel_calls_come_back(sessions: Sessions) -> None:
    """Calls made in parallel and their outputs come back in order, alike as they may be."""
    ids = ["call_1", "call_2", "call_3"]
    await _expect_back(sessions, [*(call(i) for i in ids), *(output(i) for i in ids)])


async def encrypted_reasoning_comes_back(sessions: Sessions) -> None:
    """Encrypted reasoning comes back with its content and summary, before the call that it led to."""
    reasoning = {
        "type": "reasoning",
        "id": "rs_68d1f0f5a3b48191a1f0c2d3e4f5a6b7c8d9e0f1a2b3c4d5",
        "summary": [{"type": "summary_text", "text": "The user wants the weather."}],
        "encrypted_content": "gAAAAABo0fD1c2VhbGVkIHJlYXNvbmluZw==",
    }
    await _expect_back(sessions, [reasoning, call("call_1"), output("call_1")])


async def unicode_comes_back(sessions: Sessions) -> None:
    """Text of any script comes back character for character, and not normalised."""
    texts = ["Grüße", "Gru\u0308ße", "你好", "مرحبا", "👩\u200d👧 🇪🇺", "\U0001d518", "\ufeffmark", "a\u2028b"]
    await _expect_texts_back(sessions, texts)


async def control_characters_come_back(sessions: Sessions) -> None:
    """Line breaks, spaces at either end, quotes and control characters come back as they are."""
    await _expect_texts_back(sessions, [" a\n\nb\r\n", "\ttab ", '"\\"', "\x01\x1b[0m\x7f", "{}", "null"])


async def empty_text_comes_back(sessions: Sessions) -> None:
    """An empty text comes back as an empty text, and its message is not dropped."""
    await _expect_texts_back(sessions, ["before", "", "after"])


async def long_text_comes_back(sessions: Sessions) -> None:
    """A text of 200,000 characters comes back whole."""
    await _expect_texts_back(sessions, ["0123456789" * 20_000])


async def history_can_be_replayed(sessions: Sessions) -> None:
    """What was read can be added to another session, and reads the same there, key for key but for ids."""
    first, second = await sessions.new(), await sessions.new()
    await first.add_items(turn())
    replayed = await first.get_items()
    await second.add_items(replayed)
    again = await second.get_items()
    expect(
        _without_ids(replayed),
        _without_ids(again),
        "get_items() of one session, and of another to which that was added",
    )


async def arguments_are_left_alone(sessions: Sessions) -> None:
    """add_items changes neither the list nor the items that it is given."""
    session = await sessions.new()
    items = turn()
    before = copy.deepcopy(items)
    await session.add_items(items)
    expect(before, items, "the argument of add_items(), before and after the call")


async def items_added_are_the_callers(sessions: Sessions) -> None:
    """What the caller does to its items after add_items does not change the history."""
    session = await sessions.new()
    items = turn()
    await session.add_items(items)
    before = copy.deepcopy(await session.get_items())
    _spoil(items)
    expect(before, await session.get_items(), "get_items() before and after the added items were changed")


async def items_read_are_the_callers(sessions: Sessions) -> None:
    """What the caller does to the items that it read does not change the history."""
    session = await sessions.new()
    await session.add_items(turn())
    read = await session.get_items()
    before = copy.deepcopy(read)
    _spoil(read)
    expect(before, await session.get_items(), "get_items() before and after the items read were changed")


async def items_are_plain_json(sessions: Sessions) -> None:
    """Items read and popped are plain dicts, lists, strings, numbers, booleans and None."""
    session = await sessions.new()
    await session.add_items(turn())
    _expect_plain(await session.get_items(), "get_items()")
    _expect_plain(await session.pop_item(), "pop_item()")


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
