"""`serve --seed-from FILE.jsonl`: conversations to begin with, from a file."""

import json

import pytest

from openai_sessions.cli._errors import CommandError
from openai_sessions.cli._files import seed_from
from openai_sessions.emulator import Emulator, SeedResult
from tests.cli.test_serve import HELLO, invoke
from tests.examples.stand_in import ROOT

FORM = 'a line must be a JSON object, such as {"id": "conv_1", "metadata": {}, "items": []}'


@pytest.fixture
def file(tmp_path):
    return tmp_path / "conversations.jsonl"


def written(file, *lines):
    file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return file


def test_each_line_is_a_conversation_and_empty_lines_are_none(emulator, file):
    written(file, "\ufeff" + json.dumps({"id": "conv_1", "items": [HELLO]}), "", "  ", {"items": []})
    assert seed_from(file, emulator) == SeedResult(conversations=2, items=1)
    assert {"conv_1"} < {each.id for each in emulator.conversations()}


def test_empty_file_holds_nothing(emulator, file):
    assert seed_from(written(file), emulator) == SeedResult()


def test_last_line_needs_no_end(emulator, file):
    file.write_text('{"items": []}\r\n{"items": []}')
    assert seed_from(file, emulator).conversations == 2


def test_long_file_is_held_whole(emulator, file):
    written(file, *({"id": f"conv_{number}", "items": [HELLO] * 5} for number in range(2_000)))
    assert seed_from(file, emulator) == SeedResult(conversations=2_000, items=10_000)


WRONG = [
    ('{"items": [', f"not JSON (Expecting value) at the end of the line; {FORM}."),
    (
        "{'items': []}",
        (
            "not JSON (Expecting property name enclosed in double quotes) at "
            f"\"'items': []}}\" in column 2; {FORM}."
        ),
    ),
    ("[1, 2]", f"[1, 2] is not an object; {FORM}."),
    ('{"items": [NaN]}', "NaN is not valid JSON: give a finite number or a string."),
    ('{"items": [{"role": "user", "role": "system"}]}', '"role" appears twice in one object: keep one.'),
    ("[" * 100_000, "the JSON is nested too deeply or contains a number that is too long."),
    ({"item": []}, "Unknown field 'item'. The fields are id, created_at, metadata, items."),
    ({"id": "1", "items": []}, "Invalid 'id': '1'. Expected an ID that begins with 'conv_'."),
    ({"items": [{"role": "user"}]}, "Missing required parameter: 'items[0].content'."),
    ({"id": "conv_first", "items": []}, "the id 'conv_first' is already used by an earlier conversation."),
]


@pytest.mark.parametrize(("line", "message"), WRONG, ids=range(len(WRONG)))
def test_wrong_line_is_told_and_nothing_is_held(emulator, file, line, message):
    written(file, {"id": "conv_first", "items": [HELLO]}, "", line, {"items": []})
    with pytest.raises(CommandError) as caught:
        seed_from(file, emulator)
    assert (str(caught.value), caught.value.exit_code) == (f"{file}, line 3: {message}", 2)
    assert emulator.conversations() == ()


def test_line_that_is_not_utf_8_is_told(emulator, file):
    file.write_bytes(b'{"items": []}\n{"items": [], "metadata": {"a": "\xe4"}}\n')
    with pytest.raises(CommandError, match="line 2: byte 34 is not UTF-8: save the file as UTF-8"):
        seed_from(file, emulator)
    assert emulator.conversations() == ()


def test_serve_refuses_a_file_that_is_missing_or_a_folder(file, tmp_path):
    refused = invoke("--port", "0", "--seed-from", str(file))
    assert (refused.exit_code, refused.stderr) == (2, f"{file} cannot be read: No such file or directory.\n")
    refused = invoke("--port", "0", "--seed-from", str(tmp_path))
    assert (refused.exit_code, refused.stderr) == (2, f"{tmp_path} cannot be read: Is a directory.\n")


def test_serve_leaves_a_database_as_it_was_when_a_line_is_wrong(file, tmp_path):
    database = tmp_path / "file.db"
    with Emulator(database) as emulator:
        emulator.seed([{"id": "conv_before", "items": [HELLO]}])
    written(file, {"id": "conv_1", "items": []}, "wrong")
    refused = invoke("--port", "0", "--db", str(database), "--seed-from", str(file))
    assert refused.exit_code == 2
    with Emulator(database) as emulator:
        assert [each.id for each in emulator.conversations()] == ["conv_before"]


def test_conversations_of_the_documents_can_be_seeded(emulator):
    assert seed_from(ROOT / "fixtures/golden_gate.jsonl", emulator) == SeedResult(conversations=3, items=13)
