"""The document on responses says what is so."""

import pytest

from tests.docs.markdown import code_blocks, promised_output
from tests.examples.stand_in import ROOT, run_python

NAME = "docs/responses.md"


@pytest.mark.slow
def test_python_blocks_run_and_print_what_they_say():
    blocks = code_blocks((ROOT / NAME).read_text(), "python")
    assert [3, 2, 2, 1] == [len(promised_output(block)) for block in blocks]
    finished = run_python("-m", "tests.docs.run_blocks", NAME, base_url="http://127.0.0.1:9/v1")
    assert (0, "") == (finished.returncode, finished.stderr)
