"""The parts of examples/chat: who the user is, and events whose reply from Redis is lost."""

import asyncio
import importlib
import sys
from contextlib import asynccontextmanager, suppress

import pytest

from tests.examples.stand_in import ROOT
from tests.processes.redis_server import redis_server

pytest.importorskip("fastapi.sse")
from fastapi import HTTPException, Request

HEADER = "X-Forwarded-User"


@pytest.fixture
def chat(monkeypatch):
    """Return a module of the chat by its name; it is imported anew for each test."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    yield lambda name: importlib.import_module(f"chat.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == "chat"]:
        del sys.modules[name]


async def admitted(users, *, client="127.0.0.1", host="127.0.0.1:8000", **headers):
    """Return the user of a request, or the status of the refusal."""
    named = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = [(name.lower().encode(), value.encode()) for name, value in named.items()]
    scope = {"type": "http", "path": "/", "headers": raw, "client": (client, 1), "server": ("127.0.0.1", 80)}
    try:
        return await users.current_user(Request(scope))
    except HTTPException as refused:
        return refused.status_code


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000"])
async def test_everyone_on_this_machine_is_one_user(chat, host):
    assert await admitted(chat("users"), host=host) == "local"
    assert await admitted(chat("users"), host=host, sec_fetch_site="same-origin") == "local"


@pytest.mark.parametrize(
    ("request_of", "status"),
    [
        ({"client": "192.0.2.7"}, 401),
        ({"host": "rebound.example"}, 401),
        ({"host": "192.0.2.1"}, 401),
        ({"client": "192.0.2.7", HEADER: "alice"}, 401),
        ({"X-Forwarded-For": "127.0.0.1"}, 401),
        ({"X-Real-IP": "192.0.2.7"}, 401),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
    ],
)
async def test_nobody_else_is_admitted(chat, request_of, status):
    assert await admitted(chat("users"), **request_of) == status


async def test_user_is_the_one_that_the_proxy_names(chat, monkeypatch):
    monkeypatch.setenv("CHAT_USER_HEADER", HEADER)
    users = chat("users")
    assert await admitted(users, client="192.0.2.7", host="chat.example", **{HEADER: "alice"}) == "alice"
    assert await admitted(users) == 401
    assert await admitted(users, **{HEADER: ""}) == 401
    assert await admitted(users, **{HEADER: "x" * 256}) == 401


@asynccontextmanager
async def losing_reply(redis_url, to):
    """Stand before a Redis server; yield a URL where the reply to the first command that has `to` is lost."""
    port, lost = int(redis_url.rpartition(":")[2]), []

    async def pass_on(reader, writer, *, on_command):
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if on_command and to in data and not lost:
                    lost.append(writer)
                writer.write(data)
        writer.close()

    async def serve(reader, writer):
        redis_reader, redis_writer = await asyncio.open_connection("127.0.0.1", port)

        async def replies():
            with suppress(ConnectionError):
                while data := await redis_reader.read(65536):
                    if lost == [redis_writer]:
                        lost.append(None)
                        break
                    writer.write(data)
            writer.close()

        await asyncio.gather(pass_on(reader, redis_writer, on_command=True), replies())

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    assert lost, "no command was met"


@pytest.mark.exhaustive
async def test_event_whose_reply_is_lost_is_stored_once(chat):
    runs = chat("runs")
    with redis_server() as redis_url:
        async with losing_reply(redis_url, b"California") as url, runs.redis_client(url) as redis:
            events = runs.Events(redis, "a", 7)
            await events.begin("What state is it in?")
            for piece in ("It is in ", "California", "."):
                await events.add("delta", piece)
            await events.end("done", "")
            stored = await redis.xrange("chat:events:a")
    assert [(event_id, fields["text"]) for event_id, fields in stored] == [
        ("7-1", "What state is it in?"),
        ("7-2", "It is in "),
        ("7-3", "California"),
        ("7-4", "."),
        ("7-5", ""),
    ]
