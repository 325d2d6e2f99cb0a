"""A socket to record from, and a machine that is not CI unless a test says so."""

import pytest

from openai_sessions.emulator import Emulator


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch):
    monkeypatch.delenv("CI", raising=False)


@pytest.fixture
def served():
    """The emulator on a socket: `served.url` is its address, `served.requests` what it saw."""
    with Emulator() as emulator, emulator.serve() as url:
        emulator.url = url
        yield emulator


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cassettes" / "recorded.yaml"
