"""Contents of items, keys and errors are not recorded unless capture is enabled."""

from __future__ import annotations

import json
from contextlib import suppress

import openai
import pytest

from openai_sessions import OpenAIConversationsSession, RequestSettings
from openai_sessions.emulator import Fault
from openai_sessions.telemetry._observer import CAPTURE, as_records, is_content_captured
from tests.wire import FAST, Wire, error

from .recording import Recording

SECRET = "the-lighthouse-keeper"
SAID = {"role": "user", "content": f"I am {SECRET}"}


async def every_operation(session, emulator):
    await session.add_items([SAID, {"role": "assistant", "content": SECRET}])
    emulator.inject(Fault("cut_after_commit"), operation="create_items")
    await session.add_items([SAID])
    await session.get_items()
    await session.find_turns(SECRET)
    assert [item async for item in session.iterate_items()]
    with pytest.raises(ValueError, match="cannot be stored"):
        await session.add_items([{"role": SECRET}])
    await session.pop_item()
    await session.clear_session(purge_items=True)


async def test_no_content_is_recorded(emulator, open_session):
    with Recording() as recording:
        async with open_session() as session:
            await every_operation(session, emulator)
        recorded = recording.everything()
    assert "openai_sessions.items.written" in recorded
    assert SECRET not in recorded
    assert "sk-stand-in" not in recorded
    assert "earer" not in recorded


async def test_no_error_message_is_recorded():
    """The API quotes refused values; error codes of a proxy may do so too."""
    wire = Wire(lambda call: error(400, SECRET, f"Invalid value: {SECRET}"))
    with Recording() as recording:
        session = OpenAIConversationsSession(
            openai_client=wire.client, conversation_id="conv_1", requests=RequestSettings(retry_policy=FAST)
        )
        with pytest.raises(openai.BadRequestError, match=SECRET):
            await session.add_items([SAID])
        recorded = recording.everything()
    assert "openai.BadRequestError" in recorded
    assert SECRET not in recorded


async def test_contents_are_recorded_if_capture_is_enabled(open_session, monkeypatch):
    monkeypatch.setenv(CAPTURE, "true")
    with Recording() as recording:
        async with open_session() as session:
            await session.add_items([SAID])
            await session.get_items()
            with suppress(TypeError):
                await session.add_items(None)
    recorded = {span.name: span.attributes.get("gen_ai.memory.records") for span in recording.spans[:2]}
    assert {name: json.loads(records) for name, records in recorded.items()} == {
        "create_memory": [{"content": SAID}],
        "search_memory": [{"content": SAID}],
    }
    assert "gen_ai.memory.records" not in recording.spans[2].attributes


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("true", True),
        ("True", True),
        ("SPAN_ONLY", True),
        ("SPAN_AND_EVENT", True),
        ("EVENT_ONLY", False),
        ("NO_CONTENT", False),
        ("false", False),
        ("", False),
    ],
)
def test_values_of_the_capture_variable(value, expected):
    assert is_content_captured({CAPTURE: value}) is expected


def test_malformed_item_is_recorded_as_null():
    assert as_records([{"a": object()}]) == '[{"content": null}]'
