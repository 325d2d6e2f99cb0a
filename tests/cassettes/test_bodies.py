"""Bodies come back as they were: streams, compressed ones, and any text in YAML."""

import gzip
import json

import pytest
import yaml

from openai_sessions.testing.cassettes import use_cassette
from tests.cassettes.exchanges import (
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


def test_broken_compression_is_recorded_as_the_code_saw_it(path):
    def answer(*_):
        return 200, [("content-encoding", "gzip")], b"no gzip at all"

    with answering(answer) as url:
        for address in (url, NOWHERE):
            with use_cassette(path), pytest.raises(HTTP_FAMILY.DecodingError):
                raw("GET", "/v1/x", to=address)
    assert "no gzip at all" in path.read_text()
