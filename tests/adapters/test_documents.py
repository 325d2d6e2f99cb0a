"""The programs of the documents about adapters and contexts run, and print their documented output."""

import pytest

from tests.examples.stand_in import run_python, stand_in


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("document", "needed"),
    [
        ("docs/context.md", "agents"),
        ("docs/agent-framework.md", "agent_framework_openai"),
        ("docs/langchain.md", "langchain_openai"),
        ("docs/pydantic-ai.md", "pydantic_ai.models.openai"),
    ],
)
def test_programs_run_and_print_what_they_say(document, needed):
    pytest.importorskip(needed, exc_type=ImportError)
    with stand_in() as (base_url, _):
        finished = run_python("-m", "tests.docs.run_blocks", document, base_url=base_url)
    assert 0 == finished.returncode, finished.stderr
