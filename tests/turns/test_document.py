"""The blocks of docs/turns.md run, and print what their comments say."""

from __future__ import annotations

import re

import pytest

from tests.docs.markdown import code_blocks
from tests.examples.stand_in import ROOT, run_python, stand_in

DOCUMENT = ROOT / "docs" / "turns.md"

PRINTED = re.compile(r"^ *print\(.*\)  # (.*)$|^# (.*)$", re.MULTILINE)
"""What a line prints is behind it, or in comments below."""


@pytest.mark.slow
def test_blocks_print_what_they_say():
    pytest.importorskip("bpe_openai", reason="bpe-openai is not installed")
    promised = [
        behind or below
        for block in code_blocks(DOCUMENT.read_text(), "python")
        for behind, below in PRINTED.findall(block)
    ]
    with stand_in() as (base_url, _):
        finished = run_python("-m", "tests.docs.run_blocks", str(DOCUMENT), base_url=base_url)
    assert (finished.returncode, "Traceback" in finished.stderr) == (0, False), finished.stderr
    assert finished.stdout.splitlines() == promised
    assert len(promised) == 15
