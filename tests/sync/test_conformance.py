"""The sync session passes the conformance suite through an async adapter."""

import asyncio

from openai_sessions.sync import OpenAIConversationsSession
from openai_sessions.sync._background import background_loop
from openai_sessions.testing import CHECKS, check_session
from tests.servers import client_of


class InThreads:
    """Call the methods of a sync session in threads."""

    def __init__(self, **options):
        self.session = OpenAIConversationsSession(**options)

    @property
    def session_id(self):
        return self.session.session_id

    @property
    def session_settings(self):
        return self.session.session_settings

    @session_settings.setter
    def session_settings(self, value):
        self.session.session_settings = value

    async def get_items(self, limit=None):
        return await asyncio.to_thread(self.session.get_items, limit)

    async def add_items(self, items):
        await asyncio.to_thread(self.session.add_items, items)

    async def pop_item(self):
        return await asyncio.to_thread(self.session.pop_item)

    async def clear_session(self):
        await asyncio.to_thread(self.session.clear_session)

    async def aclose(self):
        await asyncio.to_thread(self.session.close)


async def test_session_passes_every_check(base_url):
    """All sessions share one client on the background loop."""
    client = client_of(base_url)

    report = await check_session(
        lambda: InThreads(openai_client=client),
        reopen=lambda made: InThreads(openai_client=client, conversation_id=made.session_id),
    )
    await asyncio.to_thread(background_loop().run, client.close)

    assert [] == [str(result) for result in report.failed]
    assert len(CHECKS) == len(report.passed)
