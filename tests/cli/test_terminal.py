"""The command in a real terminal: what a person sees, is asked, and interrupts."""

import io
import re
import sys

import pytest

from openai_sessions.cli._errors import CommandError
from openai_sessions.cli._running import confirm
from tests.cli.command import eventually
from tests.cli.directories import Directory
from tests.cli.page import served
from tests.cli.service import assistant, turns, user
from tests.cli.terminal import terminal
from tests.examples.stand_in import API_KEY

BOLD_CYAN = "\x1b[1m\x1b[36m"
ITEMS = 1_500


@pytest.fixture
def screen(service, tmp_path):
    with terminal(tmp_path, **service.variables) as screen:
        yield screen


@pytest.fixture
def slow(shared_server, tmp_path):
    """A terminal, and an API with a long conversation whose responses are delayed."""
    with served(on=shared_server, delay_ms=150) as server:
        server.emulator.seed([{"id": "conv_long", "items": [user("Hello")] * ITEMS}])
        variables = {"OPENAI_API_KEY": API_KEY, "OPENAI_BASE_URL": f"{server.url}/v1"}
        with terminal(tmp_path, **variables) as screen:
            yield screen


@pytest.mark.exhaustive
def test_transcript_is_coloured_and_wrapped_beside_its_labels(service, screen):
    service.holds("conv_1", [user("漢字" * 40), assistant("word " * 30)])
    screen.run("show", "conv_1")
    exit_code, shown = screen.finish()
    assert exit_code == 0
    assert shown[1:] == [
        "user       " + "漢字" * 17,
        " " * 11 + "漢字" * 17,
        " " * 11 + "漢字" * 6,
        "assistant  " + ("word " * 14).rstrip(),
        " " * 11 + ("word " * 14).rstrip(),
        " " * 11 + "word word",
    ]
    assert f"{BOLD_CYAN}user" in "\n".join(screen.screen(colours=True))


@pytest.mark.exhaustive
def test_transcript_fits_a_narrow_terminal(service, tmp_path):
    service.holds(
        "conv_1",
        [
            user("a question of several words"),
            {
                "type": "web_search_call",
                "id": "ws_1",
                "status": "completed",
                "action": {"type": "search", "query": "bridges"},
            },
        ],
    )
    with terminal(tmp_path, width=30, **service.variables) as screen:
        screen.run("show", "conv_1")
        exit_code, shown = screen.finish()
    start = next(index for index, line in enumerate(shown) if line.startswith("user"))
    assert exit_code == 0
    assert shown[start:] == [
        "user       a question of",
        "           several words",
        "web_search_call",
        '           {"action": {"type":',
        '           "search", "query":',
        '           "bridges"}}',
    ]


@pytest.mark.exhaustive
def test_what_others_wrote_moves_no_cursor_and_changes_no_title(service, screen):
    service.holds("conv_1", [user("\x1b[2J\x1b[1;1H\x1b]2;owned\x07[red]x[/red]\x9b5m")])
    screen.run("show", "conv_1")
    _, shown = screen.finish()
    assert shown[1:] == [r"user       \x1b[2J\x1b[1;1H\x1b]2;owned\x07[red]x[/red]\x9b5m"]
    assert "owned" not in screen.tmux("display-message", "-p", "#{pane_title}")


@pytest.mark.exhaustive
def test_long_export_shows_how_far_it_is_and_leaves_nothing_of_that(slow, tmp_path):
    slow.run("export", "conv_long", str(tmp_path / "export"))
    slow.wait_for(r"Exporting conv_long ━+ [1-9],?\d00 items")
    exit_code, shown = slow.finish()
    assert (exit_code, shown[-1].endswith("/export.")) == (0, True)
    assert not re.search("━|Exporting", "\n".join(shown))
    assert len((tmp_path / "export").read_text().splitlines()) == ITEMS + 1


@pytest.mark.exhaustive
def test_quiet_export_shows_nothing_at_any_time(slow, tmp_path):
    slow.run("export", "conv_long", str(tmp_path / "export"), "--quiet")
    screens = slow.watch()
    assert (tmp_path / "export").exists()
    assert not re.search("Exporting|Exported|items", "\n".join(screens))


@pytest.mark.exhaustive
def test_ctrl_c_ends_an_export_without_a_file(slow, tmp_path):
    slow.run("export", "conv_long", str(tmp_path / "export"))
    slow.wait_for("[1-9]00 items")
    slow.press("C-c")
    exit_code, shown = slow.finish()
    assert (exit_code, shown[-1]) == (130, "Interrupted.")
    assert [path.name for path in tmp_path.iterdir() if "export" in path.name] == []


@pytest.mark.exhaustive
def test_ctrl_c_ends_a_copy_and_nothing_of_it_stays(service, screen):
    """Cancelled in the middle of its writes, which are undone."""
    service.holds("conv_1", turns(2_000))
    screen.run("copy", "conv_1")
    screen.wait_for("[1-9]00 items")
    screen.press("C-c")
    exit_code, shown = screen.finish()
    assert (exit_code, shown[-1]) == (130, "Interrupted.")
    assert service.conversations() == ["conv_1"]


@pytest.mark.exhaustive
def test_ctrl_c_says_what_it_waits_for(slow):
    slow.run("copy", "conv_long")
    slow.wait_for("[1-9]00 items")
    slow.press("C-c")
    slow.wait_for(r"Interrupted: undoing changes\. Press Ctrl-C again to wait at most 10 seconds\.")
    exit_code, _ = slow.finish()
    assert exit_code == 130


@pytest.mark.exhaustive
def test_ctrl_c_ends_an_import_that_waits_for_its_input(service, tmp_path):
    copies = tmp_path / "copies"
    copies.mkdir()
    with terminal(tmp_path, **service.variables, TMPDIR=str(copies)) as screen:
        screen.run("import", "-")
        assert eventually(lambda: list(copies.iterdir()))  # it has loaded, and copies its input
        screen.type("typed")
        screen.wait_for("typed$")
        screen.press("C-c")
        exit_code, shown = screen.finish()
    assert (exit_code, shown[-1]) == (130, "Interrupted; nothing was done.")
    assert service.emulator.requests == ()


@pytest.mark.exhaustive
def test_question_before_deleting_says_what_and_takes_an_answer(service, screen):
    service.holds("conv_1", turns(60))
    for answer, expected, left in (
        ("C-c", (130, "Interrupted; nothing was done."), ["conv_1"]),
        ("n", (1, "Nothing was done."), ["conv_1"]),
        ("y", (0, "Deleted conv_1."), []),
    ):
        screen.run("clear", "conv_1")
        screen.wait_for(r"Permanently delete conv_1 with 120 items\? \[y/N\] ?$")
        screen.press(*([answer] if answer == "C-c" else [answer, "Enter"]))
        exit_code, shown = screen.finish()
        assert (exit_code, shown[-1]) == expected
        assert service.conversations() == left
        screen.clear()


@pytest.mark.parametrize("answer", ["", "\n", "no\n", "yess\n"], ids=repr)
def test_answer_other_than_yes_does_nothing(answer, monkeypatch):
    """The empty answer is the end of input, as Ctrl-D makes it."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    with pytest.raises(CommandError, match=r"Nothing was done\.") as caught:
        confirm("Delete it?")
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("answer", ["y\n", "Y\n", " yes \n", "YES"], ids=repr)
def test_yes_goes_on(answer, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    confirm("Delete it?")
    assert capsys.readouterr().err == "Delete it? [y/N] "


@pytest.mark.exhaustive
def test_table_has_headings_and_is_cut_where_the_terminal_ends(service, screen):
    service.holds("conv_1", [user("word " * 40)])
    screen.run("turns", "conv_1")
    _, shown = screen.finish()
    assert shown[1:] == ["Turn  Items  User message", "   1      1  " + "word " * 13 + "w…"]


@pytest.mark.exhaustive
def test_error_is_one_line(screen):
    screen.run("show", "conv_gone")
    exit_code, shown = screen.finish()
    assert exit_code == 3
    assert "".join(shown[1:]).startswith("Conversation conv_gone was not found: it was deleted, or ")
    assert len(shown) == 3  # it is longer than the terminal is wide


@pytest.mark.exhaustive
def test_bash_completes_commands_options_and_names(service, tmp_path):
    """As `--install-completion` leaves it."""
    directory = Directory(service, tmp_path / "names.db")
    directory.holds("user_12345")
    with terminal(tmp_path, HOME=str(tmp_path), **service.variables) as screen:
        screen.run("--install-completion")
        assert screen.finish()[0] == 0
        screen.type(". ~/.bashrc")
        screen.press("Enter")
        screen.clear()
        screen.type("openai-sessions sho")
        screen.press("Tab")
        screen.wait_for("openai-sessions show ?$")
        screen.type("user_1")
        screen.press("Tab")
        screen.wait_for("show user_12345 ?$")
        screen.type("--last-t")
        screen.press("Tab")
        screen.wait_for("show user_12345 --last-turns ?$")
