"""The events of a stream: decoding them, and making those that did not arrive."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_sessions._items.events import EventSplitter, StreamProgress, decoded_event, encoded_event

MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [
        {"type": "output_text", "text": "It is five.", "annotations": [{"type": "url_citation"}]},
        {"type": "refusal", "refusal": "No."},
        {"type": "unknown_part", "data": 1},
    ],
}
REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "A sum."}],
    "content": [{"type": "reasoning_text", "text": "2 + 3"}],
}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "add", "arguments": '{"a": 2}'}
SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
RESPONSE = {"id": "resp_1", "status": "completed", "output": [REASONING, MESSAGE, CALL, SEARCH]}

WHOLE = list(StreamProgress().remaining(RESPONSE))


def test_a_whole_stream_is_numbered_and_ends_with_the_response():
    assert list(range(len(WHOLE))) == [event["sequence_number"] for event in WHOLE]
    assert ["response.created", "response.in_progress"] == [event["type"] for event in WHOLE[:2]]
    assert ("response.completed", RESPONSE) == (WHOLE[-1]["type"], WHOLE[-1]["response"])
    done = [event["item"] for event in WHOLE if event["type"] == "response.output_item.done"]
    assert RESPONSE["output"] == done


@pytest.mark.parametrize("count", range(len(WHOLE) + 1))
def test_what_was_received_and_what_remains_are_the_whole_stream(count):
    progress = StreamProgress()
    for event in WHOLE[:count]:
        progress.take(event)
    assert WHOLE[count:] == list(progress.remaining(RESPONSE))
    assert progress.is_over is (count == len(WHOLE))
    assert progress.has_content is (count > 2)


def test_a_text_is_continued_in_one_delta():
    progress = StreamProgress()
    (delta,) = (event for event in WHOLE if event["type"] == "response.output_text.delta")
    for text in ("It", " is"):
        progress.take({**delta, "delta": text})
    remaining = [event["delta"] for event in progress.remaining(RESPONSE) if event["type"] == delta["type"]]
    assert [" five."] == remaining


def test_a_text_that_is_another_one_is_only_corrected_at_its_end():
    progress = StreamProgress()
    (delta,) = (event for event in WHOLE if event["type"] == "response.output_text.delta")
    progress.take({**delta, "delta": "It was"})
    types = [event["type"] for event in progress.remaining(RESPONSE)]
    assert "response.output_text.delta" not in types
    assert "response.output_text.done" in types


def test_fields_that_are_missing_are_empty():
    output = [{"type": "function_call"}, {"type": "message", "content": [{}, {"type": "refusal"}]}]
    types = [event["type"] for event in StreamProgress().remaining({**RESPONSE, "output": output})]
    assert "response.function_call_arguments.done" in types
    assert "response.refusal.done" in types
    assert "response.completed" == types[-1]


@pytest.mark.parametrize(
    ("status", "last"),
    [
        ("incomplete", "response.incomplete"),
        ("failed", "response.failed"),
        ("cancelled", "response.failed"),
    ],
)
def test_the_last_event_tells_the_status(status, last):
    assert last == list(StreamProgress().remaining({**RESPONSE, "status": status}))[-1]["type"]


def test_the_response_of_the_latest_event_is_known():
    progress = StreamProgress()
    progress.take({"type": "response.created", "response": {"id": "resp_1"}})
    progress.take({"type": "keepalive"})
    assert {"id": "resp_1"} == progress.response


ENCODED = b"".join(map(encoded_event, WHOLE))


@given(st.lists(st.integers(0, len(ENCODED)), max_size=8))
def test_events_are_whole_wherever_the_bytes_are_cut(cuts):
    splitter, ends = EventSplitter(), [0, *sorted(cuts), len(ENCODED)]
    parts = [ENCODED[start:end] for start, end in pairwise(ends)]
    events = [event for part in parts for event in splitter.feed(part)]
    assert ENCODED == b"".join(events)
    assert WHOLE == list(map(decoded_event, events))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_may_end_in_three_ways(end):
    raw = end.join([b"event: a", b'data: {"type":', b'data: "a"}', b"", b""])
    splitter = EventSplitter()
    events = [event for byte in raw for event in splitter.feed(bytes([byte]))]
    assert [{"type": "a"}] == list(map(decoded_event, events))


@pytest.mark.parametrize(
    "raw", [b": comment\n\n", b"data: [DONE]\n\n", b"data: 5\n\n", b"data: {\n\n", b"\n\n"]
)
def test_what_has_no_object_is_no_event(raw):
    assert decoded_event(raw) is None


def test_an_event_that_is_not_whole_is_kept_back():
    splitter = EventSplitter()
    assert [] == splitter.feed(b"data: {}\n")
    assert [b"data: {}\n\n"] == splitter.feed(b"\ndata: ")
