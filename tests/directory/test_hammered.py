"""Eight processes use a few names in every way, and are killed at random.

`DIRECTORY_HAMMER_SECONDS=120` runs longer, `DIRECTORY_HAMMER_SEED=7` runs other operations.
"""

import asyncio
import os
import random
import signal
import time

import pytest

from openai_sessions.directory._database import creations, deletions, erasures, names
from openai_sessions.emulator import Fault

from .deeds import assert_whole, user_of
from .stage import held, rows
from .test_killed import assert_a_sweep_cleans_up, assert_nothing_is_forgotten

pytestmark = pytest.mark.exhaustive

SECONDS = float(os.environ.get("DIRECTORY_HAMMER_SECONDS", "10"))
SEED = int(os.environ.get("DIRECTORY_HAMMER_SEED", "1"))
NAMES = [f"name {number}" for number in range(6)]
FAULTS = [Fault(kind) for kind in ("cut_after_commit", "cut_before", "error_500_after_commit")]
OPERATIONS = ("create_conversation", "delete_conversation", "create_items")


class Conductor:
    """Runs processes until a time, and kills and replaces one after the other."""

    def __init__(self, fork_server, *, number, seconds, seed, **arguments):
        self._fork_server = fork_server
        self._choice = random.Random(seed)  # noqa: S311 - so that a run can be repeated
        self._seeds = iter(range(seed * 10_000, (seed + 1) * 10_000))
        self._arguments = {**arguments, "until": 0}
        assert 0 == fork_server.wait(self._start())  # the first one takes longer, for its imports
        self._until = time.time() + seconds
        self._arguments["until"] = self._until
        self._pids = [self._start() for _ in range(number)]
        self.killed = 0

    def _start(self):
        return self._fork_server.start("use_at_random", seed=next(self._seeds), **self._arguments)

    async def conduct(self):
        """Kill and replace processes; return the exit codes of the surviving ones."""
        while time.time() < self._until - 1:
            await asyncio.sleep(self._choice.uniform(0.05, 0.5))
            position = self._choice.randrange(len(self._pids))
            self._fork_server.kill(self._pids[position])
            assert -signal.SIGKILL == self._fork_server.wait(self._pids[position])
            self.killed += 1
            self._pids[position] = self._start()
        return [await asyncio.to_thread(self._fork_server.wait, pid) for pid in self._pids]


async def hammer(url, emulator, directory, fork_server, errors, *, number, seconds):
    """Run the processes, assert that they report no errors, and return how many were killed."""
    with emulator.serve() as base_url:
        emulator.inject_at_random(0.05, seed=SEED, faults=FAULTS, operations=OPERATIONS)
        conductor = Conductor(
            fork_server,
            number=number,
            seconds=seconds,
            seed=SEED,
            url=url,
            base_url=base_url,
            names=NAMES,
            errors=str(errors),
        )
        ended = await conductor.conduct()
        emulator.clear_faults()
        assert [0] * number == ended, fork_server.errors()
    assert "" == (errors.read_text() if errors.exists() else "")
    return conductor.killed


async def assert_owners_are_right(url):
    """All that an erasure of a user must find has this user."""
    for table in (names, deletions, creations):
        for row in await rows(url, table):
            assert user_of(row["name"]) == row["user_id"]


async def assert_all_is_well(url, emulator, directory):
    await assert_nothing_is_forgotten(url, emulator)
    await assert_owners_are_right(url)
    await assert_a_sweep_cleans_up(directory, url, emulator)
    page = await directory.conversations()
    registered = [entry.conversation_id for entry in page.entries if entry.conversation_id]
    assert len(set(registered)) == len(registered)
    assert set(registered) <= held(emulator)
    for entry in page.entries:
        assert entry.name in NAMES
        assert user_of(entry.name) == entry.user
        session = await directory.session(entry.name, user=entry.user)
        assert_whole([item["content"] for item in await session.get_items()])
    await assert_each_user_can_be_erased(url, emulator, directory, registered)


async def assert_each_user_can_be_erased(url, emulator, directory, registered):
    """Each item is looked for by its id, as the service keeps those of deleted conversations."""
    ids = {
        f"{conversation_id}/items/{item['id']}"
        for conversation_id in registered
        for item in emulator.items(conversation_id)
    }
    reports = [await directory.erase(user) for user in sorted({user_of(name) for name in NAMES})]
    assert not any(report.has_failures for report in reports)
    told = {item_id for report in reports for item_id in report.items.deleted}
    assert ids <= told  # and what the erasures of killed processes have deleted
    assert [()] * len(registered) == [emulator.contents.items(each) for each in registered]
    assert held(emulator).isdisjoint(registered)
    for table in (names, deletions, erasures):
        assert [] == await rows(url, table)


async def test_hammered_directory_forgets_nothing(emulator, open_on, fork_server, tmp_path, url):
    directory = open_on(url)
    kind = url.partition("+")[0]
    seconds = SECONDS if kind == "postgresql" else SECONDS / 2
    killed = await hammer(
        url, emulator, directory, fork_server, tmp_path / "errors", number=8, seconds=seconds
    )
    lost = await directory.lost_creations(older_than=0)
    made = len(emulator.requests)
    print(f"{kind}: {made} requests, {killed} processes killed, {len(lost)} creations lost")  # noqa: T201
    await assert_all_is_well(url, emulator, directory)
    assert made > 20
    assert killed >= 1
