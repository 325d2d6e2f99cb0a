"""Bodies come back as they were: streams, uploads, compressed and binary ones, and any text in YAML."""

import asyncio
import gzip
import json

import openai
import pytest
import yaml

from openai_sessions.testing.cassettes import CassetteMissError, use_cassette
from tests.cassettes.exchanges import (
    KEY,
    NOWHERE,
    answering,
    async_client,
    exchange,
    raw,
    sync_client,
    write_cassette,
)
from tests.wire import HTTP_FAMILY

EVENTS = [
    {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1"}},
    {"type": "response.output_text.delta", "sequence_number": 1, "delta": "Hel", "item_id": "msg_1"},
    {"type": "response.output_text.delta", "sequence_number": 2, "delta": "lo\n— 👋", "item_id": "msg_1"},
    {"type": "response.completed", "sequence_number": 3, "response": {"id": "resp_1"}},
]


def stream(*_):
    lines = (f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n" for event in EVENTS)
    return 200, [("content-type", "text/event-stream; charset=utf-8")], "".join(lines).encode()


def deltas(url):
    with (
        sync_client(url) as client,
        client.responses.create(model="gpt-4.1", input="Hi", stream=True) as events,
    ):
        return [(event.type, getattr(event, "delta", None)) for event in events]


async def async_deltas(url):
    async with async_client(url) as client:
        events = await client.responses.create(model="gpt-4.1", input="Hi", stream=True)
        return [(event.type, getattr(event, "delta", None)) async for event in events]


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
async def test_stream_of_events_is_played(suffix, path):
    path = path.with_suffix(suffix)
    with answering(stream) as url, use_cassette(path):
        recorded = deltas(url)
    assert [(event["type"], event.get("delta")) for event in EVENTS] == recorded
    with use_cassette(path):
        assert deltas(NOWHERE) == recorded
    async with use_cassette(path):
        assert await async_deltas(NOWHERE) == recorded


def test_compressed_answer_is_readable_in_the_file(path):
    content = json.dumps({"text": "readable"}).encode()

    def answer(method, address, headers, body):
        assert "gzip" in headers["accept-encoding"]
        return (
            200,
            [("content-type", "application/json"), ("content-encoding", "gzip")],
            gzip.compress(content),
        )

    with answering(answer) as url, use_cassette(path):
        assert raw("GET", "/v1/x", to=url).json() == {"text": "readable"}
    response = yaml.safe_load(path.read_text())["interactions"][0]["response"]
    assert response["body"]["string"] == content.decode()
    assert not {"content-encoding", "content-length"} & set(response["headers"])
    with use_cassette(path):
        assert raw("GET", "/v1/x").json() == {"text": "readable"}


@pytest.mark.parametrize(
    ("encoding", "body"), [("gzip", gzip.compress(b"hello", mtime=0)), ("", b"hello"), ("unknown", b"hello")]
)
def test_compressed_answer_of_an_existing_cassette_is_played(encoding, body, path):
    write_cassette(
        path, exchange("GET", "/v1/x", headers={"Content-Encoding": [encoding]}, body={"string": body})
    )
    with use_cassette(path):
        assert raw("GET", "/v1/x").content == b"hello"


def test_broken_compression_is_recorded_unchanged(path):
    def answer(*_):
        return 200, [("content-encoding", "gzip")], b"no gzip at all"

    with answering(answer) as url:
        for address in (url, NOWHERE):
            with use_cassette(path), pytest.raises(HTTP_FAMILY.DecodingError):
                raw("GET", "/v1/x", to=address)
    assert "no gzip at all" in path.read_text()


BINARY = bytes(range(256))

FILE = {
    "id": "file-1",
    "object": "file",
    "bytes": 3,
    "created_at": 1,
    "filename": "a",
    "purpose": "user_data",
}


def store(method, target, headers, body):
    """Answer as the API does to a file; echo a picture."""
    if method == "GET":
        return 200, [("content-type", "image/png")], BINARY
    assert b"Content-Disposition: form-data" in body
    return 200, [("content-type", "application/json")], json.dumps({**FILE, "status": "processed"}).encode()


def upload(url, content):
    with sync_client(url) as client:
        return client.files.create(file=("a.png", content), purpose="user_data")


def upload_async(url, content):
    async def run():
        async with async_client(url) as client:
            return await client.files.create(file=("a.png", content), purpose="user_data")

    return asyncio.run(run())


def upload_with_aiohttp(url, content):
    pytest.importorskip("aiohttp")

    async def run():
        transport = openai.DefaultAioHttpClient()
        async with openai.AsyncOpenAI(base_url=url, api_key=KEY, http_client=transport) as client:
            return await client.files.create(file=("a.png", content), purpose="user_data")

    return asyncio.run(run())


@pytest.mark.parametrize("send", [upload, upload_async, upload_with_aiohttp])
@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_upload_of_a_binary_file_is_played(suffix, send, path):
    path = path.with_suffix(suffix)
    with answering(store) as url, use_cassette(path):
        recorded = [send(url, content) for content in (BINARY, b"text", BINARY[::-1])]
    with use_cassette(path):
        assert recorded == [send(NOWHERE, content) for content in (BINARY, b"text", BINARY[::-1])]
    with pytest.raises(CassetteMissError, match="body: recorded"), use_cassette(path):
        send(NOWHERE, b"another")


def test_uploads_of_other_libraries_are_played(path):
    """requests gives vcrpy a file, aiohttp an object that has no bytes yet."""
    requests, aiohttp = pytest.importorskip("requests"), pytest.importorskip("aiohttp")
    form = b'--b, "c"\r\nContent-Disposition: form-data; name="password"\r\n\r\nPlanted\r\n--b, "c"--\r\n'

    async def with_aiohttp(url):
        body = aiohttp.FormData()
        body.add_field("file", BINARY, filename="a.png")
        async with aiohttp.ClientSession() as session, session.post(f"{url}/files", data=body) as answer:
            return await answer.json()

    def with_requests(url, boundary, body):
        file = path.with_suffix(".body")
        file.write_bytes(body)
        headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
        with file.open("rb") as content:
            return requests.post(f"{url}/files", content, headers=headers, timeout=10).json()

    path.parent.mkdir()
    with answering(store) as url, use_cassette(path):
        recorded = with_requests(url, "b", form), asyncio.run(with_aiohttp(url))
    assert "Planted" not in path.read_text()
    with use_cassette(path):
        body = form.replace(b'b, "c"', b"d").replace(b"Planted", b"another")
        assert (with_requests(NOWHERE, "d", body), asyncio.run(with_aiohttp(NOWHERE))) == recorded


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_binary_answer_is_played(suffix, path):
    path = path.with_suffix(suffix)
    with answering(store) as url:
        for address in (url, NOWHERE):
            with use_cassette(path):
                assert raw("GET", "/v1/picture", to=address).content == BINARY
