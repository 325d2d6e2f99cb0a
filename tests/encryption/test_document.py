"""The document and the example run, and print what they say."""

import re

import pytest

from openai_sessions.encryption import SkippedItems
from tests.examples.stand_in import ROOT, run_python, stand_in

DOCUMENT = (ROOT / "docs/encryption.md").read_text()

pytestmark = pytest.mark.slow


def test_programs_run_and_print_what_they_say():
    with stand_in() as (base_url, _):
        finished = run_python("-m", "tests.docs.run_blocks", "docs/encryption.md", base_url=base_url)
    assert 0 == finished.returncode, finished.stderr


def test_every_reason_is_explained():
    for reason in SkippedItems.__slots__:
        assert f"- `{reason}`: " in DOCUMENT


def test_example_runs():
    with stand_in() as (base_url, emulator):
        finished = run_python("examples/encrypted.py", base_url=base_url)
        assert () == emulator.conversations()
    assert (0, "") == (finished.returncode, finished.stderr)
    *_, stored = lines = finished.stdout.splitlines()
    assert [
        "What city is the Golden Gate Bridge in? San Francisco.",
        "What state is it in? California.",
        "4 items, of which OpenAI keeps:",
    ] == lines[:-1]
    assert re.fullmatch(r"\{'role': 'user', 'content': 'openai-sessions:encrypted:v1:gAAAAA\w+…", stored)
