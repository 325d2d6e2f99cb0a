"""`openai-sessions show`, `turns`, `usage`, `fork` and `clear`, without a terminal."""

import asyncio
import subprocess
import sys

import pytest

from openai_sessions import OpenAIConversationsSession, Usage
from openai_sessions.cli._output import escaped, json_text
from openai_sessions.emulator import Fault
from openai_sessions.session import ModelUsage
from tests.cli.command import COMMAND, environment
from tests.cli.service import assistant, turns, user

EVERY_KIND = [
    user("What is it called?"),
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "A name is asked for."}],
    },
    {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": '{"what": "it"}'},
    {"type": "function_call_output", "call_id": "c1", "output": "Golden\nGate"},
    {"type": "custom_tool_call", "call_id": "c2", "name": "grep", "input": "-r bridge"},
    {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "none"}]},
    {
        "type": "mcp_call",
        "id": "mcp_1",
        "server_label": "maps",
        "name": "find",
        "arguments": "{}",
        "output": "found",
    },
    {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "brücke"},
    },
    {
        "type": "message",
        "role": "assistant",
        "status": "incomplete",
        "content": [
            {"type": "output_text", "text": "The Golden", "annotations": []},
            {"type": "refusal", "refusal": "No."},
        ],
    },
    {
        "type": "message",
        "role": "user",
        "content": [
            {"type": "input_text", "text": "Look:"},
            {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,AAAA"},
            {"type": "input_image", "detail": "auto", "file_id": "file_1"},
            {"type": "input_file", "file_id": "file_2", "filename": "report.pdf"},
        ],
    },
    {"role": "system", "content": ""},
]

TRANSCRIPT = """\
user       What is it called?
reasoning  A name is asked for.
call       look_up({"what": "it"})
output     Golden
           Gate
call       grep(-r bridge)
output     none
call       maps.find({})
           found
web_search_call
           {"action": {"type": "search", "query": "brücke"}}
assistant  The Golden
           No. [incomplete]

user       Look:
           [image image/png, 4 characters]
           [image file_1]
           [file report.pdf file_2]
system
"""


def test_transcript_shows_every_kind_of_item(service):
    service.holds("conv_1", EVERY_KIND)
    assert TRANSCRIPT.splitlines() == service.output("show", "conv_1")


def test_json_is_the_replay_form_an_item_a_line(service):
    service.holds("conv_1", [user("Grüße \x9b2J\u202e"), assistant("\ud800")])
    finished = service.run("show", "conv_1", "--json")
    assert finished.stdout.splitlines() == [
        r'{"role": "user", "content": "Grüße \u009b2J\u202e"}',
        r'{"role": "assistant", "content": "\ud800"}',
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--limit", "3"], ["assistant", "user", "assistant"]),
        (["--last-turns", "1"], ["user", "assistant"]),
        (["--last-turns", "9"], ["user", "assistant"] * 3),
    ],
)
def test_newest_items_or_turns_alone(service, options, expected):
    service.holds("conv_1", turns(3))
    assert expected == [item["role"] for item in service.json("show", "conv_1", "--json", *options)]


@pytest.mark.parametrize("options", [[], ["--limit", "5"], ["--last-turns", "9"]])
def test_items_before_a_compaction_item_are_shown(service, options):
    service.holds("conv_1", [*turns(1), {"type": "compaction", "encrypted_content": "gAAAAA"}, *turns(1)])
    assert 5 == len(service.json("show", "conv_1", "--json", *options))


HOSTILE = [
    ("\x1b[31mred\x1b]0;title\x07\x9b2J", r"\x1b[31mred\x1b]0;title\x07\x9b2J"),
    ("one\r\ntwo\tthree\rfour\x7f", "one\ntwo\tthree\\rfour\\x7f"),
    ("safe \u202eevil\u2066", r"safe \u202eevil\u2066"),
    ("unseen \U000e0041 and \ud83d", r"unseen \U000e0041 and \ud83d"),
    ("[bold]:smile:[/] 漢字 👩\u200d👧 e\u0301\xa0ö", "[bold]:smile:[/] 漢字 👩\u200d👧 e\u0301\xa0ö"),
]

ACTIVE_SEARCH = {
    "type": "web_search_call",
    "id": "ws_1",
    "status": "completed",
    "action": {"type": "search", "query": "\x1b[2J\x9b"},
}


@pytest.mark.parametrize(("text", "shown"), HOSTILE)
def test_controls_are_shown_as_escapes_and_letters_as_they_are(text, shown):
    assert shown == escaped(text)


def test_transcript_moves_no_cursor(service):
    service.holds("conv_1", [user(text) for text, _ in HOSTILE] + [ACTIVE_SEARCH])
    lines = service.output("show", "conv_1")
    for _, shown in HOSTILE:
        assert shown.splitlines()[-1] in "\n".join(lines)
    assert r'           {"action": {"type": "search", "query": "\u001b[2J\x9b"}}' == lines[-1]


def test_long_item_is_cut_with_a_note_unless_all_is_asked_for(service):
    service.holds("conv_1", [user("x" * 6_234)])
    assert [
        f"user       {'x' * 5_000}",
        f"{'':11}[1,234 more characters: --full shows them]",
    ] == service.output("show", "conv_1")
    assert [f"user       {'x' * 6_234}"] == service.output("show", "conv_1", "--full")


def test_empty_conversation_shows_nothing(service):
    assert [] == service.output("show", service.holds("conv_1", []))


@pytest.mark.exhaustive
def test_output_without_unicode_shows_escapes(service):
    service.holds("conv_1", [user("ü")])
    variables = environment(**service.variables, PYTHONIOENCODING="ascii")
    printed = subprocess.check_output([*COMMAND, "show", "conv_1"], env=variables, timeout=60)
    assert printed.splitlines() == [rb"user       \xfc"]


@pytest.mark.parametrize(
    ("encoding", "expected"), [("ascii", r'"\u00fc"'), ("utf-8", '"ü"'), ("UTF8", '"ü"')]
)
def test_json_is_escaped_unless_the_output_is_utf_8(encoding, expected):
    assert json_text("ü", encoding=encoding) == expected


@pytest.mark.exhaustive
def test_reader_that_goes_away_ends_it_quietly(service):
    """Long before all pages are read, with output left in the buffer of the process."""
    service.holds("conv_1", [user("x" * 500)] * 4_000)
    with subprocess.Popen(
        [*COMMAND, "show", "conv_1"],
        env=environment(**service.variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert f"user       {'x' * 500}\n" == process.stdout.readline()
        process.stdout.close()
        assert (process.wait(60), process.stderr.read()) == (141, "")
    pages = [request for request in service.emulator.requests if request.operation == "list_items"]
    assert len(pages) < 40


def test_turns_are_lines_of_number_items_and_what_the_user_said(service):
    service.holds(
        "conv_1", [assistant("Welcome"), user("Two\n\tlines"), assistant("a"), user("\x1b[2J" + "x" * 999)]
    )
    assert service.output("turns", "conv_1") == [
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
    numbers = {"input_tokens": 1500, "cached_tokens": 100, "output_tokens": 40, "total_tokens": 1540}
    usage = Usage.of_models([ModelUsage(2, model="gpt-5.2", **numbers)])
    asyncio.run(store(service, usage))
    assert service.output("usage", "conv_1") == [
        "requests\t2",
        "input tokens\t1,500",
        "cached tokens\t100",
        "cache write tokens\t0",
        "output tokens\t40",
        "reasoning tokens\t0",
        "total tokens\t1,540",
        f"cost\t${usage.cost():.6f}",
    ]
    shown = {"requests": 2, **numbers, "cache_write_tokens": 0, "reasoning_tokens": 0}
    part = {**shown, "model": "gpt-5.2", "long_input": False}
    (found,) = service.json("usage", "conv_1", "--json")
    assert {**shown, "models": [part], "cost_usd": float(usage.cost())} == found


def test_cost_of_a_model_without_a_price_is_unknown(service):
    service.holds("conv_1", turns(1))
    parts = [ModelUsage(2, 10, model="my-deployment"), ModelUsage(1, 10), ModelUsage(1, 10, model="gpt-5.2")]
    asyncio.run(store(service, Usage.of_models(parts)))
    finished = service.run("usage", "conv_1")
    assert "cost\tunknown" == finished.stdout.splitlines()[-1]
    assert finished.stderr.splitlines() == [
        "There is no price for 2 requests of the model my-deployment.",
        "There is no price for 1 request of the unknown model.",
    ]
    (found,) = service.json("usage", "conv_1", "--json", "--quiet")
    assert found["cost_usd"] is None


def test_no_cost_is_printed_without_genai_prices(monkeypatch, service):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    service.holds("conv_1", turns(1))
    asyncio.run(store(service, Usage.of_models([ModelUsage(2, 10, model="gpt-5.2")])))
    assert "total tokens\t0" == service.output("usage", "conv_1")[-1]
    assert "cost_usd" not in service.json("usage", "conv_1", "--json")[0]


async def store(service, usage):
    async with service.client() as client:
        session = OpenAIConversationsSession(conversation_id="conv_1", openai_client=client)
        await session.set_session_usage(usage)


def test_usage_that_was_never_stored_is_told_apart_from_none(service):
    finished = service.run("usage", service.holds("conv_1", []), "--json")
    assert (finished.returncode, finished.stdout) == (0, "null\n")
    assert finished.stderr == "No usage is stored; `await session.store_run_usage(result)` stores it.\n"


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        (lambda ids: [], 6),
        (lambda ids: ["--before-turn", "3"], 4),
        (lambda ids: ["--after-item", ids[0]], 1),
    ],
    ids=["all", "before a turn", "after an item"],
)
def test_fork_prints_the_id_of_the_copy(service, point, expected):
    service.holds("conv_1", turns(3))
    ids = [item["id"] for item in service.emulator.items("conv_1")]
    (forked,) = service.output("fork", "conv_1", *point(ids))
    assert service.texts(forked) == service.texts("conv_1")[:expected]
    assert len(service.texts("conv_1")) == 6


@pytest.mark.parametrize("point", [["--before-turn", "9"], ["--after-item", "msg_none"]])
def test_place_that_is_not_there_makes_no_fork(service, point):
    service.holds("conv_1", turns(3))
    exit_code, error = service.failure("fork", "conv_1", *point)
    assert exit_code == 3
    assert error.startswith("conv_1 cannot be cut there: ")
    assert service.conversations() == ["conv_1"]


def test_two_places_are_refused(service):
    service.holds("conv_1", turns(3))
    exit_code, _ = service.failure("fork", "conv_1", "--before-turn", "1", "--after-item", "msg_1")
    assert exit_code == 2


def test_failed_fork_that_stands_is_named_with_what_deletes_it(service):
    service.holds("conv_1", turns(15))
    service.emulator.inject(Fault("quota"), operation="create_items", after=1, times=9)
    service.emulator.inject(Fault("quota"), operation="delete_conversation", times=9)
    service.emulator.inject(Fault("quota"), operation="delete_item", times=99)
    exit_code, error = service.failure("fork", "conv_1")
    (left,) = {*service.conversations()} - {"conv_1"}
    assert exit_code == 4
    assert error.startswith(
        f"The fork failed (RateLimitError) and left {left}: `openai-sessions clear {left} --purge` deletes it"
    )


def operations(service):
    return [request.operation for request in service.emulator.requests]


def test_nothing_is_deleted_where_nobody_can_be_asked(service):
    service.holds("conv_1", turns(1))
    assert service.failure("clear", "conv_1") == (
        2,
        "There is no terminal to ask for confirmation: give --yes.",
    )
    assert operations(service) == []


def test_yes_deletes_the_conversation_and_says_so(service):
    service.holds("conv_1", turns(1))
    finished = service.run("clear", "conv_1", "--yes")
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "Deleted conv_1.\n")
    assert service.conversations() == []
    assert operations(service) == ["list_items", "delete_conversation"]


def test_purge_deletes_each_item_before(service):
    service.holds("conv_1", turns(2))
    assert [] == service.output("clear", "conv_1", "--purge", "--yes", "--quiet")
    assert operations(service).count("delete_item") == 4
    assert operations(service)[-1] == "delete_conversation"


def test_conversation_that_is_not_there_is_told(service):
    exit_code, error = service.failure("clear", "conv_gone", "--yes")
    assert exit_code == 3
    assert error.startswith(
        "Conversation conv_gone was not found: it was deleted, or belongs to another project"
    )


def test_failed_deletion_is_no_success(service):
    service.holds("conv_1", turns(1))
    service.emulator.inject(Fault("quota"), operation="delete_conversation", times=9)
    exit_code, error = service.failure("clear", "conv_1", "--yes")
    assert exit_code == 1
    assert "returned 429: " in error
    assert service.conversations() == ["conv_1"]


def test_purge_that_fails_halfway_says_what_was_deleted(service):
    service.holds("conv_1", turns(10))
    service.emulator.inject(Fault("quota"), operation="delete_item", after=12, times=99)
    exit_code, error = service.failure("clear", "conv_1", "--purge", "--yes")
    left = len(service.texts("conv_1"))
    assert exit_code == 4
    assert error.endswith(f" Deleted {20 - left} items of conv_1; run the command again to go on.")
