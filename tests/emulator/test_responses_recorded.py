"""Genuine responses of OpenAI's API beside those of the emulator, whose replies are what the model said then.

The recordings lie beside the checkout where they are at all.
"""

import json

import pytest

from openai_sessions.emulator import Emulator

from .test_recordings import NAMES, Replay, recording
from .wire import Wire

URL = "https://api.openai.com/v1/responses"
STREAMING = "pydantic-ai__conversation_id_streaming_provider_details.json"
MADE_UP = {"created_at", "completed_at", "model", "usage"}
"""Fields that say when, which snapshot of a model, and how many tokens."""

CHANGED = {"prompt_cache_retention", "reasoning", "tool_usage"}
"""Fields in which recordings of different months differ."""


def responses_in(name):
    """Return the exchanges of a recording that are about responses."""
    return [exchange for exchange in recording(name)["exchanges"] if exchange["request"]["url"] == URL]


WITH_RESPONSES = [name for name in NAMES if responses_in(name) and name != STREAMING] or ["none"]


def without_ids(items):
    return [{key: value for key, value in item.items() if key not in {"id", "status"}} for item in items]


def shape(value):
    """Return the JSON types of a value, with its keys."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value).__name__


def in_the_order_of(keys, reference):
    return [key for key in reference if key in keys]


@pytest.mark.parametrize("name", WITH_RESPONSES)
async def test_recording_with_responses_is_answered_alike(name):
    """Each recorded field is there, with the same value, or of the same type where the value is made up."""
    if not NAMES:
        pytest.skip("the recordings are not beside this checkout")
    content = recording(name)
    with Emulator() as emulator:
        replay = Replay(Wire(emulator))
        for exchange in content["exchanges"]:
            recorded = exchange["response"]["body"]
            if exchange["request"]["url"] != URL:
                _, body = await replay.play(exchange)
                assert recorded == body
                continue
            emulator.reply(without_ids(recorded["output"]))
            body = await respond(replay, exchange)
            compare(recorded, body, ordered="body key order" in content["evidence"])


async def respond(replay, exchange):
    """Ask for the recorded response, and return the emulator's with the ids of the recording."""
    request = replay.to_emulator(exchange["request"]["body"])
    answer = await replay.wire.http.post("/v1/responses", json=request)
    assert 200 == answer.status_code, answer.text
    replay.pair(exchange["response"]["body"], answer.json())
    text = answer.text
    for recorded_id, emulated_id in replay.ids.items():
        text = text.replace(emulated_id, recorded_id)
    return json.loads(text)


def compare(recorded, body, *, ordered):
    exact = recorded.keys() - MADE_UP - CHANGED
    assert {key: recorded[key] for key in exact} == {key: body[key] for key in exact}
    for key in MADE_UP & recorded.keys() - {"usage"}:
        assert shape(recorded[key]) == shape(body[key])
    body["usage"]["input_tokens_details"].pop("cache_write_tokens")
    assert shape(recorded["usage"]) == shape(body["usage"])
    assert recorded["reasoning"].items() <= body["reasoning"].items()
    assert recorded.get("tool_usage", body["tool_usage"]) == body["tool_usage"]
    if ordered:
        assert list(recorded) == in_the_order_of(recorded.keys(), body)
        assert list(recorded["output"][0]) == list(body["output"][0])


def events_in(text):
    return [json.loads(block.split("\ndata: ")[1]) for block in text.split("\n\n") if block]


async def test_recorded_stream_is_answered_alike():
    """The same events in the same order, with the same keys in the same order; deltas are cut otherwise."""
    if not NAMES:
        pytest.skip("the recordings are not beside this checkout")
    created, streamed, _ = recording(STREAMING)["exchanges"]
    recorded = events_in(streamed["response"]["body"])
    with Emulator() as emulator:
        wire = Wire(emulator)
        replay = Replay(wire)
        await replay.play(created)
        emulator.reply("stream ed")
        answer = await wire.http.post("/v1/responses", json=replay.to_emulator(streamed["request"]["body"]))
    assert streamed["response"]["headers"]["content-type"] == answer.headers["content-type"]
    answered = events_in(answer.text)
    assert [list(event) for event in recorded] == [list(event) for event in answered]
    for genuine, ours in zip(recorded, answered, strict=True):
        assert (genuine["type"], genuine["sequence_number"]) == (ours["type"], ours["sequence_number"])
        if "response" in genuine:
            first, second = genuine["response"], ours["response"]
            assert list(first) == in_the_order_of(first.keys(), second)
            begun = ("status", "service_tier", "error", "instructions")
            assert [first[key] for key in begun] == [second[key] for key in begun]
            assert [first[key] is None for key in MADE_UP] == [second[key] is None for key in MADE_UP]
        if "obfuscation" in genuine:
            assert (
                16
                == len(genuine["delta"] + genuine["obfuscation"])
                == len(ours["delta"] + ours["obfuscation"])
            )
        if "item" in genuine:
            assert list(genuine["item"]) == list(ours["item"])
            assert genuine["item"]["status"] == ours["item"]["status"]
