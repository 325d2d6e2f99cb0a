"""The argument that names a conversation, completed by a shell from the names of the directory."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from openai_sessions.cli._settings import Settings

_MOST = 50


def complete_conversation(context: typer.Context, incomplete: str) -> list[str]:
    """Return names that begin with what was typed; none, and no word, where the directory cannot be read."""
    settings = Settings(directory=context.params.get("directory"), tenant=context.params.get("tenant") or "")
    if not settings.directory:
        return []
    try:
        return asyncio.run(_names(settings, incomplete))
    except Exception:  # noqa: BLE001 - a shell that completes is no place for errors
        return []


async def _names(settings: Settings, prefix: str) -> list[str]:
    from openai_sessions.cli._workspace import Workspace  # noqa: PLC0415 - completing commands needs no openai

    async with Workspace(settings) as workspace:
        page = await workspace.directory.list(prefix, limit=_MOST)
    return [entry.name for entry in page.entries]


Conversation = Annotated[
    str,
    typer.Argument(
        metavar="CONV",
        help="An id (conv_...), or a name of the directory.",
        autocompletion=complete_conversation,
    ),
]
"""The conversation that a command is about."""
