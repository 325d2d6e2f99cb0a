"""`make mutants` and docs/mutants.md name modules, functions and tests that exist."""

import ast
import fnmatch
import re
import shlex
import sys

import pytest

from tests.examples.stand_in import ROOT

if sys.version_info < (3, 11):
    pytest.skip("tomllib is new in Python 3.11", allow_module_level=True)

import tomllib

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
DOCUMENT = (ROOT / "docs/mutants.md").read_text()
PATTERNS = shlex.split(re.search(r"^MUTANTS \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1])


def functions():
    """Return the functions of the mutated modules: `batches`, `_Write.send`."""
    names = []
    for path in SETTINGS["only_mutate"]:
        for node in ast.parse((ROOT / path).read_text()).body:
            members = node.body if isinstance(node, ast.ClassDef) else [node]
            prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
            kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
            names += [prefix + member.name for member in members if isinstance(member, kinds)]
    return names


def mutant(function):
    """Return the name that mutmut gives to the first mutant of a function."""
    owner, _, name = function.rpartition(".")
    return f"module.xǁ{owner}ǁ{name}__mutmut_1" if owner else f"module.x_{name}__mutmut_1"


@pytest.mark.parametrize("path", [*SETTINGS["only_mutate"], *SETTINGS["pytest_add_cli_args_test_selection"]])
def test_path_exists(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_pattern_selects_a_function(pattern):
    assert fnmatch.filter(map(mutant, functions()), pattern)


@pytest.mark.parametrize("row", re.findall(r"^\| (`.*?`) \|", DOCUMENT, re.MULTILINE))
def test_function_of_the_document_exists_and_is_mutated(row):
    for name in re.findall(r"`([\w.]+)`", row):
        assert name in functions()
        assert any(fnmatch.fnmatch(mutant(name), pattern) for pattern in PATTERNS)
