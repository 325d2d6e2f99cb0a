"""What a model knows of a history that is compacted, and two processes on one emulator."""

from __future__ import annotations

from typing import Any

import openai

from openai_sessions import Compaction
from openai_sessions.emulator._responses._compaction import replaced_items
from tests.faults.world import World
from tests.wire import HTTP_FAMILY

MODEL = "gpt-5-mini"
LONG = 12
"""The number of items of a turn of `turns`: two of them do not fit into one request."""


def turns(count: int, *, items: int = LONG) -> list[dict]:
    """Return turns of one message of the user, and answers."""
    return [
        {"role": "assistant" if item else "user", "content": f"turn {number}.{item}"}
        for number in range(count)
        for item in range(items)
    ]


def text_of(item: dict) -> str:
    """Return the text of a message in replay form or listed, and the type of any other item."""
    content = item.get("content")
    if isinstance(content, list):
        return content[0]["text"]
    return item["type"] if content is None else content


def shown(items: Any) -> list[str]:
    return [text_of(item) for item in items]


def known(view: list[dict]) -> tuple[list[str], list[str]]:
    """Return the texts that a model knows by the items up to the compaction item, and those behind it.

    The emulator encodes what it has replaced in the item.
    """
    places = [place for place, item in enumerate(view) if item.get("type") == "compaction"]
    if not places:
        return [], shown(view)
    (place,) = places
    return sorted(shown([*view[:place], *replaced_items([view[place]])])), shown(view[place + 1 :])


def check_view(view: list[dict], texts: list[str]) -> None:
    """Check that a model knows each of these texts once, and the newest in their order."""
    before, behind = known(view)
    assert texts[len(texts) - len(behind) :] == behind
    assert sorted(texts[: len(texts) - len(behind)]) == before


def other_process(world: World, **options: Any) -> Any:
    """Return a client whose sessions know nothing of those of the other clients."""
    transport = options.pop("transport", None) or HTTP_FAMILY.ASGITransport(app=world.emulator)
    return openai.AsyncOpenAI(
        api_key="sk-emulator",
        base_url="http://elsewhere/v1",
        http_client=openai.DefaultAsyncHttpxClient(transport=transport),
    )


def compaction(**options: Any) -> Compaction:
    return Compaction(model=MODEL, **options)
