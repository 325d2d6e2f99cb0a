"""The plugin costs nothing where it is not used, and says what it needs where it is."""

import pytest

LOADED = """
import sys

def pytest_sessionfinish(session):
    heavy = {"agents", "anyio", "asyncio", "openai", "pydantic", "starlette", "tenacity", "uvicorn", "vcr"}
    print("\\nloaded:", *sorted(heavy & set(sys.modules)))
"""


def test_run_that_does_not_use_it_loads_nothing(project):
    project.write("pytest.ini", "[pytest]\nfilterwarnings = error\n")
    project.write("conftest.py", LOADED)
    project.write("test_it.py", "def test_it():\n    pass\n")
    result = project.run_in_new_process()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["loaded:"])


NEEDING = """
def test_starlette(conversation_session):
    pass

def test_vcr(conversation_cassette):
    pass
"""


@pytest.mark.exhaustive
def test_missing_extra_is_named(project):
    project.write("conftest.py", "import sys\nsys.modules.update(starlette=None, vcr=None)\n")
    project.write("fixtures/cassettes/test_it/test_vcr.yaml", "interactions: []\nversion: 1\n")
    project.write("test_it.py", NEEDING)
    result = project.run_in_new_process("asyncio")
    result.assert_outcomes(errors=2)
    for module in ("starlette", "vcr"):
        result.stdout.fnmatch_lines([f'{module}* not found: install "openai-sessions?testing?"'])


def test_options_and_markers_are_explained(project):
    project.run("--help").stdout.fnmatch_lines(
        [
            "conversations of openai-sessions:",
            "*--conversations-live *",
            "*--conversations-record-mode=*",
            "*conversations_cassette_dir (string):",
            "*conversations_block_network (bool):",
            "*conversations_vcr_defaults (bool):",
        ]
    )
    project.run("--markers").stdout.fnmatch_lines(
        ["@pytest.mark.conversation_faults(kind, *", "@pytest.mark.conversation_network: *"]
    )


def test_rootdir_elsewhere(project, tmp_path_factory):
    """Markers are registered for any project, and cassettes are looked for from its rootdir on."""
    rootdir = tmp_path_factory.mktemp("rootdir")
    project.write("tests/test_it.py", "def test_it(conversation_cassette):\n    pass\n")
    result = project.run("tests", f"--rootdir={rootdir}", "--strict-markers")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [f"{rootdir}/fixtures/cassettes/*test_it.yaml does not exist. Record it *=once."]
    )
