"""Register a user's conversations on Azure's Foundry: `python foundry_conversations.py USER [database URL]`.

A conversation that the directory does not know gets a name in it, to be shown, continued and erased.
Needs OPENAI_API_KEY and OPENAI_BASE_URL=https://RESOURCE.services.ai.azure.com/api/projects/PROJECT/openai/v1.
"""

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator

import openai
from openai.pagination import AsyncConversationCursorPage
from openai.types.conversations import Conversation

from openai_sessions.directory import SessionDirectory
from openai_sessions.errors import ConversationRegisteredError, DeletionPendingError

USER = "x-ms-user-identity"
CREATION = "openai_sessions.creation"  # in the metadata of each conversation that a directory creates
STILL_CREATED = 600  # seconds in which another process may yet register the conversation it creates
LIMIT = 100  # the most that a page may have

Page = AsyncConversationCursorPage[Conversation]


async def page_of(client: openai.AsyncOpenAI, *, of: str | None = None, **query: object) -> Page:
    """Return a page of the conversations of the client's user, or of another one."""
    options: openai.RequestOptions = {"params": {"order": "asc", **query}}
    if of is not None:
        options["headers"] = {USER: of}
    return await client.get("/conversations", cast_to=Page, options=options)


async def conversations_of(client: openai.AsyncOpenAI) -> AsyncIterator[Conversation]:
    """Yield the conversations of the client's user, oldest first, also those that are created meanwhile."""
    if (await page_of(client, of=str(uuid.uuid4()), limit=1)).data:
        raise RuntimeError(f"the service ignores {USER}: it lists the conversations of all users")
    seen: set[str] = set()
    after: dict[str, str] = {}
    while True:
        try:
            page = await page_of(client, limit=LIMIT, **after)
        except openai.NotFoundError:
            if not after:
                raise
            after = {}  # that conversation was deleted meanwhile: start over, without those seen
            continue
        for conversation in page.data:
            if conversation.id not in seen:
                yield conversation
        seen |= {conversation.id for conversation in page.data}
        if not page.has_more or not page.data:
            return
        after = {"after": page.data[-1].id}


async def register_all(directory: SessionDirectory, client: openai.AsyncOpenAI, user: str) -> list[str]:
    """Register the user's conversations that the directory does not know, and return their names."""
    names = []
    async for conversation in conversations_of(client):
        metadata = conversation.metadata if isinstance(conversation.metadata, dict) else {}
        if CREATION in metadata and conversation.created_at > time.time() - STILL_CREATED:
            continue
        name = f"foundry {conversation.id}"
        if await directory.get(name) is not None:
            continue  # register() would replace its title
        try:
            await directory.register(name, conversation.id, user=user, title=metadata.get("title"))
        except (ConversationRegisteredError, DeletionPendingError):
            continue
        names.append(name)
    return names


async def main(user: str = "alice", url: str = "sqlite+aiosqlite:///sessions.db") -> None:
    async with (
        openai.AsyncOpenAI(default_headers={USER: user}) as client,
        SessionDirectory(url, openai_client=client) as directory,
    ):
        await directory.create_tables()
        print(len(await register_all(directory, client, user)), "registered")
        for entry in (await directory.conversations(user)).entries:
            session = await directory.session(entry.name, user=user)
            print(entry.name, entry.title, await session.get_items(limit=1))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
