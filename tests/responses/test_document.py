"""The programs of docs/server-managed.md run, and print what they say."""

import pytest

from tests.docs.run_blocks import programs_in
from tests.examples.stand_in import ROOT, run_python, stand_in

PROGRAMS = programs_in((ROOT / "docs/server-managed.md").read_text())

RUN = (
    "import os, sys; from tests.docs.run_blocks import run; os.chdir(sys.argv[1]); run(open('block').read())"
)


@pytest.mark.parametrize("program", PROGRAMS, ids=["agents", "openai", "pydantic_ai", "agent_framework"])
@pytest.mark.exhaustive
def test_programs_run_and_print_what_they_say(program, tmp_path, request):
    pytest.importorskip(request.node.callspec.id)
    (tmp_path / "block").write_text(program)
    with stand_in() as (base_url, _):
        finished = run_python("-c", RUN, str(tmp_path), base_url=base_url)
    assert 0 == finished.returncode, finished.stderr
