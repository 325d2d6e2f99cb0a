"""Every example runs as a user runs it, against the stand-in for OpenAI."""

import re

import pytest

from tests.examples.stand_in import ROOT, run_python
from tests.processes.redis_server import redis_server
from tests.selection import one_in

EXAMPLES = ROOT / "examples"

OUTPUT = {
    "quickstart.py": [
        r"stored in conv_\w{48}",
        re.escape(
            "history: [{'role': 'user', 'content': 'Hello'}, {'role': 'assistant', 'content': 'Hi there!'}]"
        ),
        re.escape("popped: {'role': 'assistant', 'content': 'Hi there!'}"),
    ],
    "resume.py": [r"San Francisco\.", r"resume with: conv_\w{48}"],
    "agents_runner.py": [
        r"What city is the Golden Gate Bridge in\? San Francisco\.",
        r"What state is it in\? California\.",
        r"How many people live there\? About 39 million\.",
    ],
    "branching.py": [
        r"original, turn 1: What city is the Golden Gate Bridge in\? San Francisco\.",
        r"original, turn 2: What state is it in\? California\.",
        r"branch, turn 1: What city is the Golden Gate Bridge in\? San Francisco\.",
        r"branch, turn 2: What state is the bridge in\? California\.",
        r"California is in turns: \[2\]",
    ],
    "responses_without_agents.py": [r"San Francisco\.", r"California\."],
    "shared_between_agents.py": [r"Guide: San Francisco\.", r"Geographer: California\."],
    "multiple_sessions.py": [
        r"first user: What city is the Golden Gate Bridge in\? San Francisco\.",
        r"first user: What state is it in\? California\.",
        r"second user: What city is the Space Needle in\? Seattle\.",
        r"second user: What state is it in\? Washington\.",
    ],
    "custom_session.py": [r"Session conformance: 49 passed, 0 failed, 3 skipped", *[".*"] * 30],
    "named_sessions.py": [
        re.escape("remembered: [{'role': 'user', 'content': 'Hello'}]"),
        r"support_ticket_456 conv_\w{48} \{\}",
        r"user_12345 conv_\w{48} \{'plan': 'pro'\}",
        re.escape("branch retry has [{'role': 'user', 'content': 'It stops after a minute.'}]"),
        "swept: 0",
    ],
    "moving.py": [
        r"conv_\w{48}",
        "45 of 45",
        r"TransferReport\(copied=45, already_there=0, skipped=0, without_provider_data=0\)",
        r"TransferReport\(copied=0, already_there=45, skipped=0, without_provider_data=0\)",
        r"TransferReport\(copied=45, already_there=0, skipped=0, without_provider_data=0\)",
        "True",
    ],
    "django_session.py": [r"Session conformance: 49 passed, 0 failed, 3 skipped", *[".*"] * 30],
    "encrypted.py": [
        r"What city is the Golden Gate Bridge in\? San Francisco\.",
        r"What state is it in\? California\.",
        r"4 items, and OpenAI stores:",
        r"\{'role': 'user', 'content': 'openai-sessions:encrypted:v2:gAAAAA\w+…",
    ],
    "without_async.py": [r"San Francisco\. California\.", r"Seattle\. Washington\."],
    "redis_lock.py": [r"25 items in conv_\w{48}"],
    "agent_framework_history.py": [
        r"San Francisco\.",
        r"California\.",
        r"\{'openai_conversations': \{'conversation_id': 'conv_\w{48}'\}\}",
    ],
    "langchain_history.py": [r"San Francisco\.", r"California\.", r"4 messages in conv_\w{48}"],
    "pydantic_ai_store.py": [
        r"What city is the Golden Gate Bridge in\? San Francisco\.",
        r"What state is it in\? California\.",
        r"What city is the Space Needle in\? Seattle\.",
        r"3 requests, 1 branch left behind",
    ],
}
"""The output of each example, as a pattern for each line."""

SLOW = ("agent_framework_history.py", "langchain_history.py", "pydantic_ai_store.py")
"""Examples that import frameworks, which takes a second or two: `make test-all` runs them."""


@pytest.fixture
def redis(monkeypatch):
    """A Redis server that examples find."""
    with redis_server() as url:
        monkeypatch.setenv("REDIS_URL", url)
        yield url


def test_every_example_has_an_expected_output():
    names = ("fastapi_*.py", "foundry_conversations.py", "chat_streamlit.py")  # which have tests of their own
    elsewhere = {path for name in names for path in EXAMPLES.glob(name)}
    assert sorted(path.name for path in set(EXAMPLES.glob("*.py")) - elsewhere) == sorted(OUTPUT)


@pytest.mark.parametrize("name", OUTPUT)
def test_example_is_short(name):
    longest = 70 if name == "django_session.py" else 50  # a third of it sets up Django
    assert len((EXAMPLES / name).read_text().splitlines()) <= longest


UNCLOSED_DATABASE = (
    r"<sys>:0: ResourceWarning: unclosed database in <sqlite3\.Connection .*>\n"
    r"ResourceWarning: Enable tracemalloc .*\n"
)


@pytest.mark.parametrize(
    "name",
    [
        *one_in(3, [name for name in OUTPUT if name not in SLOW]),
        *(pytest.param(name, marks=pytest.mark.exhaustive) for name in SLOW),
    ],
)
def test_example_runs(name, server, request):
    base_url, _ = server
    if name == "pydantic_ai_store.py":
        pytest.importorskip("pydantic_ai.models.openai", exc_type=ImportError)
    if name == "redis_lock.py":
        request.getfixturevalue("redis")
    finished = run_python(str(EXAMPLES / name), base_url=base_url)
    lines = finished.stdout.splitlines()
    if name == "multiple_sessions.py":  # its users speak at the same time
        lines.sort()
    stderr = finished.stderr
    if name == "django_session.py":  # Django never closes a database in memory, which Python 3.13 reports
        stderr = re.sub(UNCLOSED_DATABASE, "", stderr)
    assert (finished.returncode, stderr) == (0, "")
    assert [
        (pattern, line)
        for pattern, line in zip(OUTPUT[name], lines, strict=True)
        if not re.fullmatch(pattern, line)
    ] == []


@pytest.mark.exhaustive
def test_resume_goes_on_in_another_process(server):
    base_url, _ = server
    first = run_python("examples/resume.py", base_url=base_url)
    conversation_id = first.stdout.split()[-1]
    second = run_python("examples/resume.py", "What state is it in?", conversation_id, base_url=base_url)
    assert second.stdout.splitlines() == ["California.", f"resume with: {conversation_id}"]


@pytest.mark.exhaustive
def test_redis_lock_goes_on_in_another_process(server, redis):
    base_url, _ = server
    first = run_python("examples/redis_lock.py", base_url=base_url)
    conversation_id = first.stdout.split()[-1]
    second = run_python("examples/redis_lock.py", conversation_id, base_url=base_url)
    assert f"50 items in {conversation_id}\n" == second.stdout


@pytest.mark.parametrize("conversation_id", ["conv_" + "0" * 48, "../files"])
def test_resume_says_when_the_conversation_cannot_be_used(server, conversation_id):
    base_url, _ = server
    finished = run_python("examples/resume.py", "Hello", conversation_id, base_url=base_url)
    assert finished.returncode == 1
    assert len(finished.stderr.splitlines()) == 1
    assert conversation_id in finished.stderr


def test_quickstart_leaves_nothing_behind(server):
    base_url, emulator = server
    emulator.forget_requests()
    run_python("examples/quickstart.py", base_url=base_url)
    made = [request.method for request in emulator.requests]
    assert made == ["POST", "POST", "GET", "GET", "DELETE", "DELETE"]
