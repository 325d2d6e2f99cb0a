"""`openai-sessions demo`, offline and against a stand-in for OpenAI."""

import pytest

from openai_sessions.cli._scripted import QUESTIONS, answer
from openai_sessions.cli._transcript import SentRequest, shortened
from tests.cli.command import run
from tests.examples.stand_in import stand_in

DEAD = "http://127.0.0.1:9"
"""Nothing listens on the discard port of loopback."""


@pytest.fixture(scope="module")
def offline():
    """The finished offline demonstration, run where a proxy is set that does not answer."""
    return run("demo", HTTP_PROXY=DEAD, HTTPS_PROXY=DEAD, ALL_PROXY=DEAD)


@pytest.mark.slow
def test_demo_succeeds_without_key_and_network(offline):
    assert (offline.returncode, offline.stderr) == (0, "")


@pytest.mark.slow
def test_demo_prints_the_transcript_twice_and_what_was_popped(offline):
    """Once as it happens, once as read back by id; then the newest item."""
    said = [line.split(maxsplit=1) for line in offline.stdout.splitlines()]
    messages = [line[1].rstrip() for line in said if line[:1] in (["user"], ["assistant"])]
    turns = [
        "What city is the Golden Gate Bridge in?",
        "San Francisco.",
        "What state is it in?",
        "California.",
        "How many people live there?",
        "About 39 million.",
    ]
    assert messages == [*turns, *turns, turns[-1]]


@pytest.mark.slow
def test_demo_counts_the_requests(offline):
    totals = offline.stdout[offline.stdout.index("requests in all:") - 3 :].split("\n")
    assert [" ".join(line.split()) for line in totals if line.strip()] == [
        "13 requests in all:",
        "1 POST /v1/conversations",
        "6 POST /v1/conversations/{id}/items",
        "4 GET /v1/conversations/{id}/items",
        "1 DELETE /v1/conversations/{id}/items/{id}",
        "1 DELETE /v1/conversations/{id}",
    ]


@pytest.mark.slow
def test_demo_fits_eighty_columns(offline):
    assert max(len(line) for line in offline.stdout.splitlines()) <= 80


@pytest.mark.slow
def test_demo_live_asks_the_model():
    with stand_in() as (base_url, _):
        finished = run(
            "demo", "--live", "--model", "m", OPENAI_API_KEY="sk-stand-in", OPENAI_BASE_URL=base_url
        )
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "3  POST   /v1/responses" in finished.stdout
    assert finished.stdout.count("About 39 million.") == 3


@pytest.mark.slow
@pytest.mark.parametrize("variables", [{}, {"OPENAI_API_KEY": ""}, {"OPENAI_API_KEY": " "}])
def test_demo_live_without_key_says_so_in_one_line(variables):
    finished = run("demo", "--live", **variables)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == "--live needs an API key: set OPENAI_API_KEY.\n"


@pytest.mark.slow
def test_demo_live_shows_an_error_of_the_api_in_one_line_without_the_key():
    with stand_in() as (base_url, _):
        finished = run("demo", "--live", OPENAI_API_KEY="sk-wrong", OPENAI_BASE_URL=base_url)
    assert finished.returncode == 1
    assert finished.stderr == ("The demonstration failed. 401: Incorrect API key provided: Bearer sk-....\n")
    assert "sk-wrong" not in finished.stdout


@pytest.mark.slow
def test_demo_live_says_when_the_service_cannot_be_reached():
    finished = run("demo", "--live", OPENAI_API_KEY="sk-any", OPENAI_BASE_URL=f"{DEAD}/v1")
    assert finished.returncode == 1
    assert finished.stderr == (
        "The demonstration failed. 127.0.0.1 could not be reached (Connection error.)\n"
    )


def test_scripted_answer_needs_the_turn_before():
    """The third question alone has no answer; with the answer to the second it has."""
    assert answer([QUESTIONS[2]]) == "I cannot tell: nobody has said what you mean."
    assert answer(["California.", QUESTIONS[2]]) == "About 39 million."


def test_ids_in_paths_are_shortened_to_their_ends():
    path = f"/v1/conversations/conv_{'0' * 44}1234/items/msg_{'0' * 44}abcd"
    assert shortened(path) == "/v1/conversations/conv_...1234/items/msg_...abcd"
    assert str(SentRequest("GET", path, 200)) == f"GET    {shortened(path)}"
