"""A process that runs a copy or an import until it is killed.

    python -m tests.transfer.copier copy|import URL FILE IDS

Writes the id of the conversation to the file IDS before the first item is written.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import agents

from openai_sessions import OpenAIConversationsSession, copy_session, import_session
from tests.servers import client_of


async def main(move, url, file, ids):
    async with client_of(url) as client:
        target = OpenAIConversationsSession(
            openai_client=client, on_conversation_created=lambda created: save(ids, created)
        )
        if move == "copy":
            await copy_session(agents.SQLiteSession("source", file), target)
        else:
            await import_session(file, target)


def save(ids, created):
    Path(ids).write_text(created)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
