"""`openai-sessions demo`, offline and against a stand-in for OpenAI."""

import re
from importlib.metadata import version

import pytest

from openai_sessions import __version__
from openai_sessions.cli._demo import QUESTIONS, WRITTEN, answer, shortened
from tests.cli.command import run_here
from tests.examples.stand_in import API_KEY, stand_in

pytestmark = pytest.mark.xdist_group("demo")
"""One process runs the demonstration once, for all tests of it."""

DEAD = "http://127.0.0.1:9"
"""Nothing listens on the discard port of loopback."""

WRITTEN_LINES = [f"{item['role']} {item['content']}" for item in WRITTEN]


@pytest.fixture(scope="module")
def offline():
    """The finished offline demonstration, with an environment whose proxy does not answer."""
    return run_here("demo", HTTP_PROXY=DEAD, HTTPS_PROXY=DEAD, ALL_PROXY=DEAD)


def lines_of(printed):
    """Return the lines that are not empty, each run of spaces as one, and ids as `ID`."""
    lines = [" ".join(line.split()) for line in printed.splitlines() if line.strip()]
    return [re.sub(r"conv_\.\.\.\w{4}", "ID", line) for line in lines]


def part(printed, first, last):
    """Return the lines from one to another, without these."""
    lines = lines_of(printed)
    return lines[lines.index(first) + 1 : lines.index(last)]


SDK = f"openai-agents {version('openai-agents')}: OpenAIConversationsSession.add_items()"
OURS = f"openai-sessions {__version__}: OpenAIConversationsSession.add_items()"
LOST = "2 A lost reply: the server stores 2 items, then the connection breaks"
NEXT = "What to do next"


def test_demo_succeeds_without_key_and_network(offline):
    assert (offline.returncode, offline.stderr) == (0, "")


def test_demo_says_that_replies_are_scripted_and_local(offline):
    assert lines_of(offline.stdout)[0] == (
        "openai-sessions scripted replies, local emulator: nothing leaves this machine"
    )


def test_demo_shows_a_conversation_that_remembers(offline):
    """The second answer needs the first; then another session reads both turns by id."""
    assert part(offline.stdout, "1 An agent that remembers: two runs with one session", LOST) == [
        "user What city is the Golden Gate Bridge in?",
        "assistant San Francisco.",
        "4 requests, 1 to the model",
        "user What state is it in?",
        "assistant California.",
        "4 requests, 1 to the model",
        "A new session with the id ID reads 4 items in 1 request.",
    ]


def test_sdk_class_stores_items_twice_after_a_lost_reply(offline):
    """openai's client repeats the POST, which the server has already stored."""
    assert part(offline.stdout, SDK, OURS) == [
        "POST /v1/conversations 200",
        "POST /v1/conversations/ID/items --- reply lost",
        "POST /v1/conversations/ID/items 200 the client sends it again",
        "stored twice:",
        *WRITTEN_LINES * 2,
    ]


def test_our_class_stores_items_once_after_a_lost_reply(offline):
    """It looks whether the server has stored them, and finds them."""
    assert part(offline.stdout, OURS, NEXT) == [
        "POST /v1/conversations 200",
        "POST /v1/conversations/ID/items --- reply lost",
        "GET /v1/conversations/ID/items 200 looks whether it is stored",
        "stored once:",
        *WRITTEN_LINES,
    ]


def test_demo_ends_with_what_to_do_next(offline):
    after = lines_of(offline.stdout)[-3:]
    assert ["README.md" in after[0], "openai-sessions serve" in after[1], "docs/" in after[2]] == [True] * 3


def test_demo_fits_eighty_columns(offline):
    assert max(len(line) for line in offline.stdout.splitlines()) <= 80


def test_demo_live_asks_the_model_and_loses_no_reply():
    with stand_in() as (base_url, emulator):
        finished = run_here(
            "demo", "--live", "--model", "m", OPENAI_API_KEY=API_KEY, OPENAI_BASE_URL=base_url
        )
        assert [request.fault for request in emulator.requests if request.fault] == []
        assert emulator.conversations() == ()
    assert (finished.returncode, finished.stderr) == (0, "")
    lines = lines_of(finished.stdout)
    assert lines[0] == "openai-sessions 127.0.0.1 with m"
    assert "assistant California." in lines
    assert "A lost reply can only be shown on the emulator: openai-sessions demo" in lines


@pytest.mark.parametrize("variables", [{}, {"OPENAI_API_KEY": ""}, {"OPENAI_API_KEY": " "}])
def test_demo_live_without_key_says_so_in_one_line(variables):
    finished = run_here("demo", "--live", **variables)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == "--live needs an API key: set OPENAI_API_KEY.\n"


def test_demo_live_shows_an_error_of_the_api_in_one_line():
    with stand_in() as (base_url, _):
        finished = run_here("demo", "--live", OPENAI_API_KEY="sk-wrong", OPENAI_BASE_URL=base_url)
    assert finished.returncode == 1
    assert finished.stderr == (
        "The demonstration failed. 401: Incorrect API key provided: ********. "
        "You can find your API key at https://platform.openai.com/account/api-keys.\n"
    )
    assert "sk-wrong" not in finished.stdout


@pytest.mark.exhaustive
def test_demo_live_with_a_short_key_shows_an_error_as_it_is():
    with stand_in() as (base_url, _):
        finished = run_here("demo", "--live", OPENAI_API_KEY="e", OPENAI_BASE_URL=base_url)
    assert "Incorrect API key provided: " in finished.stderr


def test_demo_live_keeps_a_key_that_the_service_repeats_out_of_its_error():
    def refuse(_):
        raise ValueError(f"not with {API_KEY},\nthank you")

    with stand_in() as (base_url, emulator):
        emulator.clear_replies()
        emulator.reply(refuse)
        finished = run_here("demo", "--live", OPENAI_API_KEY=API_KEY, OPENAI_BASE_URL=base_url)
    assert finished.returncode == 1
    assert finished.stderr == (
        "The demonstration failed. 400: The reply scripted for this request failed: "
        "ValueError: not with REDACTED, thank you\n"
    )
    assert API_KEY not in finished.stdout


@pytest.mark.exhaustive
def test_demo_live_says_when_the_service_cannot_be_reached():
    finished = run_here("demo", "--live", OPENAI_API_KEY="sk-any", OPENAI_BASE_URL=f"{DEAD}/v1")
    assert finished.returncode == 1
    assert re.fullmatch(
        r"The demonstration failed\. 127\.0\.0\.1 could not be reached \(Connection error\. POST "
        r"http://127\.0\.0\.1:9/v1/conversations got no response in \d attempts \(ConnectError: Connection "
        r"refused\)\.\)\n",
        finished.stderr,
    )


def test_scripted_answer_needs_the_turn_before():
    assert answer([QUESTIONS[1]]) == "I cannot tell: the conversation does not say."
    assert answer(["San Francisco.", QUESTIONS[1]]) == "California."


def test_ids_in_paths_are_shortened_to_their_ends():
    path = f"/v1/conversations/conv_{'0' * 44}1234/items/msg_{'0' * 44}abcd"
    assert shortened(path) == "/v1/conversations/conv_...1234/items/msg_...abcd"
