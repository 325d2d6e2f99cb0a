"""`openai-sessions demo`, offline and against a stand-in for OpenAI."""

import pytest

from openai_sessions.cli._demo import QUESTIONS, SentRequest, answer, shortened
from tests.cli.command import run, run_here
from tests.examples.stand_in import API_KEY, stand_in

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
def test_demo_shows_the_requests_of_each_turn_in_order(offline):
    """The question is stored before the model is asked, and its answer after."""
    read, store, ask = (
        "GET /v1/conversations/",
        "POST /v1/conversations/",
        "POST /v1/responses asks the model",
    )
    lines = [" ".join(line.split()) for line in offline.stdout.splitlines()]
    turns = lines[lines.index("assistant San Francisco.") : lines.index("assistant About 39 million.") + 5]
    requests = [line for line in turns if line.startswith(("GET", "POST"))]
    expected = ["POST /v1/conversations 200", store, ask, store, *[read, store, ask, store] * 2]
    assert [line.startswith(prefix) for line, prefix in zip(requests, expected, strict=True)] == [True] * 12


@pytest.mark.slow
def test_demo_counts_the_requests(offline):
    totals = offline.stdout[offline.stdout.index("requests in all:") - 3 :].split("\n")
    assert [" ".join(line.split()) for line in totals if line.strip()] == [
        "16 requests in all:",
        "1 POST /v1/conversations",
        "6 POST /v1/conversations/{id}/items",
        "3 POST /v1/responses",
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
        finished = run_here(
            "demo", "--live", "--model", "m", OPENAI_API_KEY=API_KEY, OPENAI_BASE_URL=base_url
        )
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "3  POST   /v1/responses" in finished.stdout
    assert finished.stdout.count("About 39 million.") == 3


@pytest.mark.slow
@pytest.mark.parametrize("variables", [{}, {"OPENAI_API_KEY": ""}, {"OPENAI_API_KEY": " "}])
def test_demo_live_without_key_says_so_in_one_line(variables):
    finished = run_here("demo", "--live", **variables)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == "--live needs an API key: set OPENAI_API_KEY.\n"


@pytest.mark.slow
def test_demo_live_shows_an_error_of_the_api_in_one_line():
    with stand_in() as (base_url, _):
        finished = run_here("demo", "--live", OPENAI_API_KEY="sk-wrong", OPENAI_BASE_URL=base_url)
    assert finished.returncode == 1
    assert finished.stderr == (
        "The demonstration failed. 401: Incorrect API key provided: ********. "
        "You can find your API key at https://platform.openai.com/account/api-keys.\n"
    )
    assert "sk-wrong" not in finished.stdout


@pytest.mark.slow
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
        "ValueError: not with sk-..., thank you\n"
    )
    assert API_KEY not in finished.stdout


@pytest.mark.slow
def test_demo_live_says_when_the_service_cannot_be_reached():
    finished = run_here("demo", "--live", OPENAI_API_KEY="sk-any", OPENAI_BASE_URL=f"{DEAD}/v1")
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


def test_the_request_to_the_model_is_told_from_those_of_the_session():
    assert str(SentRequest("POST", "/v1/responses", 200)) == "POST   /v1/responses  asks the model"
