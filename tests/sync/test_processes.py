"""Interrupts, the end of the program, and forks, each in a separate process."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from openai_sessions.emulator import Fault
from tests.examples.stand_in import ROOT

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="requires POSIX signals and forks"),
]

SECONDS = 30


@pytest.fixture
def conversation_id(session):
    return session.ensure_conversation()


@contextmanager
def running(name, conversation_id):
    """Run a program; give its process, whose output is read line by line."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.sync.program", name, conversation_id]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def await_items(emulator, conversation_id, count):
    """Return once a number of items is stored."""
    await_that(lambda: len(emulator.items(conversation_id)) >= count)


def await_requests(emulator, count):
    """Return once a number of requests to create items has arrived."""
    await_that(
        lambda: (
            sum(each.method == "POST" and each.path.endswith("/items") for each in emulator.requests) >= count
        )
    )


def await_that(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def ended(process, told=None):
    """Return the remaining output of a program that ends by itself without errors."""
    output, errors = process.communicate(told, timeout=SECONDS)
    assert (0, "") == (process.returncode, errors)
    return output.splitlines()


@pytest.fixture
def stalled(emulator, conversation_id):
    """Let a write be applied without a response."""
    emulator.inject(Fault("stall_after_commit"), operation="create_items")
    return emulator


@pytest.mark.usefixtures("stalled")
@pytest.mark.exhaustive
def test_interrupt_undoes_the_write(emulator, conversation_id):
    with running("reads_after_interrupt", conversation_id) as process:
        await_items(emulator, conversation_id, 3)
        process.send_signal(signal.SIGINT)
        assert ["items: 0"] == ended(process)
    assert () == emulator.items(conversation_id)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("stalled")
def test_second_interrupt_does_not_wait_for_the_undo(emulator, conversation_id):
    """The write is undone while the program ends. Another writer locks the conversation until then."""
    with running("interrupted", conversation_id) as process:
        await_items(emulator, conversation_id, 3)
        with emulator.locked(conversation_id):
            process.send_signal(signal.SIGINT)
            await_that(lambda: "DELETE" in [request.method for request in emulator.requests])
            process.send_signal(signal.SIGINT)
            assert "interrupted\n" == process.stdout.readline()
            assert 3 == len(emulator.items(conversation_id))
        assert [] == ended(process)
    assert () == emulator.items(conversation_id)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("stalled")
def test_write_of_a_daemon_thread_is_undone_when_the_program_ends(emulator, conversation_id):
    with running("ends_while_writing", conversation_id) as process:
        await_items(emulator, conversation_id, 3)
        assert [] == ended(process, "end\n")
    assert () == emulator.items(conversation_id)


@pytest.mark.exhaustive
def test_program_ends_without_closing_sessions(conversation_id):
    with running("ends_without_closing", conversation_id) as process:
        assert ["items: 0"] == ended(process)


@pytest.mark.exhaustive
def test_session_continues_in_a_forked_process(emulator, conversation_id):
    """It does not wait for locks of the parent, and both sessions continue."""
    emulator.inject(Fault("stall"), operation="create_items", after=1)
    with running("forks", conversation_id) as process:
        await_requests(emulator, 2)
        assert ["child: 2", "status: 0", "parent: 3"] == ended(process, "fork\n")


@pytest.mark.exhaustive
def test_given_client_is_refused_in_a_forked_process(conversation_id):
    """Its connections belong to the parent."""
    with running("forks_with_a_client_of_its_own", conversation_id) as process:
        assert ["child: ClientLoopError"] == ended(process)
