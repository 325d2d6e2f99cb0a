"""`openai-sessions check`, `repair`, `rewind`, `delete-items`, `replace-item` and `show --ids`."""

import json

import pytest

from openai_sessions._items.repairs import NOT_COMPLETED
from openai_sessions.emulator import Fault
from tests.cli.service import assistant, turns, user

CALL = {"type": "function_call", "call_id": "c1", "name": "look_up\x1b[2J", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "found"}


def ids(service):
    return [item["id"] for item in service.emulator.items("conv_1")]


def operations(service):
    return [request.operation for request in service.emulator.requests]


@pytest.fixture
def broken(service):
    """A conversation with a call that has no output, in its newest turn."""
    service.holds("conv_1", [*turns(1), user("And?"), CALL])
    return service


def test_check_prints_each_finding_and_writes_nothing(broken):
    line = f"{ids(broken)[-1]}\tfunction_call\tlook_up\\x1b[2J\tcall without output\tclose"
    finished = broken.run("check", "conv_1")
    assert (finished.returncode, finished.stdout, finished.stderr) == (1, f"{line}\n", "")
    assert operations(broken) == ["list_items"]


def test_check_as_json(broken):
    finished = broken.run("check", "conv_1", "--json")
    assert finished.returncode == 1
    assert json.loads(finished.stdout) == {
        "problem": "call without output",
        "item_id": ids(broken)[-1],
        "item_type": "function_call",
        "call_id": "c1",
        "name": "look_up\x1b[2J",
        "remedy": "close",
        "is_repaired": False,
    }


def test_repair_asks_nothing_and_says_what_was_done(broken):
    called = ids(broken)[-1]
    finished = broken.run("repair", "conv_1")
    assert finished.stdout == f"{called}\tfunction_call\tlook_up\\x1b[2J\tcall without output\tclosed\n"
    assert (finished.returncode, finished.stderr) == (0, "Repaired 1 item.\n")
    assert broken.emulator.items("conv_1")[-1]["output"] == NOT_COMPLETED
    again = broken.run("repair", "conv_1", "--json")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "Nothing to repair.\n")
    checked = broken.run("check", "conv_1", "--quiet")
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_show_prints_the_id_of_each_item(service):
    service.holds("conv_1", turns(2))
    first, second, third, fourth = ids(service)
    assert service.output("show", "conv_1", "--ids") == [
        *(first, "user       Question 1", second, "assistant  Answer 1"),
        *("", third, "user       Question 2", fourth, "assistant  Answer 2"),
    ]
    newest = [{"id": third, **user("Question 2")}, {"id": fourth, **assistant("Answer 2")}]
    assert service.json("show", "conv_1", "--ids", "--json", "--last-turns", "1") == newest
    assert service.json("show", "conv_1", "--ids", "--json", "--limit", "1") == newest[1:]


@pytest.mark.parametrize(
    "point", [lambda ids: ["--before-turn", "2"], lambda ids: ["--after-item", ids[1]]], ids=["turn", "item"]
)
def test_rewind_prints_what_it_deletes(service, point):
    service.holds("conv_1", turns(3))
    finished = service.run("rewind", "conv_1", *point(ids(service)), "--yes", "--json")
    assert [json.loads(line) for line in finished.stdout.splitlines()] == turns(3)[2:]
    assert (finished.returncode, finished.stderr) == (0, "Deleted 4 items.\n")
    assert service.texts("conv_1") == ["Question 1", "Answer 1"]


@pytest.mark.parametrize("point", [["--before-turn", "9"], ["--after-item", "msg_none"]])
def test_place_that_is_not_there_deletes_nothing(service, point):
    service.holds("conv_1", turns(3))
    exit_code, error = service.failure("rewind", "conv_1", *point, "--yes")
    assert exit_code == 3
    assert error.startswith("conv_1 cannot be cut there: ")
    assert len(service.texts("conv_1")) == 6


@pytest.mark.parametrize("points", [[], ["--before-turn", "1", "--after-item", "msg_1"]])
def test_rewind_wants_exactly_one_place(service, points):
    service.holds("conv_1", turns(1))
    assert service.failure("rewind", "conv_1", *points) == (2, "Give --before-turn or --after-item.")


@pytest.mark.parametrize(
    "arguments",
    [
        ["rewind", "conv_1", "--before-turn", "1"],
        ["delete-items", "conv_1", "msg_1"],
        ["replace-item", "conv_1", "msg_1", "-"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_nothing_is_deleted_where_nobody_can_be_asked(service, arguments):
    service.holds("conv_1", turns(1))
    answer = (2, "There is no terminal to ask for confirmation: give --yes.")
    assert service.failure(*arguments) == answer
    assert operations(service) == []


def test_delete_items_prints_them(service):
    service.holds("conv_1", [user("Look"), CALL, OUTPUT, assistant("Found")])
    _, *pair, _ = ids(service)
    assert service.json("delete-items", "conv_1", *pair, "--yes", "--json", "--quiet") == [CALL, OUTPUT]
    assert service.texts("conv_1") == ["Look", "Found"]


def test_items_that_belong_together_are_named(service):
    service.holds("conv_1", [user("Look"), CALL, OUTPUT, assistant("Found")])
    _, called, result, _ = ids(service)
    exit_code, error = service.failure("delete-items", "conv_1", called, "--yes")
    assert exit_code == 1
    assert error.endswith(f"Nothing was changed. Delete them too: add '{result}'.")
    exit_code, error = service.failure("delete-items", "conv_1", "msg_none", "--yes")
    assert exit_code == 3
    assert error.endswith("nothing was changed. `openai-sessions show conv_1 --ids` prints the ids.")
    assert len(ids(service)) == 4


def test_the_rest_of_a_deletion_that_failed_is_deleted_by_the_command_in_the_message(service):
    service.holds("conv_1", turns(2))
    service.emulator.inject(Fault("quota"), operation="delete_item", after=2, times=99)
    exit_code, error = service.failure("rewind", "conv_1", "--before-turn", "1", "--yes")
    left = ids(service)
    assert exit_code == 4
    assert f"Deleted {4 - len(left)} items (RateLimitError)" in error
    assert f"`openai-sessions delete-items conv_1 {' '.join(left)}`" in error
    service.emulator.clear_faults()
    service.output("delete-items", "conv_1", *left, "--yes", "--quiet")
    assert ids(service) == []


def test_replace_item_prints_the_new_ids(service, tmp_path):
    service.holds("conv_1", turns(2))
    before = ids(service)
    new = tmp_path / "item.json"
    new.write_text(json.dumps(user("Other")))
    lines = service.output("replace-item", "conv_1", before[2], str(new), "--yes", "--quiet")
    assert lines == [f"{old}\t{now}" for old, now in zip(before[2:], ids(service)[2:], strict=True)]
    assert service.texts("conv_1") == ["Question 1", "Answer 1", "Other", "Answer 2"]
    (replaced,) = service.json(
        "replace-item",
        "conv_1",
        ids(service)[3],
        "-",
        "--yes",
        "--json",
        "-q",
        stdin=json.dumps(user("Last")),
    )
    assert replaced["new_id"] == ids(service)[3]
    assert service.texts("conv_1")[3] == "Last"


def test_a_file_that_is_not_an_item_is_refused(service, tmp_path):
    service.holds("conv_1", turns(1))
    new = tmp_path / "item.json"
    new.write_text("{")
    exit_code, error = service.failure("replace-item", "conv_1", "msg_1", str(new), "--yes")
    assert (exit_code, error[:60]) == (2, f"{new} is not JSON: "[:60])
    new.write_text('{"role": "user"}')
    exit_code, error = service.failure("replace-item", "conv_1", "msg_1", str(new), "--yes")
    assert exit_code == 1
    assert error.startswith("items[0] cannot be stored")
    exit_code, error = service.failure("replace-item", "conv_1", "msg_1", str(tmp_path / "none"), "--yes")
    assert exit_code == 1
    assert operations(service) == []
