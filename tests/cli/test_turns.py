"""`openai-sessions turns` and `usage`: what is said of a conversation, not what is in it."""

import asyncio

import pytest

from openai_sessions import OpenAIConversationsSession, Usage
from tests.cli.service import assistant, turns, user

pytestmark = pytest.mark.slow


def test_turns_are_lines_of_number_items_and_what_the_user_said(service):
    service.holds(
        "conv_1", [assistant("Welcome"), user("Two\n\tlines"), assistant("a"), user("\x1b[2J" + "x" * 999)]
    )
    assert service.output("turns", "conv_1", own_process=True) == [
        "0\t1\t",
        "1\t2\tTwo lines",
        rf"2{chr(9)}1{chr(9)}\x1b[2J{'x' * 296}",
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--last", "2"], ["2", "3"]),
        (["--find", "ANSWER 2"], ["2"]),
        (["--find", "question", "--last", "1"], ["3"]),
        (["--find", "nowhere"], []),
    ],
)
def test_turns_that_are_asked_for(service, options, expected):
    service.holds("conv_1", turns(3))
    assert expected == [line.split("\t")[0] for line in service.output("turns", "conv_1", *options)]


def test_turns_as_json_have_what_fork_needs(service):
    service.holds("conv_1", turns(2))
    (found,) = service.json("turns", "conv_1", "--json", "--last", "1")
    ids = [item["id"] for item in service.emulator.items("conv_1")]
    assert found == {"number": 2, "text": "Question 2", "item_ids": ids[2:], "items": turns(2)[2:]}


def test_usage_is_what_the_runs_have_stored(service):
    service.holds("conv_1", turns(1))
    usage = Usage(requests=2, input_tokens=1500, cached_tokens=100, output_tokens=40, total_tokens=1540)
    asyncio.run(store(service, usage))
    assert service.output("usage", "conv_1", own_process=True) == [
        "requests\t2",
        "input tokens\t1,500",
        "cached tokens\t100",
        "output tokens\t40",
        "reasoning tokens\t0",
        "total tokens\t1,540",
    ]
    assert service.json("usage", "conv_1", "--json") == [
        {
            "requests": 2,
            "input_tokens": 1500,
            "cached_tokens": 100,
            "output_tokens": 40,
            "reasoning_tokens": 0,
            "total_tokens": 1540,
        }
    ]


async def store(service, usage):
    async with service.client() as client:
        session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=client)
        await session.set_session_usage(usage)


def test_usage_that_was_never_stored_is_told_apart_from_none(service):
    finished = service.run("usage", service.holds("conv_1", []), "--json")
    assert (finished.returncode, finished.stdout) == (0, "null\n")
    assert finished.stderr == "No usage is stored; `await session.store_run_usage(result)` stores it.\n"
