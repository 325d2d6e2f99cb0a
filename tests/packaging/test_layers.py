"""Each module imports only from the layers above its own."""

import pytest

from tests.docs.markdown import table_after
from tests.examples.stand_in import ROOT
from tests.packaging.layers import CORE, PACKAGES, broken, imported

MODULES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "openai_sessions").rglob("*.py")
    if path != ROOT / "openai_sessions/__init__.py"
)


@pytest.mark.parametrize("path", MODULES)
def test_module_keeps_to_its_layer(path):
    assert broken((ROOT / path).read_text(), path) == []


@pytest.mark.parametrize("path", [*MODULES, "openai_sessions/__init__.py"])
def test_module_is_under_300_lines(path):
    assert len((ROOT / path).read_text().splitlines()) < 300


def test_every_module_has_a_layer():
    parts = {path.split("/")[1].removesuffix(".py") for path in MODULES}
    assert parts == {*CORE, *PACKAGES}


def test_layers_are_those_of_the_documents():
    rows = table_after((ROOT / "CONTRIBUTING.md").read_text(), "## Layers")
    documented = [row[0].strip("`/").removesuffix(".py") for row in rows]
    assert documented == [*CORE, *PACKAGES]


@pytest.mark.parametrize(
    ("layer", "source", "expected"),
    [
        ("_reading", "from openai_sessions._writing import append", ["openai_sessions._writing"]),
        ("_reading", "from ._writing import append", ["openai_sessions._writing"]),
        ("_reading", "from openai_sessions import _writing", ["openai_sessions._writing"]),
        ("_reading", "import openai_sessions", ["openai_sessions"]),
        ("_reading", "from . import session", ["openai_sessions.session"]),
        ("_reading", "from openai_sessions import SessionError", ["openai_sessions.SessionError"]),
        ("_reading", "def f():\n    import tenacity", ["tenacity"]),
        ("_reading", "from openai.types import Model", ["openai.types"]),
        ("_reading", "if TYPE_CHECKING:\n    import openai\nelse:\n    import tenacity", ["tenacity"]),
        ("_reading", "from openai_sessions._gateway import Gateway\nimport json", []),
        ("_gateway", "import openai", []),
        ("emulator/_app", "from openai_sessions.errors import SessionError", ["openai_sessions.errors"]),
        ("emulator/_app", "from ._store import Store\nimport openai", []),
        ("emulator/_app", "from ..session import Session", ["openai_sessions.session"]),
        ("cli/_demo", "from openai_sessions.emulator import Emulator", []),
    ],
)
def test_broken_imports_are_found(layer, source, expected):
    assert broken(source, f"openai_sessions/{layer}.py") == expected


def test_relative_imports_are_made_absolute():
    source = "from .._types import Item\nfrom ._a import b\nfrom . import c"
    assert imported(source, "openai_sessions/testing/_checks.py") == [
        "openai_sessions._types",
        "openai_sessions.testing._a",
        "openai_sessions.testing",
    ]
