"""The service stores nothing readable: neither in the emulator's database file nor in its log."""

import json

import pytest

from openai_sessions import InvalidItemError
from openai_sessions._arguments import MAX_TEXT
from openai_sessions._items.types import SCHEMA
from openai_sessions.emulator import Emulator

from .stores import HELLO, KEY

SECRETS = [
    {"role": "user", "content": "My number is 0451-7788."},
    {
        "type": "function_call",
        "call_id": "call_kestrel",
        "name": "look_up_balance",
        "arguments": '{"account": "heron"}',
    },
    {"type": "function_call_output", "call_id": "call_kestrel", "output": "12,345.67"},
    {"role": "developer", "content": "Speak of the heron only."},
    {
        "role": "assistant",
        "type": "message",
        "status": "completed",
        "content": [{"type": "output_text", "text": "Twelve thousand pelicans.", "annotations": []}],
    },
]

WORDS = (
    *("0451-7788", "kestrel", "look_up_balance", "heron", "12,345.67", "Speak of", "pelicans"),
    *("function_call", "call_id", "arguments", "developer", "assistant", "output_text", "first user", KEY),
)


def found_in_files_of(folder):
    """Return the words found in any file of a folder."""
    written = [path.read_bytes() for path in folder.iterdir()]
    assert written
    return [word for word in WORDS if any(word.encode() in content for content in written)]


@pytest.fixture
def emulator(tmp_path):
    """An emulator with a database file, and its log next to it."""
    with Emulator(tmp_path / "emulator.db") as emulator:
        yield emulator


async def test_database_file_contains_no_plain_text(encrypted, tmp_path):
    session = encrypted()
    await session.add_items(SECRETS)
    await session.add_items([HELLO])
    await session.pop_item()

    assert "emulator.db-wal" in [path.name for path in tmp_path.iterdir()]
    assert [] == found_in_files_of(tmp_path)
    assert len(SECRETS) == len(await session.get_items())


async def test_database_file_contains_unencrypted_items(hosted, tmp_path):
    """The control: the same search finds the items without encryption."""
    await hosted.add_items(SECRETS)

    assert set(WORDS) - {"first user", KEY} == set(found_in_files_of(tmp_path))


async def test_requests_contain_no_plain_text(encrypted, emulator):
    session = encrypted()
    await session.add_items(SECRETS)
    await session.get_items()

    sent = json.dumps([request.body for request in emulator.requests if request.body])
    assert [] == [word for word in WORDS if word in sent]


async def test_each_item_is_stored_as_a_message_with_one_text(encrypted, emulator, hosted):
    await encrypted().add_items(SECRETS)

    stored = emulator.items(hosted.session_id)
    shapes = {(item["type"], item["role"], item["status"], len(item["content"])) for item in stored}
    assert {("message", "user", "completed", 1)} == shapes
    texts = [item["content"][0]["text"] for item in stored]
    assert {"openai-sessions:encrypted:v2:gAAAAA"} == {text[:35] for text in texts}


async def test_equal_items_have_different_tokens(encrypted, emulator, hosted):
    await encrypted().add_items([HELLO, HELLO])
    first, second = emulator.items(hosted.session_id)
    assert first["content"] != second["content"]


def message_of(size):
    return {"role": "user", "content": "x" * size}


LARGEST = 7_864_172
"""Characters of the longest text that fits: it is padded to blocks of 16; a token is four thirds as long."""


async def test_largest_item_fits(encrypted, emulator, hosted):
    await encrypted().add_items([message_of(LARGEST)])
    (stored,) = emulator.items(hosted.session_id)
    assert MAX_TEXT - 32 < len(stored["content"][0]["text"]) <= MAX_TEXT


async def test_too_large_item_is_refused_before_any_request(encrypted, emulator):
    with pytest.raises(InvalidItemError, match=r"items\[1\] .* and the API accepts 10,485,760") as raised:
        await encrypted().add_items([HELLO, message_of(LARGEST + 1)])
    assert 1 == raised.value.index
    assert () == emulator.requests


def test_text_limit_equals_the_public_schema():
    assert MAX_TEXT == SCHEMA["shapes"]["InputTextContentParam"]["required"]["text"]["max_length"]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("Hello", "it is of type str, not a dict"),
        ({"content": "Hello"}, "it has neither 'type' nor 'role'"),
        ({"role": "user", "content": "\ud800"}, "lone surrogate"),
        ({"type": "web_search_call", "status": "completed"}, "needs the id that the API gave it"),
    ],
)
async def test_malformed_item_is_refused_before_any_request(encrypted, emulator, item, reason):
    with pytest.raises(InvalidItemError, match=reason):
        await encrypted().add_items([HELLO, item])
    assert () == emulator.requests
