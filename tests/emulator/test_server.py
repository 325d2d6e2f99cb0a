"""The emulator on a socket: what it serves, and how it starts and stops."""

import socket
import threading

import openai
import pytest

from openai_sessions.emulator import Emulator
from openai_sessions.emulator._server import server_of

from .wire import KEY, Wire, user


def client_of(base_url, *, key=KEY):
    return openai.AsyncOpenAI(api_key=key, base_url=base_url)


async def test_served_emulator_answers_on_loopback(emulator):
    with emulator.serve() as base_url:
        assert base_url.startswith("http://127.0.0.1:")
        assert base_url.endswith("/v1")
        async with client_of(base_url) as client:
            conversation = await client.conversations.create(metadata={"topic": "test"})
            page = await client.conversations.items.create(
                conversation.id, items=[user("Hello"), {"role": "assistant", "content": "Hi there!"}]
            )
            listed = await client.conversations.items.list(conversation.id)
            left = await client.conversations.items.delete(page.last_id, conversation_id=conversation.id)
    assert [item.content[0].text for item in listed.data] == ["Hi there!", "Hello"]
    assert left == conversation


async def test_served_emulator_refuses_as_in_process(emulator):
    with emulator.serve() as base_url:
        async with client_of(base_url) as client:
            conversation = await client.conversations.create()
            with emulator.locked(conversation.id), pytest.raises(openai.BadRequestError) as locked:
                await client.conversations.items.create(conversation.id, items=[user("x")])
            with pytest.raises(openai.NotFoundError):
                await client.conversations.retrieve("conv_unknown")
    assert locked.value.code == "conversation_locked"


async def test_served_emulator_checks_keys():
    with Emulator(api_keys=[KEY]) as emulator, emulator.serve() as base_url:
        async with client_of(base_url, key="sk-wrong") as client:
            with pytest.raises(openai.AuthenticationError):
                await client.conversations.create()


async def test_emulator_is_served_and_used_in_process_at_once(emulator, wire):
    with emulator.serve() as base_url:
        async with client_of(base_url) as client:
            conversation = await client.conversations.create(items=[user("socket")])
            await wire.add(conversation.id, user("process"))
            page = await client.conversations.items.list(conversation.id)
    assert [item.content[0].text for item in page.data] == ["process", "socket"]


async def test_emulator_is_served_twice_at_once(emulator):
    with emulator.serve() as one, emulator.serve() as other:
        async with client_of(one) as client, client_of(other) as other_client:
            conversation = await client.conversations.create()
            assert await other_client.conversations.retrieve(conversation.id) == conversation


async def test_stopped_server_frees_its_port_and_its_thread(emulator):
    threads = threading.active_count()
    with emulator.serve() as base_url:
        port = int(base_url.split(":")[2].split("/")[0])
    with socket.create_server(("127.0.0.1", port)):
        assert threading.active_count() == threads


async def test_emulator_serves_in_process_after_its_server_stopped(emulator, wire):
    with emulator.serve():
        conversation_id = await wire.new_conversation()
    await wire.add_one(conversation_id, user("Hello"))


async def test_server_stops_despite_an_idle_connection(emulator):
    with emulator.serve() as base_url:
        client = client_of(base_url)
        await client.conversations.create()
    with pytest.raises(openai.APIConnectionError):
        await client.with_options(max_retries=0).conversations.create()
    await client.close()


async def test_error_names_the_taken_port(emulator):
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match=str(taken.getsockname()[1])),
        emulator.serve(port=taken.getsockname()[1]),
    ):
        pytest.fail("served on a taken port")  # pragma: no cover


async def test_server_binds_an_address_of_ipv6(emulator):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with emulator.serve(host="::1") as base_url:
        async with client_of(base_url) as client:
            assert (await client.conversations.create()).object == "conversation"
    assert base_url.startswith("http://[::1]:")


async def test_error_inside_the_block_stops_the_server(emulator):
    with pytest.raises(ZeroDivisionError), emulator.serve() as base_url:
        raise ZeroDivisionError
    async with client_of(base_url) as client:
        with pytest.raises(openai.APIConnectionError):
            await client.with_options(max_retries=0).conversations.create()


async def test_emulators_share_a_file(tmp_path):
    file = tmp_path / "conversations.db"
    with Emulator(file) as served, Emulator(file) as other, served.serve() as base_url:
        async with client_of(base_url) as client:
            conversation = await client.conversations.create(items=[user("Hello")])
            assert await Wire(other).texts(conversation.id) == ["Hello"]


def test_server_keeps_idle_connections_longer_than_clients():
    """Otherwise a request could be sent on a connection that the server is closing."""
    kept = openai.DefaultAsyncHttpxClient()._transport._pool._keepalive_expiry
    assert kept < server_of(Emulator).config.timeout_keep_alive
