"""What the Agents SDK needs of a session: settings, its default client, items as they were written."""

from __future__ import annotations

import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI

from openai_sessions import OpenAIConversationsSession
from openai_sessions._agents import (
    SessionSettings,
    WrittenAsGiven,
    default_client,
    limit_of,
    session_settings,
)
from openai_sessions._items.forms import replay_form, to_replay
from tests import programs
from tests.strategies import stored_items, written_items

PRELUDE = """
import sys
from openai_sessions import OpenAIConversationsSession as Session
"""


def run(program: str) -> str:
    """Run a program in a new process and return its output."""
    done = programs.run("-W", "error", "-c", PRELUDE + program, env=os.environ, imported=programs.OF_OPENAI)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("given", "expected"),
    [("None", "None"), ("{'limit': 3}", "3"), ("{}", "None"), ("{'limit': None}", "None")],
)
def test_session_settings_are_read_with_their_limit(given, expected):
    program = f"print(Session(session_settings={given}).session_settings.limit, 'agents' in sys.modules)"
    assert run(program) == f"{expected} False"


@pytest.mark.parametrize(
    ("settings", "unknown"),
    [
        ({"limits": 3}, "limits"),
        ({"turns": 1, "limit": 3, "max_items": 2}, "max_items, turns"),
        ({"b": 1, 1: 2}, "1, b"),
    ],
)
def test_unknown_settings_are_refused_in_the_words_of_the_agents_sdk(settings, unknown):
    hosted = pytest.importorskip("agents.memory").OpenAIConversationsSession
    with pytest.raises(TypeError) as caught:
        OpenAIConversationsSession(session_settings=settings)
    assert str(caught.value) == f"Unknown session settings: {unknown}. There is: limit"
    session = OpenAIConversationsSession()
    with pytest.raises(TypeError, match="Unknown session settings"):
        session.session_settings = settings
    with pytest.raises(TypeError) as of_the_sdk:
        hosted(session_settings=settings, openai_client=AsyncOpenAI(api_key="k"))
    assert str(caught.value).startswith(str(of_the_sdk.value))


def test_unknown_settings_are_refused_without_the_agents_sdk():
    program = """
try:
    Session(session_settings={'limits': 3})
except TypeError as error:
    print(error, 'agents' in sys.modules)
"""
    assert run(program) == "Unknown session settings: limits. There is: limit False"


@pytest.mark.exhaustive
def test_changed_settings_survive_the_import_of_the_agents_sdk():
    pytest.importorskip("agents")
    program = """
session = Session(session_settings={'limit': 3})
session.session_settings.limit = 4
import agents
print(type(session.session_settings) is agents.SessionSettings, session.session_settings.limit)
"""
    assert run(program) == "True 4"


def test_there_is_no_default_client_without_the_sdk():
    assert run("from openai_sessions._agents import default_client; print(default_client())") == "None"


def test_settings_without_a_limit_have_none():
    assert limit_of(None) is None
    assert limit_of(SessionSettings(limit=2)) == 2


def test_settings_are_the_same_object_at_each_access():
    session = OpenAIConversationsSession(session_settings={"limit": 2})
    assert session.session_settings is session.session_settings


def test_settings_of_this_library_become_those_of_the_sdk():
    agents = pytest.importorskip("agents")
    assert session_settings(SessionSettings(limit=2)) == agents.SessionSettings(limit=2)
    assert session_settings(None) == agents.SessionSettings()


def test_the_default_client_is_that_of_the_sdk(monkeypatch):
    shared = pytest.importorskip("agents.models._openai_shared")
    marker = object()
    monkeypatch.setattr(shared, "_default_openai_client", marker)
    assert default_client() is marker


ANSWER = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}],
}
HELLO = {"role": "user", "content": "Hello"}


def test_newest_items_are_restored_as_written_without_ids():
    written = WrittenAsGiven()
    written.add([HELLO, ANSWER])
    as_given = {key: value for key, value in ANSWER.items() if key != "id"}
    assert written.restored_in([HELLO, *to_replay([HELLO, ANSWER])]) == [HELLO, HELLO, as_given]


def test_items_that_do_not_match_the_history_are_not_restored():
    """Another process added an item meanwhile."""
    written = WrittenAsGiven()
    written.add([ANSWER])
    history = to_replay([ANSWER, {"role": "user", "content": "And then?"}])
    assert written.restored_in(history) == history


def test_forgotten_items_are_not_restored():
    written = WrittenAsGiven()
    written.add([ANSWER])
    written.forget()
    assert written.restored_in(to_replay([ANSWER])) == to_replay([ANSWER])


def test_more_items_were_written_than_the_history_has():
    written = WrittenAsGiven()
    written.add([HELLO, HELLO])
    assert written.restored_in([HELLO]) == [HELLO]


def test_items_of_an_empty_history_are_not_restored():
    written = WrittenAsGiven()
    written.add([HELLO, ANSWER])
    assert written.restored_in([]) == []


@pytest.mark.parametrize("extras", [{"status": "completed"}, {"phase": None}, {"provider_data": {"x": "y"}}])
def test_fields_that_the_replay_form_drops_are_restored(extras):
    as_given = {**HELLO, "type": "message", **extras}
    written = WrittenAsGiven()
    written.add([as_given])
    assert written.restored_in([HELLO]) == [as_given]


def test_an_item_with_another_text_is_not_restored():
    written = WrittenAsGiven()
    written.add([ANSWER])
    other = to_replay([{**ANSWER, "content": [{"type": "output_text", "text": "Ho"}]}])
    assert written.restored_in(other) == other


def test_an_item_with_its_texts_swapped_is_not_restored():
    """It has the same texts, in other fields."""
    call = {"type": "function_call", "call_id": "a", "name": "b", "arguments": "{}"}
    swapped = {**call, "call_id": "b", "name": "a"}
    written = WrittenAsGiven()
    written.add([call])
    assert written.restored_in([swapped]) == [swapped]


def test_an_item_with_large_dropped_fields_is_not_remembered():
    as_given = {**ANSWER, "provider_data": {"trace": "x" * 5000}}
    written = WrittenAsGiven()
    written.add([as_given, HELLO])
    assert written.restored_in(to_replay([as_given, HELLO])) == to_replay([as_given, HELLO])


def test_no_more_than_250_items_are_remembered():
    written = WrittenAsGiven()
    written.add([ANSWER] * 200)
    written.add([ANSWER] * 100)
    as_given = {key: value for key, value in ANSWER.items() if key != "id"}
    listed = to_replay([ANSWER] * 300)
    assert written.restored_in(listed) == listed[:50] + [as_given] * 250


def test_texts_are_not_kept_in_memory():
    written = WrittenAsGiven()
    written.add([{**ANSWER, "content": [{"type": "output_text", "text": f"Secret {n}"}]} for n in range(9)])
    assert "Secret" not in zlib.decompress(written._outlines).decode()


@given(st.lists(st.one_of(written_items(), stored_items()), max_size=4))
def test_items_of_any_kind_are_restored_except_for_ids(items):
    """Ids of the replay form are kept."""
    history = [replay_form(item) for item in items]
    written = WrittenAsGiven()
    written.add(items)
    assert written.restored_in(history) == [
        {key: value for key, value in item.items() if key != "id" or "id" in listed}
        for item, listed in zip(items, history, strict=True)
    ]
