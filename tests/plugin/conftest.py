"""A project elsewhere whose tests use the plugin, run by a pytest of its own."""

import os
from importlib.metadata import entry_points

import pytest

from tests.programs import LARGE, OF_OPENAI, ROOT, run_pytest

OURS = "openai_sessions.testing.plugin"
INSTALLED = bool(entry_points(group="pytest11", name="openai_sessions"))
"""Whether pytest finds the plugin by itself."""

PLUGINS = {
    "anyio": "anyio.pytest_plugin",
    "asyncio": "pytest_asyncio.plugin",
    "recording": "pytest_recording.plugin",
    "xdist": "xdist.plugin",
}
"""The modules of plugins: a name of pytest's would be that of a package which is imported already."""

CONFIGURATION = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


class Project:
    """A folder with tests, away from this checkout."""

    def __init__(self, pytester, monkeypatch):
        self._pytester = pytester
        self._monkeypatch = monkeypatch
        self.path = pytester.path

    def write(self, name, text):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, *arguments, plugins=("asyncio",), knows_agents=True):
        """Run pytest with our plugin and those named: to load all takes a second.

        Its process has the Agents SDK imported already, unless the tests are about its import.
        """
        loaded = [word for name in (*map(PLUGINS.get, plugins), OURS) for word in ("-p", name)]
        return run_pytest(self._pytester, *loaded, *arguments, imported=LARGE if knows_agents else OF_OPENAI)

    def run_in_new_process(self, *plugins):
        """Run pytest with our plugin and those named in a process that has imported nothing."""
        loaded = [word for name in (*map(PLUGINS.get, plugins), OURS) for word in ("-p", name)]
        return self._pytester.runpytest_subprocess(*loaded, timeout=120)

    def run_with_all_plugins(self, *arguments):
        """Run pytest with what is installed, as projects do."""
        self._monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
        loaded = () if INSTALLED else ("-p", OURS)
        return self._pytester.runpytest_subprocess(*loaded, *arguments, timeout=120)

    def run_tests(self, text, *arguments, **options):
        """Write one module of tests, and run it."""
        self.write("test_it.py", text)
        return self.run(*arguments, **options)


@pytest.fixture
def project(pytester, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "PYTEST_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    pytester.makeini(CONFIGURATION)
    return Project(pytester, monkeypatch)
