"""Closing from outside of event loops: in the loop that is right, and with no trace in the others."""

import asyncio
import threading

import openai
import pytest

from openai_sessions.testing._clients import Connections, run_in


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def loop_of(loop):
    """Return the loop in which `run_in` runs a coroutine function."""
    loops = []

    async def note():
        loops.append(asyncio.get_running_loop())

    run_in(loop, note)
    return loops[0]


def test_idle_loop_runs_what_is_to_run_in_it(loop):
    assert loop_of(loop) is loop


def test_loop_of_another_thread_runs_what_is_to_run_in_it(loop):
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        assert loop_of(loop) is loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def test_new_loop_leaves_the_one_that_is_set(loop):
    asyncio.set_event_loop(loop)
    try:
        assert loop_of(None) is not loop
        assert asyncio.get_event_loop_policy().get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)


def test_error_of_a_new_loop_is_raised():
    async def fail():
        raise ValueError("not closed")

    with pytest.raises(ValueError, match="not closed"):
        run_in(None, fail)


def test_request_outside_of_asyncio_is_let_through():
    """Another asynchronous library has no loop to wait for."""
    http_client = openai.DefaultAsyncHttpxClient()
    connections = Connections(http_client)
    (before_request,) = http_client.event_hooks["request"]
    with pytest.raises(StopIteration):
        before_request(None).send(None)
    connections.close()
    assert http_client.is_closed


def test_connection_is_closed_with_its_loop(emulator):
    """A connection that is kept is closed as `asyncio.run` ends, and the client goes on in the next loop."""
    with emulator.serve() as base_url:
        http_client = openai.DefaultAsyncHttpxClient()
        connections = Connections(http_client)
        client = openai.AsyncOpenAI(api_key="sk-none", base_url=base_url, http_client=http_client)
        for _ in range(2):
            asyncio.run(client.conversations.create())
            assert http_client._transport._pool.connections == []
        connections.close()
    assert len(emulator.requests) == 2
