"""Genuine exchanges with OpenAI's API, replayed request by request.

The answers must be equal to the recorded ones once ids and times are put in the recording's terms. The
recordings lie beside the checkout where they are at all. Requests to `/v1/responses` are
compared in `test_responses_recorded.py`; here the items that such a request added to the conversation are
added through the API instead.
"""

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
    """Play one recording; `ids` leads from the ids of the recording to those of the emulator."""

    def __init__(self, wire):
        self.wire = wire
        self.ids = {}

    async def play(self, exchange):
        """Send the recorded request and return the answer, and its body in the recording's terms."""
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
        """Pair the ids at equal places, which must have equal prefixes."""
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
async def test_recording_is_answered_alike(name):
    """Equal in status, headers and body; where the recording kept the order of keys, in that too."""
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
