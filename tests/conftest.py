"""The emulator that most tests talk to, and which tests share a process of pytest-xdist."""

import gc

import pytest
from hypothesis import HealthCheck, settings

from openai_sessions.emulator import Emulator
from tests.selection import examples

settings.register_profile(
    "suite",
    max_examples=examples(100),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # the machine may be busy
)
settings.load_profile("suite")

SHARED = {
    "browser": "browser",
    "postgres": "postgresql",
    "postgresql": "postgresql",  # the parameter of a fixture that runs a test on each database
    "redis_url": "processes",
    "staff": "processes",
    "fork_server": "fork_server",
    "smg_url": "smg",
}
"""The xdist group of tests by their fixture: the server or the processes that it starts are started once."""


def pytest_collection_modifyitems(items):
    for item in items:
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        used = [*item.fixturenames, *(value for value in parameters if isinstance(value, str))]
        groups = [SHARED[name] for name in used if name in SHARED]
        if groups:
            item.add_marker(pytest.mark.xdist_group(groups[0]))


def pytest_collection_finish():
    """Keep what is imported out of the collections of garbage that follow, which take long otherwise."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def garbage_collected():
    """Collect the garbage of a test at its end, so that what warns of it is not another test's failure."""
    yield
    gc.collect()


@pytest.fixture
def emulator():
    with Emulator() as emulator:
        yield emulator
