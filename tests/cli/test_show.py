"""`openai-sessions show`: a transcript for people, and JSON for programs."""

import subprocess

import pytest

from openai_sessions.cli._output import escaped
from tests.cli.command import COMMAND, environment
from tests.cli.service import assistant, turns, user

pytestmark = pytest.mark.slow

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
    assert TRANSCRIPT.splitlines() == service.output("show", "conv_1", own_process=True)


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


def test_output_without_unicode_shows_escapes(service):
    service.holds("conv_1", [user("ü")])
    ascii_only = {"own_process": True, "PYTHONIOENCODING": "ascii"}
    assert [r"user       \xfc"] == service.output("show", "conv_1", **ascii_only)
    assert [r'{"role": "user", "content": "\u00fc"}'] == service.output(
        "show", "conv_1", "--json", **ascii_only
    )


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
