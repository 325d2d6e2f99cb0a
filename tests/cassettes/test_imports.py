"""vcrpy is imported only for cassettes, and reported if it is missing."""

import runpy
import subprocess
import sys

import pytest

from openai_sessions.testing import cassettes


def test_testing_does_not_load_vcrpy():
    program = "import sys, openai_sessions.testing; sys.exit('vcr' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_missing_vcrpy_is_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "vcr", None)
    with pytest.raises(
        ImportError, match=r"^Cassettes need vcrpy: pip install 'openai-sessions\[testing\]'$"
    ):
        runpy.run_path(cassettes.__file__)
