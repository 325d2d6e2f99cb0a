"""What the root of the package offers, and what its distribution says."""

import importlib
import re

import pytest

import openai_sessions
from tests.examples.stand_in import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text()


def test_root_exports_at_most_twenty_names():
    assert len(openai_sessions.__all__) <= 20


def test_stub_lists_the_names_of_the_root():
    """Type checkers read the stub; at run time the table of the root counts."""
    stub = (ROOT / "openai_sessions/__init__.pyi").read_text()
    listed = re.findall(r"^from (openai_sessions\.\w+) import (\w+) as \2$", stub, re.MULTILINE)
    assert openai_sessions.__all__ == sorted(name for _, name in listed)
    for module, name in listed:
        assert getattr(importlib.import_module(module), name) is getattr(openai_sessions, name)


def test_every_export_is_there_and_documented():
    for name in openai_sessions.__all__:
        assert getattr(openai_sessions, name).__doc__


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'openai_sessions' has no attribute 'Session'"):
        _ = openai_sessions.Session


def test_every_export_shows_in_dir():
    assert set(openai_sessions.__all__) <= set(dir(openai_sessions))


def test_version_is_written_once():
    """The build reads it from the root; `make release-check` compares the built files with it."""
    assert '\ndynamic = ["version"]\n' in PYPROJECT
    assert '[tool.hatch.version]\npath = "openai_sessions/__init__.py"\n' in PYPROJECT
    sources = [ROOT / "pyproject.toml", *ROOT.glob("openai_sessions/**/*.py")]
    written = [path.name for path in sources if f'"{openai_sessions.__version__}"' in path.read_text()]
    assert written == ["__init__.py"]


def test_package_is_marked_as_typed():
    assert (ROOT / "openai_sessions/py.typed").is_file()


def test_core_needs_three_packages():
    dependencies = re.search(r"^dependencies = \[(.*?)\]", PYPROJECT, re.MULTILINE | re.DOTALL).group(1)
    assert re.findall(r'"([a-z]+)', dependencies) == ["anyio", "jiter", "openai", "tenacity"]
