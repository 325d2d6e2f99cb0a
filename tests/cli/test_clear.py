"""`openai-sessions clear` without a terminal; with one, `test_terminal.py` answers its question."""

import pytest

from openai_sessions.emulator import Fault
from tests.cli.service import turns

pytestmark = pytest.mark.slow


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
    finished = service.run("clear", "conv_1", "--yes", own_process=True)
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
