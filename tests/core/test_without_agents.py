"""The session where the Agents SDK is not imported, in processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions._agents import SessionSettings, default_client, limit_of, session_settings

PRELUDE = """
import sys
from openai_sessions import OpenAIConversationsSession as Session
"""


def run(program: str) -> str:
    """Run a program in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("given", "expected"),
    [("None", "None"), ("{'limit': 3}", "3"), ("{}", "None"), ("{'limit': None}", "None")],
)
def test_session_settings_are_read_with_their_limit(given, expected):
    program = f"print(Session(session_settings={given}).session_settings.limit, 'agents' in sys.modules)"
    assert run(program) == f"{expected} False"


def test_settings_with_an_unknown_field_are_refused():
    program = """
try:
    Session(session_settings={'limits': 3})
except TypeError as error:
    print(error)
"""
    assert run(program) == "session_settings has no field 'limits': {'limits': 3}"


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


def test_settings_are_one_object_at_each_reading():
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
