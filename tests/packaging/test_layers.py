"""Each part of the package imports only from its own layer and from those before it."""

import pytest

from tests.examples.stand_in import ROOT
from tests.packaging.layers import APART, LAYERS, broken, cycles, imported, part_of

MODULES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "openai_sessions").rglob("*.py")
    if path != ROOT / "openai_sessions/__init__.py"
)

LOADED_LATE = ("_instrumentation", "telemetry")
"""The exception: `_instrumentation` loads `telemetry` once the application has set a provider."""


@pytest.mark.parametrize("path", MODULES)
def test_module_keeps_to_its_layer(path):
    assert broken((ROOT / path).read_text(), path) == []


def test_every_part_has_one_layer():
    parts = [*(part for layer in LAYERS for part in layer), APART]
    assert sorted({part_of(path) for path in MODULES}) == sorted(parts)


def imported_parts():
    """Return the parts that each part imports."""
    imports = {}
    for path in MODULES:
        part = part_of(path)
        others = {
            name.split(".")[1]
            for name in imported((ROOT / path).read_text(), path)
            if name.startswith("openai_sessions.")
        }
        imports.setdefault(part, set()).update(others - {part})
    return imports


def test_no_parts_import_each_other():
    assert cycles(imported_parts()) == set()


def test_items_are_pure():
    assert imported_parts()["_items"] == {"errors"}


def test_cycles_are_found():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == {"b", "c"}


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("_api/client", "from openai_sessions.session import append", ["openai_sessions.session"]),
        ("_api/client", "from ..session import append", ["openai_sessions.session"]),
        ("_api/client", "from openai_sessions import session", ["openai_sessions.session"]),
        ("_api/client", "import openai_sessions", ["openai_sessions"]),
        ("_api/client", "from openai_sessions import SessionError", ["openai_sessions.SessionError"]),
        ("_items/forms", "def f():\n    import tenacity", ["tenacity"]),
        ("_items/forms", "from openai.types import Model", ["openai.types"]),
        ("session", "if TYPE_CHECKING:\n    import openai\nelse:\n    import tenacity", ["tenacity"]),
        ("_conversation/reading", "from openai_sessions._api.client import Page\nimport json", []),
        ("_api/client", "import openai", []),
        ("emulator/_app", "from openai_sessions.errors import SessionError", ["openai_sessions.errors"]),
        ("emulator/_app", "from ._store import Store\nimport openai", []),
        ("cli/_demo", "from openai_sessions.emulator import Emulator", []),
        ("transfer/_copying", "from openai_sessions.emulator import Emulator", ["openai_sessions.emulator"]),
    ],
)
def test_broken_imports_are_found(module, source, expected):
    assert broken(source, f"openai_sessions/{module}.py") == expected


def test_relative_imports_are_made_absolute():
    source = "from .._items import types\nfrom ._a import b\nfrom . import c"
    assert imported(source, "openai_sessions/testing/_checks.py") == [
        "openai_sessions._items",
        "openai_sessions.testing._a",
        "openai_sessions.testing",
    ]
