"""What importing a part of the package loads beside openai, by module names.

openai on httpx loads rich where that is installed.
"""

import subprocess
import sys

import pytest

from tests.examples.stand_in import ROOT

PROBE = """
import sys
import openai
before = set(sys.modules)
from {module} import *
loaded = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(*sorted(loaded & {{{names}}}))
"""

EXTRAS = (
    "agents",
    "genai_prices",
    "opentelemetry",
    "pytest",
    "rich",
    "sqlalchemy",
    "starlette",
    "typer",
    "uvicorn",
    "vcr",
)


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("openai_sessions", EXTRAS),
        ("openai_sessions.testing", ("agents", "pytest", "typer", "vcr")),
        ("openai_sessions.emulator", ("agents", "jsonschema", "pytest", "typer", "vcr")),
        ("openai_sessions.cli", ("agents", "sqlalchemy", "starlette", "typer", "uvicorn")),
    ],
)
def test_import_loads_nothing_that_is_not_needed(module, unwanted):
    assert loaded_by(module, unwanted) == []


def test_the_root_loads_nothing_before_a_name_is_used():
    code = "import sys, openai_sessions; print({'anyio', 'openai', 'tenacity'} & set(sys.modules))"
    assert "set()" == subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).strip()


@pytest.mark.exhaustive
def test_probe_tells_what_is_loaded():
    assert loaded_by("uvicorn", ("agents", "uvicorn")) == ["uvicorn"]


def loaded_by(module, names):
    """Return which of the names are loaded after importing all of a module in a new process."""
    code = PROBE.format(module=module, names=", ".join(map(repr, names)))
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return finished.stdout.split()
