"""The program of docs/sync.md runs, and prints its documented output."""

from tests.docs.markdown import code_blocks
from tests.examples.stand_in import ROOT, run_python, stand_in


def test_programs_run_and_print_what_they_say():
    with stand_in() as (base_url, _):
        finished = run_python("-m", "tests.docs.run_blocks", "docs/sync.md", base_url=base_url)
    assert 0 == finished.returncode, finished.stderr
    assert 1 == len(code_blocks((ROOT / "docs/sync.md").read_text(), "python"))
