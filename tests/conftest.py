"""The emulator that most tests talk to."""

import pytest

from openai_sessions.emulator import Emulator


@pytest.fixture
def emulator():
    with Emulator() as emulator:
        yield emulator
