"""The tutorial: its programs, its app and its tests do what it says."""

import json
import os
import re

import pytest

from openai_sessions.emulator import Emulator
from tests import programs
from tests.docs.markdown import code_blocks, files_in
from tests.examples.stand_in import ROOT, environment

pytest.importorskip("fastapi")

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()

REMEMBERING, SERVING, TESTING = code_blocks(TUTORIAL, "console")[-3:]


@pytest.fixture
def folder(tmp_path):
    """A folder with the files of the tutorial."""
    for name, text in files_in(TUTORIAL).items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def run(folder):
    """Run Python in the folder, with the emulator as its OpenAI; return what it prints."""
    with Emulator() as emulator, emulator.serve() as base_url:

        def run(*arguments, **variables):
            paths = os.pathsep.join([str(folder), str(ROOT)])
            env = {**environment(base_url), "PYTHONPATH": paths, **variables}
            finished = programs.run(*arguments, env=env, cwd=folder)
            assert (0, "") == (finished.returncode, finished.stderr)
            return finished.stdout

        yield run


def without_ids(text):
    return re.sub(r"conv_\w+…?", "conv_", text)


@pytest.mark.exhaustive
def test_program_remembers_when_it_is_given_the_id(run):
    first = run("remember.py", "What city is the Golden Gate Bridge in?")
    conversation_id = first.split()[-2]
    second = run("remember.py", "What state is it in?", conversation_id)
    shown = "".join(line for line in REMEMBERING.splitlines(keepends=True) if line[0] != "$")
    assert without_ids(shown) == without_ids(first + second)
    assert conversation_id in second


@pytest.mark.exhaustive
def test_app_answers(run):
    (request,) = re.findall(r"-d '(.*)'", SERVING)
    answer = json.loads(run("-m", "tests.examples.serving", "app:app", "/chat", request))
    expected = json.loads(SERVING.splitlines()[-1])
    assert answer["text"] == expected["text"]
    assert answer.keys() == expected.keys()


def test_tests_pass(run):
    options = ("-q", "-p", "no:cacheprovider", "-p", "openai_sessions.testing.plugin")
    printed = run("-m", "pytest", *options, "test_app.py", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert "2 passed" in printed
    assert TESTING.splitlines()[-1] == "2 passed"
