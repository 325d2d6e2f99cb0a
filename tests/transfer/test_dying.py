"""A copy or an import is killed, and the same call in another process completes it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import contextmanager

import agents
import pytest

from openai_sessions import OpenAIConversationsSession, copy_session, export_session, import_session
from openai_sessions.emulator import Fault
from openai_sessions.transfer import TransferReport
from tests.examples.stand_in import ROOT, environment
from tests.processes.staff import SECONDS
from tests.processes.test_dying import reached
from tests.servers import client_of

from .items import turns


@contextmanager
def copier(*arguments):
    """Run `tests.transfer.copier` inside the block; kill it at its end."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.transfer.copier", *map(str, arguments)],
        cwd=ROOT,
        env=environment("http://127.0.0.1:9/v1"),
    ) as process:
        try:
            yield
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("move", "death"),
    [
        ("copy", (7, "stall_after_commit", 160)),
        pytest.param("import", (4, "stall", 80), marks=pytest.mark.exhaustive),
        pytest.param("copy", (0, "stall", 0), marks=pytest.mark.exhaustive),
        pytest.param("import", (0, "stall_after_commit", 20), marks=pytest.mark.exhaustive),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value)),
)
@pytest.mark.exhaustive
async def test_killed_copy_is_completed_by_the_same_call(emulator, tmp_path, move, death):
    request_number, fault, there = death
    source = agents.SQLiteSession("source", tmp_path / "source.db")
    await source.add_items(turns(60))
    await export_session(source, tmp_path / "source.jsonl")
    file = tmp_path / ("source.db" if move == "copy" else "source.jsonl")
    emulator.inject(Fault(fault), operation="create_items", after=request_number)
    with emulator.serve() as url:
        with copier(move, url, file, tmp_path / "ids"):
            await asyncio.wait_for(reached(emulator, fault), SECONDS)
        async with client_of(url) as client:
            target = OpenAIConversationsSession(
                openai_client=client, conversation_id=(tmp_path / "ids").read_text()
            )
            assert there == len(await target.get_items())
            report = await (copy_session(source, target) if move == "copy" else import_session(file, target))
            assert TransferReport(copied=240 - there, already_there=there) == report
            assert turns(60) == await target.get_items()
    source.close()
