"""Filters of what the model sees of a history: `reading=[ToolOutputs(), ImagesAndFiles()]` of a session.

A filter is a callable that takes the items of a read, in replay form, and returns those that the model is
sent. The stored history stays as it is.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from openai_sessions._arguments import is_whole_number
from openai_sessions._items.repairs import EXPLANATIONS, unsound, without_result
from openai_sessions._items.turns import match_calls, turn_starts
from openai_sessions._items.types import Item
from openai_sessions.errors import InvalidReadingError

__all__ = ["ImagesAndFiles", "ReadingFilter", "ToolOutputs"]

ReadingFilter: TypeAlias = Callable[[list[Item]], "list[Item] | Awaitable[list[Item]]"]
"""A function, or coroutine function, that returns the items that the model sees.

It is given new dicts, oldest first, and may change them, drop them and add others. A call and its output, and
reasoning and what it led to, must stay together.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutputs:
    """Cut what tools returned in old turns.

    Cut are the outputs of functions, custom tools, shells, patches and programs, the outputs of MCP calls,
    the logs of the code interpreter, and the results of file searches. The end of a text is replaced by a
    note, such as `… [12,345 characters left out]`. Images and files in an output are replaced by a text that
    names them. Types, ids and all other fields stay. Applied again, it changes nothing.

    Attributes:
        keep_turns: The number of newest turns of the stored history that stay whole; from 0. The question
            that is being asked is not among them, because it is not stored yet.
        max_characters: Maximum number of characters kept of one output, over all of its texts; from 0. The
            note comes on top. A text that would not become shorter stays.
        every: Let turns become old in groups of this many, counted from the oldest; from 1. Between two of
            these steps the old turns are sent unchanged, so that prompt caching finds them.

    Raises:
        TypeError: A value is not a whole number.
        ValueError: A value is too small.
    """

    keep_turns: int = 2
    max_characters: int = 500
    every: int = 1

    def __post_init__(self) -> None:
        _check_number("keep_turns", self.keep_turns, "turns", 0)
        _check_number("max_characters", self.max_characters, "characters", 0)
        _check_number("every", self.every, "turns", 1)

    def __call__(self, items: list[Item]) -> list[Item]:
        """Return the items with the outputs of old turns cut."""
        old = _end_of_old(items, self.keep_turns, self.every)
        return [*(_with_short_output(item, self.max_characters) for item in items[:old]), *items[old:]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesAndFiles:
    """Replace images, files and audio of old turns by a text that names them.

    `[image left out: image/png]` or `[file left out: report.pdf]` stands in messages and in the outputs of
    tools. Generated images lose their data. A screenshot cannot be replaced by text: an old call of a
    computer is left out with its output, and with reasoning that led to nothing else. Applied again, it
    changes nothing.

    Attributes:
        keep_turns: The number of newest turns of the stored history that stay whole; from 0. The question
            that is being asked is not among them, because it is not stored yet.
        every: Let turns become old in groups of this many, as for `ToolOutputs`; from 1.

    Raises:
        TypeError: A value is not a whole number.
        ValueError: A value is too small.
    """

    keep_turns: int = 2
    every: int = 1

    def __post_init__(self) -> None:
        _check_number("keep_turns", self.keep_turns, "turns", 0)
        _check_number("every", self.every, "turns", 1)

    def __call__(self, items: list[Item]) -> list[Item]:
        """Return the items with text in place of the images and files of old turns."""
        old = _end_of_old(items, self.keep_turns, self.every)
        left_out = _screenshots(items[:old])
        kept = [item for place, item in enumerate(items[:old]) if place not in left_out]
        return [*map(_without_media, kept), *items[old:]]


def checked_reading(value: object) -> tuple[ReadingFilter, ...]:
    """Return the filters of a session.

    Raises:
        TypeError: They are not a list of callables.
    """
    if callable(value) or isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"reading must be a list of callables, not {value!r}: put a single one into a list")
    filters = tuple(value)
    for index, each in enumerate(filters):
        if isinstance(each, type):
            raise TypeError(f"reading[{index}] is the class {each.__name__}: give {each.__name__}(…)")
        if not callable(each):
            raise TypeError(
                f"reading[{index}] must be a callable that takes and returns a list of items, not {each!r}"
            )
    return cast("tuple[ReadingFilter, ...]", filters)


async def read_through(items: list[Item], reading: Sequence[ReadingFilter]) -> list[Item]:
    """Return what filters make of items, each of what the one before has returned.

    Args:
        items: Items in replay form, which the filters may change.
        reading: The filters.

    Raises:
        InvalidReadingError: One returned something that a model request cannot contain.
        Exception: Any error of a filter.
    """
    for index, apply in enumerate(reading):
        torn_before = _torn(items)
        result: object = apply(items)
        if inspect.isawaitable(result):
            result = await result
        problem = _problem(result) or _new_problem(cast("list[Item]", result), torn_before)
        if problem is not None:
            raise InvalidReadingError(f"reading[{index}], {_name(apply)}", problem)
        items = cast("list[Item]", result)
    return items


def _problem(result: object) -> str | None:
    """Return why something is not a list of items, or None."""
    if not isinstance(result, list):
        return f"a value of type {type(result).__name__}, not a list of items"
    for index, item in enumerate(result):
        if not isinstance(item, dict):
            return f"a list whose items[{index}] is of type {type(item).__name__}, not a dict"
        if not (isinstance(item.get("type"), str) or isinstance(item.get("role"), str)):
            return f"a list whose items[{index}] has neither 'type' nor 'role'"
    return None


def _new_problem(items: Sequence[Item], before: Counter[tuple[str, str, str]]) -> str | None:
    """Return which item lacks its counterpart that had it before, or None.

    A read with a limit of items may lack some already.
    """
    left = before.copy()
    for index, problem in unsound(items).items():
        key = _key(items[index], problem)
        left[key] -= 1
        if left[key] < 0:
            _, item_type, named = key
            return f"a list whose items[{index}] ({item_type} {named}) {EXPLANATIONS[problem]}"
    return None


def _torn(items: Sequence[Item]) -> Counter[tuple[str, str, str]]:
    return Counter(_key(items[index], problem) for index, problem in unsound(items).items())


def _key(item: Item, problem: str) -> tuple[str, str, str]:
    named = item.get("call_id") or item.get("approval_request_id") or item.get("id") or "without an id"
    return problem, str(item.get("type")), str(named)


def _name(apply: object) -> str:
    return str(getattr(apply, "__qualname__", None) or type(apply).__name__)


def _check_number(name: str, value: object, unit: str, least: int) -> None:
    """Check a number of a filter.

    Raises:
        TypeError: It is not a whole number.
        ValueError: It is too small.
    """
    if not is_whole_number(value):
        raise TypeError(f"{name} must be a whole number of {unit}, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value!r}")


def _end_of_old(items: Sequence[Item], keep_turns: int, every: int) -> int:
    """Return how many of the items are in old turns; items before the first user message are a turn."""
    starts = {0, *(start for start, _ in turn_starts(items, is_all=True))}
    ends = [*sorted(starts), len(items)] if items else [0]
    old = max(0, len(ends) - 1 - keep_turns)
    return ends[old - old % every]


# Texts

_NOTE = re.compile(r"… \[[\d,]+ characters left out\]\Z")

_MEDIA_NOTE = re.compile(r"\[(image|file|audio) left out(: .{1,200})?\]", re.DOTALL)
"""The text that stands for an image or a file, which is not cut."""

_TEXT_FIELDS = {
    "apply_patch_call_output": "output",
    "code_interpreter_call": "outputs",
    "custom_tool_call_output": "output",
    "file_search_call": "results",
    "function_call_output": "output",
    "local_shell_call_output": "output",
    "mcp_call": "output",
    "program_output": "result",
    "shell_call_output": "output",
}
"""The field with the output of a tool, by the type of the item."""

_TEXT_KEYS = ("text", "logs", "stdout", "stderr")
"""Fields of the parts of an output that are text."""


def _with_short_output(item: Item, most: int) -> Item:
    name = _TEXT_FIELDS.get(str(item.get("type")))
    if name is None:
        return item
    output = item.get(name)
    if isinstance(output, str):
        return {**item, name: _cut(output, most)[0]}
    return {**item, name: _short_parts(output, most)} if isinstance(output, list) else item


def _short_parts(parts: Sequence[Any], most: int) -> list[Any]:
    """Return the parts of an output with `most` characters in all, and with text in place of media."""
    short = []
    for part in parts:
        shown = _without_medium(part)
        if shown is part and isinstance(part, dict):
            shown = dict(part)
            for key in _TEXT_KEYS:
                if isinstance(part.get(key), str):
                    shown[key], most = _cut(part[key], most)
        short.append(shown)
    return short


def _cut(text: str, most: int) -> tuple[str, int]:
    """Return a text of at most `most` characters and a note, and how many characters remain of `most`."""
    if _MEDIA_NOTE.fullmatch(text):
        return text, most
    note = _NOTE.search(text)
    length = len(text) if note is None else note.start()
    if length <= most:
        return text, most - length
    cut = f"{text[:most]}… [{len(text) - most:,} characters left out]"
    return (cut if len(cut) < len(text) else text), 0


# Images and files

_MEDIA = {"input_image": "image", "input_file": "file", "input_audio": "audio"}
"""What a part is, by its type."""

_MAX_NAME = 200
"""Characters of a name or URL in the text for an image or a file; a longer one is not shown."""


def _screenshots(items: Sequence[Item]) -> set[int]:
    """Return the positions of calls of a computer, their outputs, and reasoning that led only to them."""
    pairs = match_calls(items).call_of.items()
    computer = {
        place for pair in pairs if items[pair[0]].get("type") == "computer_call_output" for place in pair
    }
    return computer | (set(without_result(items, computer)) - set(without_result(items, ())))


def _without_media(item: Item) -> Item:
    """Return an item with text in place of its images and files."""
    item_type = item.get("type")
    if item_type == "image_generation_call":
        return {**item, "result": None}
    name = "content" if item_type in (None, "message") else _TEXT_FIELDS.get(str(item_type))
    if name is None or not isinstance(item.get(name), list):
        return item
    return {**item, name: list(map(_without_medium, item[name]))}


def _without_medium(part: Any) -> Any:
    """Return a text that names an image or a file; any other part as it is."""
    kind = _MEDIA.get(str(part.get("type"))) if isinstance(part, dict) else None
    if kind is None:
        return part
    named = _named(part)
    text = {"type": "input_text", "text": f"[{kind} left out{f': {named}' if named else ''}]"}
    marks = {key: part[key] for key in ("prompt_cache_breakpoint",) if key in part}
    return {**text, **marks}


def _named(part: Item) -> str | None:
    """Return the name of an image or a file, its id, its URL, or the type of its data."""
    for key in ("filename", "file_id", "image_url", "file_url", "file_data"):
        value = part.get(key)
        if not isinstance(value, str) or not value:
            continue
        if value.startswith("data:"):
            return value[5:].split(";", 1)[0].split(",", 1)[0][:_MAX_NAME] or None
        if len(value) <= _MAX_NAME and key != "file_data":
            return value
    return None
