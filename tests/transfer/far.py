"""A process that transfers a long history and measures its memory.

    python -m tests.transfer.far export|import|get_items FEW_URL FEW_PATH URL PATH MEGABYTES

It first transfers a few items, then limits its address space to MEGABYTES above the current size, transfers
the long history, and prints as JSON how much its resident memory has grown, in kilobytes.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path

from openai_sessions import OpenAIConversationsSession, export_session, import_session
from tests.servers import client_of

from .numbered import CONVERSATION


def status(field):
    """Return a field of /proc/self/status in kilobytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def limit(megabytes):
    """Limit the address space to the current size plus a number of megabytes."""
    most = 1024 * status("VmSize") + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


async def export(url, path):
    async with client_of(url) as client:
        session = OpenAIConversationsSession(openai_client=client, conversation_id=CONVERSATION)
        return (await export_session(session, path)).copied


async def import_(url, path):
    async with client_of(url) as client:
        return (await import_session(path, OpenAIConversationsSession(openai_client=client))).copied


async def get_items(url, path):
    async with client_of(url) as client:
        session = OpenAIConversationsSession(openai_client=client, conversation_id=CONVERSATION)
        return len(await session.get_items())


MOVES = {"export": export, "import": import_, "get_items": get_items}


def main(move, *few, many, megabytes):
    asyncio.run(MOVES[move](*few))
    limit(int(megabytes))
    before, start = status("VmHWM"), time.monotonic()
    items = asyncio.run(MOVES[move](*many))
    told = {
        "items": items,
        "seconds": round(time.monotonic() - start, 1),
        "peak": status("VmHWM"),
        "risen": status("VmHWM") - before,
    }
    print(json.dumps(told))  # noqa: T201 - for the process that has started it


if __name__ == "__main__":
    main(*sys.argv[1:4], many=sys.argv[4:6], megabytes=sys.argv[6])
