"""Processes that save conversations: `python -m tests.adapters.pydantic_ai.writers DEED URL BASE_URL`.

The imports are paid for once: each process is forked from this one.
"""

import asyncio
import json
import os
import sys
import traceback

from pydantic_ai.conversation_store import ConversationConflict

from openai_sessions.adapters.pydantic_ai import OpenAIConversationStore
from tests.directory.deeds import Death, opened

from .stage import conversation, next_turn, said

WRITERS, TURNS = 4, 4

STEPS = 20
"""More commits, requests and responses than a save has."""


def forked(deed, *arguments, **options):
    """Run a coroutine function in a new process, and return the id of the process."""
    child = os.fork()
    if child:
        return child
    try:
        asyncio.run(deed(*arguments, **options))
    except BaseException:  # noqa: BLE001 - the process ends here, whatever it was
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def tell(**facts):
    print(json.dumps(facts), flush=True)  # noqa: T201 - it is a program


def end_of(child):
    """Return the exit code of a process, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def race(url, base_url):
    """Let several processes add turns to one conversation at once; print what it has in the end."""
    writers = [forked(write, url, base_url, writer) for writer in range(WRITERS)]
    codes = [end_of(writer) for writer in writers]
    tell(codes=codes)
    end_of(forked(show, url, base_url, "7f3a"))


async def write(url, base_url, writer):
    async with opened(url, base_url) as directory:
        store = OpenAIConversationStore(directory)
        for number in range(TURNS):
            while not await saved(store, f"{writer}.{number}"):
                pass


async def saved(store, number):
    """Add a turn, and return whether no other process was first."""
    try:
        if await store.load("7f3a") is None:
            await store.save(conversation(number))
        else:
            await store.save(await next_turn(store, number))
    except ConversationConflict:
        return False
    return True


def die(url, base_url):
    """Kill a process at each step of a save, and print what a next process makes of it."""
    assert not end_of(forked(begin, url, base_url))
    codes = [end_of(forked(go_on, url, base_url, step)) for step in range(STEPS)]
    tell(codes=codes)
    assert not end_of(forked(recover, url, base_url))


async def begin(url, base_url):
    async with opened(url, base_url) as directory:
        for step in range(STEPS):
            await OpenAIConversationStore(directory).save(conversation(1, conversation_id=str(step)))


async def go_on(url, base_url, step):
    async with opened(url, base_url, hooks=Death(step).hooks()) as directory:
        store = OpenAIConversationStore(directory)
        await store.save(await next_turn(store, 2, str(step)))


async def recover(url, base_url):
    """Print each conversation as it was found, and after another turn."""
    async with opened(url, base_url) as directory:
        store = OpenAIConversationStore(directory)
        for step in map(str, range(STEPS)):
            found = said((await store.load(step)).messages)
            await store.save(await next_turn(store, 3, step))
            tell(found=found, after=said((await store.load(step)).messages))


async def show(url, base_url, name):
    async with opened(url, base_url) as directory:
        loaded = await OpenAIConversationStore(directory).load(name)
        stored = await (await directory.session(f"pydantic-ai/{name}")).get_items()
        tell(messages=said(loaded.messages), items=len(stored))


if __name__ == "__main__":
    {"race": race, "die": die}[sys.argv[1]](*sys.argv[2:])
