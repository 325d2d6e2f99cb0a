"""A directory of names, beside a service, that the command and a test look into."""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone

from openai_sessions.directory import SessionDirectory
from tests.cli.service import user


def now():
    return datetime.now(timezone.utc)


class Directory:
    """A directory in a file, as the test sees it."""

    def __init__(self, service, file):
        self.url = f"sqlite+aiosqlite:///{file}"
        self._service = service
        self._has_tables = False
        service.variables["OPENAI_SESSIONS_DIRECTORY"] = self.url

    def do(self, work, **options):
        """Run a coroutine function with the directory, and return what it returns."""

        async def doing():
            async with (
                self._service.client() as client,
                SessionDirectory(self.url, openai_client=client, **options) as directory,
            ):
                if not self._has_tables:
                    await directory.create_tables()
                    self._has_tables = True
                return await work(directory)

        return asyncio.run(doing())

    def holds(self, *names, tenant="", clock=now, **options):
        """Let names stand for conversations in which they were said."""

        async def open_names(directory):
            for name in names:
                session = await directory.session(name, **options)
                await session.add_items([user(f"I am {name}")])

        self.do(open_names, tenant=tenant, clock=clock)

    def names(self):
        """Return all names with their conversations."""

        async def names(directory):
            page = await directory.conversations(order="name")
            return {entry.name: entry.conversation_id for entry in page.entries}

        return self.do(names)
