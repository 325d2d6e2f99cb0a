"""What type checkers must accept as filters of reads; checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import Any

from openai_sessions import OpenAIConversationsSession, sync
from openai_sessions.reading import ImagesAndFiles, ReadingFilter, ToolOutputs


def newest(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return items[-1:]


async def fetched(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return items


def number(items: list[dict[str, Any]]) -> int:
    return len(items)


FILTERS: list[ReadingFilter] = [ToolOutputs(keep_turns=1, max_characters=100, every=5), newest]

OpenAIConversationsSession(reading=FILTERS)
OpenAIConversationsSession(reading=[ImagesAndFiles(keep_turns=1, every=2), newest, fetched])
sync.OpenAIConversationsSession(reading=(ToolOutputs(), lambda items: items[:0]))
OpenAIConversationsSession(reading=[number])  # type: ignore[list-item]
OpenAIConversationsSession(reading=ToolOutputs())  # type: ignore[arg-type]
