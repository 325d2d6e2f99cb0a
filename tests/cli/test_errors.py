"""What goes wrong is told in one line on standard error: the fact, the request id and the remedy."""

import re
import subprocess
from pathlib import Path

import pytest

from openai_sessions.cli._errors import CommandError, ExitCode, explained
from openai_sessions.cli._running import Settings, Workspace, checked_key
from openai_sessions.emulator import Fault
from openai_sessions.errors import UnsettledTransferError, UnsettledWriteError
from tests.cli.command import COMMAND, environment, run_here
from tests.cli.service import turns
from tests.examples.stand_in import API_KEY

DEAD = "http://127.0.0.1:9/v1"
"""Nothing listens on the discard port of loopback."""

REQUEST_ID = r" \(x-request-id: req_[0-9a-f]{32}\)\.$"


def test_unknown_conversation_is_told_with_the_request_id(service):
    exit_code, error = service.failure("show", "conv_gone")
    assert exit_code == 3
    said = "Conversation conv_gone was not found: it was deleted, or belongs to another project or server"
    assert re.match(re.escape(said) + REQUEST_ID, error)


def test_refused_key_is_told_without_the_key(service):
    service.holds("conv_1", turns(1))
    exit_code, error = service.failure("show", "conv_1", OPENAI_API_KEY="sk-wrong-key")
    assert exit_code == 1
    assert error.startswith(f"{service.base_url} returned 401: ")
    assert re.search("; set OPENAI_API_KEY to a key that this server accepts" + REQUEST_ID, error)
    assert "wrong-key" not in error


@pytest.mark.parametrize("key", ["", " "])
def test_missing_key_is_told_before_any_request(service, key):
    assert service.failure("show", "conv_1", OPENAI_API_KEY=key) == (
        2,
        "No API key: set OPENAI_API_KEY.",
    )
    assert service.emulator.requests == ()


@pytest.mark.exhaustive
def test_service_that_cannot_be_reached_is_named(service):
    exit_code, error = service.failure("show", "conv_1", "--base-url", DEAD)
    assert exit_code == 1
    assert re.fullmatch(rf"{DEAD} could not be reached \(.+\): check --base-url or OPENAI_BASE_URL\.", error)


def test_base_url_that_is_none_is_told(service):
    assert service.failure("show", "conv_1", "--base-url", "localhost:80") == (
        2,
        "--base-url is 'localhost:80'; it must start with http:// or https://.",
    )


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://host:99999/v1", "http://host:port/v1"])
def test_base_url_without_an_address_is_told(service, url):
    assert service.failure("show", "conv_1", "--base-url", url) == (
        2,
        f"--base-url is {url!r}; it must contain a host, and only a port from 1 to 65535.",
    )


@pytest.mark.parametrize("character", ["ü", "\udcff", "\n", "\x00"])
def test_key_that_no_header_can_hold_is_told_without_it(character):
    """The error of the HTTP library would quote it."""
    told = explained(key_error(f"sk-abc{character}def"), base_url=DEAD)
    assert (told.exit_code, str(told)) == (
        2,
        f"OPENAI_API_KEY contains {character!a}, which no key contains: set it again.",
    )


@pytest.mark.parametrize("url", [None, ""])
def test_service_is_that_of_openai_unless_another_is_named(url, monkeypatch):
    """An empty variable names none."""
    monkeypatch.setenv("OPENAI_API_KEY", API_KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    assert str(Workspace(Settings(base_url=url)).client.base_url) == "https://api.openai.com/v1/"


def key_error(key):
    with pytest.raises(CommandError) as caught:
        checked_key(key)
    return caught.value


def test_space_around_a_key_is_no_part_of_it(service):
    """As a file with the ends of lines of Windows leaves it."""
    service.holds("conv_1", [])
    assert [] == service.output("show", "conv_1", OPENAI_API_KEY=f" {API_KEY}\r\n")


@pytest.mark.exhaustive
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no /dev/full")
@pytest.mark.parametrize("command", [["show", "conv_1"], ["export", "conv_1", "-"]])
def test_full_disk_behind_standard_output_is_told(service, command):
    service.holds("conv_1", turns(1))
    with Path("/dev/full").open("w") as full:
        finished = subprocess.run(
            [*COMMAND, *command],
            env=environment(**service.variables),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (finished.returncode, finished.stderr) == (1, "Writing failed: No space left on device.\n")


def test_id_that_is_none_is_told(service):
    exit_code, error = service.failure("show", "conv_/../x")
    assert exit_code == 2
    assert error == (
        "'conv_/../x' is not a conversation id: it does not have the form of an id; to use a name, set "
        "--directory or OPENAI_SESSIONS_DIRECTORY."
    )


def test_name_without_a_directory_is_told_with_the_remedy(service):
    exit_code, error = service.failure("show", "user_123")
    assert exit_code == 2
    assert error == (
        "'user_123' is not a conversation id: it looks like a name of your own; to use a name, set "
        "--directory or OPENAI_SESSIONS_DIRECTORY."
    )


@pytest.mark.parametrize("conversation_id", ["6f1c2d7e-0f7b-4c4e-9d5c-2b8f3a1e7d90", "alice"])
def test_what_may_be_the_id_of_another_server_is_sent(service, conversation_id):
    exit_code, error = service.failure("show", conversation_id)
    assert exit_code == 3
    assert error.startswith(f"Conversation {conversation_id} was not found: ")
    assert "; to use a name, set --directory" in error


def test_failure_in_the_middle_of_a_transcript_is_told_behind_it(service):
    """What was read is shown, and the exit code says that it is not all."""
    service.holds("conv_1", turns(150))
    service.emulator.inject(Fault("quota"), operation="list_items", after=1, times=9)
    finished = service.run("show", "conv_1")
    assert finished.returncode == 1
    assert finished.stdout.startswith("user       Question 1\n")
    assert len(finished.stderr.splitlines()) == 1


def test_wrong_option_ends_with_2():
    finished = run_here("show", "conv_1", "--backwards")
    assert (finished.returncode, finished.stdout) == (2, "")
    assert "--backwards" in finished.stderr


def test_key_is_no_option():
    """It would be seen in the list of processes."""
    assert run_here("show", "conv_1", "--api-key", "sk-1").returncode == 2


def test_unexpected_error_is_told_by_its_place_without_its_text():
    with pytest.raises(KeyError) as caught:
        _ = {}["what somebody said"]
    told = explained(caught.value, base_url=DEAD)
    assert told.exit_code == 1
    assert re.fullmatch(
        r"Unexpected KeyError in test_errors\.py, line \d+; this is a bug in openai-sessions\.",
        str(told),
    )


def test_error_is_one_line_without_the_key_however_it_is_written(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", API_KEY)
    told = str(explained(ValueError(f"with {API_KEY},\nand \x1b[2J{'x' * 900}"), base_url=DEAD))
    assert told.startswith(r"with REDACTED, and \x1b[2Jxxx")
    assert len(told) < 520


@pytest.mark.parametrize("key", ["x", "sk-1", "items", "conversation"])
def test_key_that_may_be_any_word_leaves_a_message_as_it_is(key, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    message = f"the next items of the conversation exceed sk-1, key {key}."
    assert str(explained(ValueError(message), base_url=DEAD)) == message


def raised(error, cause):
    """Return an error with its cause."""
    error.__cause__ = cause
    return error


UNSETTLED = UnsettledWriteError(
    {"conversation_id": "conv_1"}, stored_ids=["msg_1", "msg_2"], unknown=[{}], not_stored=[]
)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            UNSETTLED,
            (
                "Writing to conv_1 failed and could not be undone. Items that remain stored: 2; that may or "
                "may not be stored: 1."
            ),
        ),
        (
            raised(UnsettledTransferError("conv_1", 3, OSError()), UNSETTLED),
            (
                "The copy failed (UnsettledWriteError) and could not be undone: up to 3 of its items remain "
                "in conv_1. Without --append, run the command again into it to resume."
            ),
        ),
        (
            raised(UnsettledTransferError("conv_1", 0, OSError()), UNSETTLED),
            (
                "The copy failed (UnsettledWriteError) and could not be undone: conv_1 remains, empty. "
                "Without --append, run the command again into it to resume."
            ),
        ),
    ],
)
def test_what_is_left_is_told_with_the_exit_code_for_it(error, expected):
    told = explained(error, base_url=DEAD)
    assert (told.exit_code, str(told)) == (ExitCode.UNFINISHED, expected)


def test_statement_of_a_database_is_not_shown():
    class OperationalError(Exception):
        pass

    OperationalError.__module__ = "sqlalchemy.exc"
    error = OperationalError("no such table: names\n[SQL: SELECT 'secret']")
    assert str(explained(error, base_url=DEAD)) == "The database failed: no such table: names."
