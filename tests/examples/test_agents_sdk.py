"""The examples of the Agents SDK's pages on sessions run on hosted conversations, as a user runs them."""

import re

import pytest

from openai_sessions.emulator._server import serving
from tests.agents.compacting import CompactingService
from tests.examples.stand_in import ROOT, run_python, stand_in
from tests.selection import one_in

EXAMPLES = ROOT / "examples" / "agents_sdk"

CITIES = [r"San Francisco\.", r"California\."]
ID = r"conv_\w{48}"

OUTPUT = {
    "quick_start.py": [*CITIES, r"About 39 million\."],
    "resume_interrupted_run.py": [
        r"approved: delete_files {\"pattern\": ?\"\*\.tmp\"}",
        r"Deleted \*\.tmp\.",
        r"\['user', 'function_call', 'function_call_output', 'assistant'\]",
    ],
    "merge_history.py": [r"Washington\.", "6 items are stored"],
    "limit_history.py": [r"Washington\.", "2 of 6", "2 of 6"],
    "correct_a_question.py": [
        r"Agent: 4",
        re.escape("""popped: {'role': 'user', 'content': "What's 2 + 2?"}"""),
        r"Agent: 5",
    ],
    "named_session.py": [r"user_123: San Francisco\."],
    "sqlalchemy_engine.py": [rf"support_ticket_456 {ID} {{'about': 'Space Needle'}}", r"Washington\."],
    "usage.py": [
        *CITIES,
        r"turn 1: 1 request, \d+ tokens",
        r"turn 2: 1 request, \d+ tokens",
        r"2 requests, \d+ tokens: \d+ in, 0 of them cached, \d+ out, 0 of them reasoning",
    ],
    "branches.py": [
        r"What city is the Golden Gate Bridge in\? San Francisco\.",
        r"What state is it in\? California\.",
        r"What city is the Space Needle in\? Seattle\.",
        r"What state is it in\? Washington\.",
        r"How many people live there\? About 39 million\.",
        rf"main {ID} \(current\)",
        rf"towers {ID} ",
    ],
    "compaction.py": [*CITIES, r"4 items became \['user', 'user', 'compaction'\]"],
}
"""The output of each example, as a pattern for each line."""

OPTIONS = {"quick_start.py": ("-W", "ignore::ResourceWarning")}
"""Options of Python: `Runner.run_sync` shuts down the asynchronous generators of a loop that it uses again,
and does not close the loop and the client of its model."""

LANDMARKS = {"Golden Gate Bridge": "San Francisco.", "Space Needle": "Seattle."}
STATES = {"San Francisco.": "California.", "Seattle.": "Washington."}
PEOPLE = {"California.": "About 39 million."}


def answer(request):
    """Answer from the newest item: with an earlier text, the sum of two numbers, or a call of a tool."""
    given = request.items[-1]
    if given["type"] == "function_call_output":
        return given["output"]
    asked = request.user_text
    if asked.startswith("Delete"):
        return {"type": "function_call", "name": "delete_files", "arguments": {"pattern": "*.tmp"}}
    if numbers := re.fullmatch(r"What's (\d) \+ (\d)\?", asked):
        return str(sum(map(int, numbers.groups())))
    for beginning, table in {"What city": LANDMARKS, "What state": STATES, "How many people": PEOPLE}.items():
        if asked.startswith(beginning):
            return newest_of(table, request.texts)
    return "I cannot tell."


def newest_of(table, texts):
    """Return the value of the first key that the newest of the texts contains."""
    known = (value for text in reversed(texts) for key, value in table.items() if key in text)
    return next(known, "I cannot tell.")


@pytest.fixture
def server():
    """The base URL of the stand-in with these answers, and its emulator."""
    with stand_in() as (base_url, emulator):
        emulator.clear_replies()
        emulator.reply(answer, times=None)
        yield base_url, emulator


@pytest.fixture
def base_url(server):
    return server[0]


@pytest.fixture(autouse=True)
def _database(monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/conversations.db")


@pytest.fixture
def compacting_url(server):
    """The base URL of the stand-in, with an endpoint for compaction."""
    _, emulator = server
    service = CompactingService()

    async def app(scope, receive, send):
        compacts = scope["type"] == "http" and scope["path"] == "/v1/responses/compact"
        await (service._app if compacts else emulator)(scope, receive, send)

    with serving(app, host="127.0.0.1", port=0) as base_url:
        yield base_url


def run_example(name, *arguments, base_url):
    """Run an example; return the lines that it printed."""
    finished = run_python(*OPTIONS.get(name, ()), str(EXAMPLES / name), *arguments, base_url=base_url)
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout.splitlines()


def test_every_example_has_an_expected_output():
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(OUTPUT)


@pytest.mark.parametrize("name", OUTPUT)
def test_example_is_short(name):
    assert len((EXAMPLES / name).read_text().splitlines()) <= 50


@pytest.mark.parametrize("name", one_in(3, OUTPUT))
def test_example_runs(name, base_url, request):
    if name == "compaction.py":
        base_url = request.getfixturevalue("compacting_url")
    lines = run_example(name, base_url=base_url)
    assert [
        (pattern, line)
        for pattern, line in zip(OUTPUT[name], lines, strict=True)
        if not re.fullmatch(pattern, line)
    ] == []


@pytest.mark.exhaustive
def test_named_session_goes_on_in_another_process(base_url):
    run_example("named_session.py", base_url=base_url)
    assert ["user_123: California."] == run_example(
        "named_session.py", "What state is it in?", base_url=base_url
    )
