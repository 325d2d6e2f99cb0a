"""Bodies that are no JSON, or too much of it, over real connections."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import openai
import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions._api.bodies import MAX_BODY
from openai_sessions._api.retries import Failure, Outcome, classify
from openai_sessions.errors import InvalidResponseError
from tests.selection import one_in
from tests.wire import FAST, arguments, page

USER = {"role": "user", "content": "Hi"}


def over_httpx() -> Any:
    return openai.DefaultAsyncHttpxClient(verify=False)


def over_aiohttp() -> Any:
    return openai.DefaultAioHttpClient(verify=False)


every_transport = pytest.mark.parametrize("transport", [over_httpx, over_aiohttp])


class Server:
    """Answers each request with `status`, `headers` and `body`, by its method where these are dicts.

    Attributes:
        requests: The heads of the requests.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.status: dict[str, int] = {}
        self.headers: dict[str, str] = {}
        self.body: dict[str, bytes] = {}

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method = head.partition(" ")[0]
                length = head.lower().partition("content-length: ")[2].partition("\r\n")[0]
                await reader.readexactly(int(length or 0))
                self.requests.append(head)
                body = self.body.get(method, json.dumps(page("m1")[1]).encode())
                headers = {"content-length": str(len(body)), **(self.headers if method in self.body else {})}
                lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                writer.write(f"HTTP/1.1 {self.status.get(method, 200)} Any\r\n{lines}\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


class Garbage(Server):
    """Answers each request with what is not HTTP."""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.requests.append(head)
        writer.write(b"GARBAGE\r\n\r\n")
        await writer.drain()
        writer.close()


@pytest.fixture
async def server() -> Server:
    return Server()


@asynccontextmanager
async def session_on(server: Server, transport: Callable[[], Any]) -> AsyncIterator[Any]:
    """Serve, and yield a session on a conversation that has an item."""
    listening = await asyncio.start_server(server.answer, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with (
        listening,
        openai.AsyncOpenAI(
            base_url=f"http://127.0.0.1:{port}/v1", api_key="sk-x", http_client=transport()
        ) as client,
    ):
        yield OpenAIConversationsSession(
            conversation_id="conv_1", openai_client=client, **arguments(retry_policy=FAST)
        )
    await asyncio.sleep(0)  # the server closes its connections


@cache
def bomb(megabytes: int) -> bytes:
    """Return white space under gzip."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    block = b" " * (1 << 20)
    return b"".join([*(compressor.compress(block) for _ in range(megabytes)), compressor.flush()])


@pytest.mark.parametrize("transport", one_in(2, [over_httpx, over_aiohttp]))
@pytest.mark.parametrize("status", one_in(3, [200, 400, 500]))
async def test_a_body_beyond_the_limit_is_requested_once_and_not_read_to_its_end(server, transport, status):
    server.status, server.headers = {"GET": status}, {"content-encoding": "gzip"}
    server.body = {"GET": bomb(32 + (MAX_BODY >> 20))}
    async with session_on(server, transport) as session:
        tracemalloc.start()
        try:
            with pytest.raises(InvalidResponseError, match=r"'list items' has more than 128 MB"):
                await session.get_items()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert len(server.requests) == 1
    assert peak < 1.2 * MAX_BODY


@pytest.mark.exhaustive
@every_transport
async def test_a_body_of_the_largest_size_is_read(server, transport):
    ends = b'{"data":[],"has_more":false,"last_id":"', b'"}'
    body = (b"x" * (MAX_BODY - sum(map(len, ends)))).join(ends)
    for server.body in ({"GET": body}, {"GET": gzip.compress(body, 1)}):
        server.headers = {"content-encoding": "gzip"} if len(server.body["GET"]) < MAX_BODY else {}
        async with session_on(server, transport) as session:
            assert await session.get_items() == []
    server.body = {"GET": body.replace(b"x", b"xx", 1)}
    server.headers = {}
    async with session_on(server, transport) as session:
        with pytest.raises(InvalidResponseError, match="more than 128 MB"):
            await session.get_items()


@every_transport
async def test_gzip_is_decoded_and_the_only_encoding_requested(server, transport):
    server.headers = {"content-encoding": "GZip"}
    server.body = {"GET": gzip.compress(json.dumps(page("m2", "m1")[1]).encode())}
    async with session_on(server, transport) as session:
        assert [item["content"] for item in await session.get_items()] == ["m1", "m2"]
    encodings = [
        line for line in server.requests[0].lower().split("\r\n") if line.startswith("accept-encoding")
    ]
    assert encodings == ["accept-encoding: gzip"]


@every_transport
@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip"])
async def test_another_encoding_is_an_error(server, transport, encoding):
    server.headers, server.body = {"content-encoding": encoding}, {"GET": b"{}"}
    async with session_on(server, transport) as session:
        with pytest.raises(
            InvalidResponseError, match=f"is encoded as '{encoding}', which was not requested"
        ):
            await session.get_items()
    assert len(server.requests) == 1


@every_transport
@pytest.mark.parametrize(
    "body", [b"no gzip", gzip.compress(b"{}", mtime=0)[:-4] + b"oops"], ids=["none", "damaged"]
)
async def test_gzip_that_is_damaged_is_an_error(server, transport, body):
    server.headers, server.body = {"content-encoding": "gzip"}, {"GET": body}
    async with session_on(server, transport) as session:
        with pytest.raises(InvalidResponseError, match=r"'list items' is not gzip"):
            await session.get_items()


def listing(text: str) -> bytes:
    return b'{"data": [{"type": "function_call", "id": "fc_1", "x": %s}], "has_more": false}' % text.encode()


@pytest.mark.parametrize(
    ("text", "problem", "requests"),
    [
        ("[" * 100_000 + "]" * 100_000, "is nested too deeply", 1),
        ("[" * 100_000, "is nested too deeply", 1),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "is nested too deeply", 1),
        ("[" * 300 + "]" * 300, "is nested too deeply", 1),
        ("[" * 300 + r'"\ud800"' + "]" * 300, "is nested too deeply", 1),
        ("NaN", "is not JSON", 6),
        (r'["\ud800", NaN]', "is not JSON", 6),
        ("Infinity", "is not JSON", 6),
        ("-Infinity", "is not JSON", 6),
        ("[1, -1e999]", "is not JSON", 6),
        ("1" + "0" * 5000, "is not JSON", 6),
    ],
    ids=lambda value: str(value)[:12],
)
async def test_json_that_no_item_has_is_an_error(server, text, problem, requests):
    server.body = {"GET": listing(text)}
    async with session_on(server, over_httpx) as session:
        with pytest.raises(InvalidResponseError, match=f"'list items' {problem}"):
            await session.get_items()
    assert requests == len(server.requests)


@pytest.mark.parametrize(
    "text", [r'"\ud800"', "[" * 190 + "]" * 190, "1e300", "123456789012345678901234567890"]
)
async def test_json_that_is_only_unusual_is_read(server, text):
    server.body = {"GET": listing(text)}
    async with session_on(server, over_httpx) as session:
        (item,) = await session.get_items()
    assert json.loads(text) == item["x"]


@every_transport
@pytest.mark.parametrize(("status", "body"), [(204, b""), (200, b""), (299, b'{"deleted": true}')])
async def test_a_deletion_is_done_with_any_success_status(server, transport, status, body):
    server.status, server.body = {"DELETE": status}, {"DELETE": body}
    async with session_on(server, transport) as session:
        assert (await session.pop_item())["content"] == "m1"
        await session.clear_session()
    assert [head.partition(" ")[0] for head in server.requests] == ["GET", "DELETE", "DELETE"]


@every_transport
@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{", b'{"deleted": NaN}'])
async def test_a_deletion_that_something_else_answers_is_sent_again(server, transport, body):
    """The page of a gateway says nothing of the item, whatever its status is."""
    server.body = {"DELETE": body}
    async with session_on(server, transport) as session:
        with pytest.raises(InvalidResponseError):
            await session.pop_item()
    assert [head.partition(" ")[0] for head in server.requests] == ["GET", *["DELETE"] * 6]


@every_transport
async def test_what_is_not_http_is_read_again_and_shows_no_key(transport):
    server = Garbage()
    async with session_on(server, transport) as session:
        with pytest.raises((openai.APIConnectionError, InvalidResponseError)) as caught:
            await session.get_items()
    assert len(server.requests) == 6
    assert "sk-x" not in repr(caught.value)


async def test_other_requests_of_the_client_are_left_alone(server):
    server.headers, server.body = {"content-encoding": "deflate"}, {"GET": zlib.compress(b'{"a": 1}')}
    async with session_on(server, over_httpx) as session:
        with pytest.raises(InvalidResponseError):
            await session.get_items()
        client = session._conversation._clients._client._client
        answer = await client.get("/other", cast_to=object)
    assert answer == '{"a": 1}'
    assert "deflate" in server.requests[-1]


async def test_requests_that_hooks_of_the_client_send_meanwhile_are_left_alone(server):
    """A hook may fetch a token through the same client."""
    server.headers, server.body = {"content-encoding": "deflate"}, {"POST": zlib.compress(b"token")}
    tokens = []

    async def fetch(request: Any) -> None:
        if request.method == "GET":
            tokens.append((await client.post(str(request.url))).text)

    client = over_httpx()
    client.event_hooks["request"].append(fetch)
    async with session_on(server, lambda: client) as session:
        assert len(await session.get_items()) == 1
    assert tokens == ["token"]


async def test_an_append_whose_answer_is_too_large_is_looked_for(server):
    server.body = {"POST": bomb(32 + (MAX_BODY >> 20))}
    server.headers = {"content-encoding": "gzip"}
    async with session_on(server, over_httpx) as session:
        with pytest.raises(InvalidResponseError):
            await session.add_items([USER])
    assert [head.partition(" ")[0] for head in server.requests] == ["GET", "POST", "GET", "GET"]


def test_an_answer_that_is_lasting_is_not_requested_again():
    error = InvalidResponseError("list items", "is odd", None, is_lasting=True)
    assert classify(error) == Failure(Outcome.UNKNOWN, should_retry=False)
