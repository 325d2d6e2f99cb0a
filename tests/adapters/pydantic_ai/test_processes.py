"""Processes that save one conversation at once, and processes that are killed in a save."""

import json
import signal

import pytest

from tests.examples.stand_in import run_python

from .writers import STEPS, TURNS, WRITERS

FIRST, SECOND, THIRD = ([f"question {number}", f"answer {number}"] for number in (1, 2, 3))


@pytest.fixture
def base_url(emulator):
    with emulator.serve() as base_url:
        yield base_url


def lines_of(deed, url, base_url):
    finished = run_python("-m", "tests.adapters.pydantic_ai.writers", deed, url, base_url, base_url=base_url)
    assert (0, "") == (finished.returncode, finished.stderr)
    return [json.loads(line) for line in finished.stdout.splitlines()]


@pytest.mark.exhaustive
def test_processes_that_save_at_once_lose_no_turn(url, base_url):
    ended, stored = lines_of("race", url, base_url)
    assert [0] * WRITERS == ended["codes"]
    numbers = [text.split()[1] for text in stored["messages"]]
    assert numbers[::2] == numbers[1::2]
    assert sorted(f"{writer}.{number}" for writer in range(WRITERS) for number in range(TURNS)) == sorted(
        numbers[::2]
    )
    assert len(numbers) == stored["items"]


@pytest.mark.exhaustive
def test_process_that_is_killed_at_any_step_of_a_save_leaves_all_of_it_or_nothing(url, base_url):
    ended, *shown = lines_of("die", url, base_url)
    for step, (code, each) in enumerate(zip(ended["codes"], shown, strict=True)):
        assert (FIRST if code else FIRST + SECOND) == each["found"], step
        assert each["found"] + THIRD == each["after"], step
    killed = ended["codes"].index(0)
    assert killed > 8
    assert [-signal.SIGKILL] * killed + [0] * (STEPS - killed) == ended["codes"]
