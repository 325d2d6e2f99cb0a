"""Callers that are cancelled while a run is counted: it is counted once, or not at all."""

import re

import openai
import pytest

from openai_sessions._conversation.usage import USAGE_KEY, UsageRecord
from tests.faults.cancelling import WAYS, asyncio_wait_for
from tests.faults.stage import Gate
from tests.wire import HTTP_FAMILY

from .results import ONE, result_of, times

pytestmark = pytest.mark.usefixtures("quiet_loop")

PLACES = [("GET", "before"), ("GET", "after"), ("POST", "before"), ("POST", "after")]
"""The requests of a count, held up before the server has it or after."""


class Gated(HTTP_FAMILY.ASGITransport):
    """Let the next request for a conversation of a method come to a gate."""

    def __init__(self, emulator):
        super().__init__(app=emulator)
        self.method = self.at_gate = None

    async def handle_async_request(self, request):
        async def forward():
            return await super(Gated, self).handle_async_request(request)

        if request.method == self.method and re.fullmatch(r"/v1/conversations/\w+", request.url.path):
            self.method = None
            return await self.at_gate(forward)
        return await forward()


@pytest.fixture
async def transport(emulator):
    return Gated(emulator)


@pytest.fixture
async def session(world, transport):
    http_client = openai.DefaultAsyncHttpxClient(transport=transport)
    async with openai.AsyncOpenAI(
        api_key="sk-emulator", base_url="http://emulator/v1", http_client=http_client
    ) as client:
        yield await world.session_with(openai_client=client)


def held(world):
    """Return the total that the server holds."""
    (conversation,) = world.emulator.conversations()
    return UsageRecord.from_value(conversation.metadata[USAGE_KEY]).total


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("place", PLACES, ids=" ".join)
async def test_count_that_is_cancelled_and_repeated_counts_once(world, session, transport, place, way):
    await session.store_run_usage(result_of())
    result, gate = result_of(), Gate()
    transport.method, transport.at_gate = place[0], getattr(gate, place[1])
    await way(lambda: session.store_run_usage(result), gate)
    assert gate.reached.is_set() or way is asyncio_wait_for
    begun = gate.reached.is_set() and place[0] == "POST"
    assert held(world) in ((times(2),) if begun else (ONE, times(2)))
    await session.store_run_usage(result)
    assert times(2) == await session.get_session_usage()


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_read_that_is_cancelled_changes_nothing(session, transport, moment):
    await session.store_run_usage(result_of())
    gate = Gate()
    transport.method, transport.at_gate = "GET", getattr(gate, moment)
    await WAYS[0](session.get_session_usage, gate)
    assert ONE == await session.get_session_usage()
