"""Genuine exchanges with OpenAI's API, replayed request by request.

The responses must equal the recorded ones after ids and times are translated. Replies of the model are
scripted with the recorded ones. The tests are skipped without the recordings beside the checkout."""

import json
import re
from pathlib import Path

import pytest

from openai_sessions.emulator import Emulator

from .wire import Wire

FOLDER = Path(__file__).parents[3] / "shared" / "recordings"
NAMES = sorted(path.name for path in FOLDER.glob("*.json"))
MEANINGFUL_HEADERS = ("content-type", "openai-version", "www-authenticate")
REDACTED_KEY = re.compile(r"(?<=provided: ).*?(?=\. You)")


def recording(name):
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


class Replay:
    """Replays one recording; `ids` maps the ids of the recording to those of the emulator."""

    def __init__(self, wire):
        self.wire = wire
        self.ids = {}

    async def play(self, exchange):
        """Send the recorded request; return the response, and its body with the ids of the recording."""
        request, recorded = exchange["request"], exchange["response"]["body"]
        path = request["url"].removeprefix("https://api.openai.com")
        answer = await self.wire.http.request(
            request["method"], self.to_emulator(path), json=self.to_emulator(request["body"])
        )
        self.pair(recorded, answer.json())
        return answer, self.to_recording(answer.json(), recorded)

    async def add_what_the_response_added(self, exchange):
        request, recorded = exchange["request"]["body"], exchange["response"]["body"]
        if "conversation" not in request or isinstance(recorded, str):
            return
        conversation = request["conversation"]
        conversation_id = conversation["id"] if isinstance(conversation, dict) else conversation
        status, page = await self.wire.add(
            self.to_emulator(conversation_id), *request["input"], *recorded["output"]
        )
        assert status == 200, page

    def to_emulator(self, value):
        text = json.dumps(value)
        for recorded_id, emulated_id in self.ids.items():
            text = text.replace(recorded_id, emulated_id)
        return json.loads(text)

    def to_recording(self, body, recorded):
        text = json.dumps(body)
        for recorded_id, emulated_id in self.ids.items():
            text = text.replace(emulated_id, recorded_id)
        translated = json.loads(text)
        if "created_at" in translated:
            assert isinstance(translated["created_at"], int)
            translated["created_at"] = recorded["created_at"]
        if "error" in translated:
            key = REDACTED_KEY.search(recorded["error"]["message"]).group()
            translated["error"]["message"] = REDACTED_KEY.sub(key, translated["error"]["message"])
        return translated

    def pair(self, recorded, emulated):
        """Pair the ids at the same paths, which must have the same prefix."""
        if isinstance(recorded, list):
            for one, other in zip(recorded, emulated, strict=True):
                self.pair(one, other)
        if not isinstance(recorded, dict):
            return
        for name, value in recorded.items():
            if name == "id":
                assert value.split("_")[0] == emulated[name].split("_")[0]
                self.ids[value] = emulated[name]
            else:
                self.pair(value, emulated[name])


@pytest.mark.parametrize("name", NAMES or ["none"])
async def test_recorded_responses_are_reproduced(name):
    """In status, headers and body, and in the order of keys if the recording kept it."""
    if not NAMES:
        pytest.skip("the recordings are not beside this checkout")
    content = recording(name)
    exchanges = content["exchanges"]
    unauthorized = exchanges[0]["response"]["status"] == 401
    with Emulator(api_keys=["sk-right"] if unauthorized else None) as emulator:
        replay = Replay(Wire(emulator))
        for exchange in exchanges:
            if exchange["request"]["url"].endswith("/v1/responses"):
                await replay.add_what_the_response_added(exchange)
                continue
            answer, body = await replay.play(exchange)
            recorded = exchange["response"]
            headers = {key: answer.headers[key] for key in MEANINGFUL_HEADERS if key in recorded["headers"]}
            assert (recorded["status"], recorded["body"]) == (answer.status_code, body)
            assert headers == {key: recorded["headers"][key] for key in headers}
            if "body key order" in content["evidence"]:
                assert json.dumps(recorded["body"]) == json.dumps(body)
                assert recorded["headers"]["content-length"] == str(len(json.dumps(body, indent=2)))


RESPONSES_URL = "https://api.openai.com/v1/responses"
STREAMING = "pydantic-ai__conversation_id_streaming_provider_details.json"
MADE_UP = {"created_at", "completed_at", "model", "usage"}
"""Fields with times, the snapshot of the model, and numbers of tokens."""

CHANGED = {"prompt_cache_retention", "reasoning", "tool_usage", "tools"}
"""Fields that differ between recordings of different months."""


def responses_in(name):
    """Return the exchanges of a recording with `/v1/responses`."""
    return [
        exchange for exchange in recording(name)["exchanges"] if exchange["request"]["url"] == RESPONSES_URL
    ]


WITH_RESPONSES = [name for name in NAMES if responses_in(name) and name != STREAMING] or ["none"]


def without_ids(items):
    return [{key: value for key, value in item.items() if key not in {"id", "status"}} for item in items]


def shape(value):
    """Return the value with JSON types in place of its leaves."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value).__name__


def in_the_order_of(keys, reference):
    return [key for key in reference if key in keys]


@pytest.mark.parametrize("name", WITH_RESPONSES)
async def test_recorded_response_objects_are_reproduced(name):
    """Each recorded field exists, with the same value, or the same type if the emulator makes it up."""
    if not NAMES:
        pytest.skip("the recordings are not beside this checkout")
    content = recording(name)
    with Emulator() as emulator:
        replay = Replay(Wire(emulator))
        for exchange in content["exchanges"]:
            recorded = exchange["response"]["body"]
            if exchange["request"]["url"] != RESPONSES_URL:
                _, body = await replay.play(exchange)
                assert recorded == body
                continue
            emulator.reply(without_ids(recorded["output"]))
            body = await respond(replay, exchange)
            compare(recorded, body, ordered="body key order" in content["evidence"])


async def respond(replay, exchange):
    """Send the recorded request, and return the response with the ids of the recording."""
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
    for genuine, ours in zip(recorded["tools"], body["tools"], strict=True):
        assert genuine.items() <= ours.items()
    assert recorded.get("tool_usage", body["tool_usage"]) == body["tool_usage"]
    if ordered:
        assert list(recorded) == in_the_order_of(recorded.keys(), body)
        assert list(recorded["output"][0]) == list(body["output"][0])


def events_in(text):
    return [json.loads(block.split("\ndata: ")[1]) for block in text.split("\n\n") if block]


async def test_recorded_stream_is_reproduced():
    """The same events with the same keys in the same order; texts are split into other deltas."""
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
            started = ("status", "service_tier", "error", "instructions")
            assert [first[key] for key in started] == [second[key] for key in started]
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
