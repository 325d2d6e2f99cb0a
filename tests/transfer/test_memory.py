"""The memory of an export and an import does not grow with the history.

With OPENAI_SESSIONS_MILLION=1 in the environment it is tested with 1,000,000 items instead of 10,000.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.examples.stand_in import ROOT, environment

from .numbered import message

FEW = 2_000
MANY = 1_000_000 if os.environ.get("OPENAI_SESSIONS_MILLION") else 10_000

MEGABYTES = 48
"""Address space that the process may use above its size after a few items."""

KILOBYTES = 8_000
"""How much its resident memory may grow."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and limits address space")


@contextmanager
def numbered_server(count):
    with subprocess.Popen(
        [sys.executable, "-m", "tests.transfer.numbered", str(count)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()


def moved(move, few, many, megabytes=MEGABYTES):
    """Run `tests.transfer.far` and return its output."""
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.transfer.far", move, *few, *many, str(megabytes)],
        cwd=ROOT,
        env=environment("http://127.0.0.1:9/v1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    print(move, finished.stdout)  # noqa: T201 - the figures, for whoever asks for them with -s
    return json.loads(finished.stdout)


def write_export(path, count):
    with path.open("w") as file:
        file.write(json.dumps({"openai_sessions": 1, "items": count}) + "\n")
        file.writelines(json.dumps(message(number)) + "\n" for number in range(count))
    return str(path)


@pytest.mark.exhaustive
def test_memory_of_an_export_is_constant(tmp_path):
    with numbered_server(FEW) as few, numbered_server(MANY) as many:
        path = tmp_path / "many.jsonl"
        told = moved("export", (few, str(tmp_path / "few.jsonl")), (many, str(path)))
    assert MANY == told["items"]
    assert told["risen"] < KILOBYTES
    with path.open() as lines:
        assert MANY == json.loads(next(lines))["items"]
        assert all(json.loads(line) == message(number) for number, line in enumerate(lines))


@pytest.mark.exhaustive
def test_memory_of_an_import_is_constant(tmp_path):
    with numbered_server(0) as few, numbered_server(0) as many:
        told = moved(
            "import",
            (few, write_export(tmp_path / "few.jsonl", FEW)),
            (many, write_export(tmp_path / "many.jsonl", MANY)),
        )
    assert MANY == told["items"]
    assert told["risen"] < KILOBYTES


@pytest.mark.exhaustive
def test_memory_of_get_items_grows_with_the_history():
    """The control: the measured limit can be exceeded."""
    with numbered_server(FEW) as few, numbered_server(20_000) as many:
        told = moved("get_items", (few, ""), (many, ""), megabytes=1024)
    assert told["risen"] > 2 * KILOBYTES
