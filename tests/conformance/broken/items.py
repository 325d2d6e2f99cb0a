"""Sessions broken in what comes back."""

import copy
from collections import OrderedDict

from tests.conformance.broken.mark import caught_by
from tests.conformance.memory import MemorySession


def is_message(item, role="user"):
    return item.get("role") == role


def with_text(change):
    """Return an `into` that changes the text of messages of the user."""

    def into(self, item):
        return {**item, "content": change(item["content"])} if is_message(item) else copy.deepcopy(item)

    return into


@caught_by("user_text_comes_back", "instructions_come_back", "pop_gives_what_was_added")
class TurnsTextIntoParts(MemorySession):
    def into(self, item):
        return {**item, "content": [{"type": "input_text", "text": item["content"]}]}


@caught_by("instructions_come_back")
class TakesTheDeveloperForTheSystem(MemorySession):
    def into(self, item):
        return {**item, "role": "system"} if is_message(item, "developer") else super().into(item)


@caught_by("user_picture_comes_back")
class ForgetsTheDetailOfPictures(MemorySession):
    def into(self, item):
        item = super().into(item)
        for part in item["content"] if isinstance(item.get("content"), list) else []:
            part.pop("detail", None)
        return item


@caught_by("user_parts_stay_apart")
class KeepsTheFirstPart(MemorySession):
    def into(self, item):
        parts = item.get("content")
        return {**item, "content": parts[:1]} if isinstance(parts, list) else super().into(item)


@caught_by("answer_comes_back")
class ForgetsAnnotations(MemorySession):
    def into(self, item):
        item = super().into(item)
        for part in item["content"] if is_message(item, "assistant") else []:
            part.pop("annotations", None) if isinstance(part, dict) else None
        return item


@caught_by("function_call_comes_back", "parallel_calls_come_back")
class RewritesArguments(MemorySession):
    def into(self, item):
        return {**item, "arguments": "{}"} if "arguments" in item else super().into(item)


@caught_by("parallel_calls_come_back")
class TakesLikeCallsForOne(MemorySession):
    async def store(self, items):
        names = [item.get("name") for item in items]
        await super().store(
            [item for item, name in zip(items, names, strict=True) if not name or names.count(name) == 1]
        )


@caught_by("encrypted_reasoning_comes_back")
class DropsReasoning(MemorySession):
    async def store(self, items):
        await super().store([item for item in items if item.get("type") != "reasoning"])


@caught_by("unicode_comes_back")
class KeepsAscii(MemorySession):
    into = with_text(lambda text: text.encode("ascii", "replace").decode() if isinstance(text, str) else text)


@caught_by("control_characters_come_back")
class StripsText(MemorySession):
    into = with_text(lambda text: text.strip() if isinstance(text, str) else text)


@caught_by("empty_text_comes_back")
class DropsEmptyMessages(MemorySession):
    async def store(self, items):
        await super().store([item for item in items if item.get("content") != ""])


@caught_by("long_text_comes_back")
class CutsText(MemorySession):
    into = with_text(lambda text: text[:100_000])


@caught_by("history_can_be_replayed")
class RefusesWhatItGave(MemorySession):
    def into(self, item):
        if "created_by" in item:
            raise ValueError("unknown parameter created_by")
        return super().into(item)

    def out(self, item):
        return {**super().out(item), "created_by": None}


@caught_by("arguments_are_left_alone")
class MarksItsArguments(MemorySession):
    async def add_items(self, items):
        for item in items:
            item["status"] = "completed"
        await super().add_items(items)


@caught_by("items_added_are_the_callers")
class KeepsItsArguments(MemorySession):
    def into(self, item):
        return item


@caught_by("items_read_are_the_callers")
class GivesItsOwnItems(MemorySession):
    def out(self, item):
        return item


@caught_by("items_are_plain_json")
class GivesOtherMappings(MemorySession):
    def out(self, item):
        return OrderedDict(super().out(item))


@caught_by("items_are_plain_json")
class GivesOtherKeys(MemorySession):
    def out(self, item):
        return {type("Key", (str,), {})(key): value for key, value in super().out(item).items()}


@caught_by("items_keep_their_order", "user_text_comes_back")
class GivesStrings(MemorySession):
    def out(self, item):
        return str(item)


@caught_by("items_keep_their_order", "user_text_comes_back")
class GivesATuple(MemorySession):
    async def get_items(self, limit=None):
        return tuple(await super().get_items(limit))
