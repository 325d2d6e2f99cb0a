"""Fixtures of the tests of repairs."""

from __future__ import annotations

import pytest

from tests.faults.stage import Stage
from tests.faults.world import World


@pytest.fixture
def world(emulator):
    return World(emulator)


@pytest.fixture
def stage(emulator):
    return Stage(emulator)
