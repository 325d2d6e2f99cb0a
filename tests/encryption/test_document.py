"""docs/encryption.md: its programs run, and it lists all reasons."""

from openai_sessions.encryption import SkippedItems
from tests.examples.stand_in import ROOT, run_python, stand_in

DOCUMENT = (ROOT / "docs/encryption.md").read_text()


def test_programs_run_and_print_what_they_say():
    with stand_in() as (base_url, _):
        finished = run_python("-m", "tests.docs.run_blocks", "docs/encryption.md", base_url=base_url)
    assert 0 == finished.returncode, finished.stderr


def test_every_reason_is_explained():
    for reason in SkippedItems.__slots__:
        assert f"- `{reason}`: " in DOCUMENT
