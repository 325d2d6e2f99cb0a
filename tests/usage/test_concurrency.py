"""Counts at the same moment: session objects, event loops, threads, processes."""

import asyncio
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions.emulator import Fault
from tests.examples.stand_in import ROOT, environment
from tests.processes.redis_server import redis_server
from tests.selection import one_in
from tests.servers import client_of, smg_server

from .results import ONE, result_of, times

THREADS, OBJECTS, COUNTS = 5, 2, 5


async def count_at_once(base_url, conversation_id):
    """Count from several session objects at once, in an event loop of one's own."""
    async with client_of(base_url) as client:
        sessions = [
            OpenAIConversationsSession(conversation_id=conversation_id, openai_client=client)
            for _ in range(OBJECTS)
        ]
        await asyncio.gather(*(each.store_run_usage(result_of()) for each in sessions * COUNTS))


@pytest.fixture
def conversation(emulator):
    """The base URL of a served emulator, and a new conversation."""

    async def create(base_url):
        async with client_of(base_url) as client:
            return await OpenAIConversationsSession(openai_client=client).ensure_conversation()

    with emulator.serve() as base_url:
        yield base_url, asyncio.run(create(base_url))


async def total(base_url, conversation_id):
    async with client_of(base_url) as client:
        session = OpenAIConversationsSession(conversation_id=conversation_id, openai_client=client)
        return await session.get_session_usage()


def test_session_objects_in_many_threads_and_loops_lose_nothing(conversation):
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda _: asyncio.run(count_at_once(*conversation)), range(THREADS)))
    assert times(50) == asyncio.run(total(*conversation))


async def test_result_that_many_store_at_once_counts_once(emulator):
    session, result = OpenAIConversationsSession(openai_client=emulator.client()), result_of()
    await session.ensure_conversation()
    await asyncio.gather(*(session.store_run_usage(result) for _ in range(10)))
    assert times(1) == await session.get_session_usage()


@pytest.fixture
def redis_url():
    with redis_server() as url:
        yield url


FAULTS = [Fault(kind) for kind in ("cut_before", "cut_after_commit", "error_500_after_commit", "throttled")]


@pytest.mark.parametrize("probability", one_in(2, [0.3, 0]))
@pytest.mark.exhaustive
def test_processes_with_a_shared_lock_lose_nothing(emulator, conversation, redis_url, probability):
    base_url, conversation_id = conversation
    operations = ("retrieve_conversation", "update_conversation")
    emulator.inject_at_random(probability, seed=1, faults=FAULTS, operations=operations)
    counting = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.usage.counting"],
            cwd=ROOT,
            env=environment(base_url),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in counting:
        process.stdin.write(json.dumps([conversation_id, redis_url, 8, asdict(ONE)]))
        process.stdin.close()
    for process in counting:
        with process:
            assert ("", 0) == (process.stderr.read(), process.wait(60))
    emulator.clear_faults()
    assert times(24) == asyncio.run(total(base_url, conversation_id))


async def test_totals_are_kept_by_another_server():
    """The same on smg, which others wrote, and which merges metadata where OpenAI replaces it."""
    with smg_server() as base_url:
        async with client_of(base_url) as client:
            session = OpenAIConversationsSession(openai_client=client, metadata={"user": "first"})
            await session.ensure_conversation()
            await asyncio.gather(*(session.store_run_usage(result_of()) for _ in range(3)))
            assert times(3) == await session.get_session_usage()
            assert {"user": "first"} == await session.get_metadata()
