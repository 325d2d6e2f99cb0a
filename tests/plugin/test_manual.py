"""The programs and the tests in the documents run as they stand there."""

import re

import pytest

from tests.docs.markdown import code_blocks, files_in
from tests.examples.stand_in import ROOT

MANUAL = (ROOT / "docs" / "testing.md").read_text()


def written(project, document):
    """Return the project with the files and the configuration of a document."""
    for name, text in files_in(document).items():
        project.write(name, text)
    (configuration,) = code_blocks(document, "ini")
    project.write("pytest.ini", configuration)
    return project


@pytest.mark.exhaustive
def test_tests_of_the_manual_pass(project):
    tests = written(project, MANUAL)
    result = tests.run_with_all_plugins("-W", "error", "--ignore", "test_recorded.py")
    result.assert_outcomes(passed=7)


@pytest.mark.exhaustive
def test_cassette_of_the_manual_is_recorded_and_replayed(project, emulator, monkeypatch):
    tests = written(project, MANUAL)
    first, second = [
        line.split()[2:] for line in MANUAL.splitlines() if line.startswith("$ pytest test_recorded.py")
    ]
    with emulator.serve() as base_url, monkeypatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", base_url)
        patch.setenv("OPENAI_API_KEY", "sk-recognisable")
        tests.run(*first).assert_outcomes(passed=1)
    (name,) = re.findall(r"`(fixtures/\S+\.yaml)`", MANUAL)
    assert "/v1/conversations" in (tests.path / name).read_text()
    tests.run(*second).assert_outcomes(passed=1)


def test_program_of_the_manual_has_thirty_lines():
    program = files_in(MANUAL)["assistant.py"].splitlines()
    assert len([line for line in program if line and not line.startswith("#")]) <= 30
