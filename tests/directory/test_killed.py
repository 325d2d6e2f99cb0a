"""A process is killed at each step, and no conversation is forgotten."""

import itertools
import signal

import pytest

from openai_sessions.directory._database import branches, creations, deletions, erasures, names
from tests.selection import one_in

from .deeds import assert_whole, batch
from .stage import held, rows

DEEDS = {"begin": 7, "lose": 9, "clear": 5, "forget": 4, "sweep": 4}
"""The operations, with their minimum number of steps."""


async def known(url):
    """Return registered conversations, pending deletions, and the ids of creations."""
    registered = {row["conversation_id"] for row in await rows(url, branches)} - {None}
    left = {row["conversation_id"] for row in await rows(url, deletions)}
    marks = {row["creation_id"] for row in await rows(url, creations)}
    return registered, left, marks


async def assert_nothing_is_forgotten(url, emulator):
    """Each conversation of the server is registered, to be deleted, or a recorded creation; all are whole."""
    registered, left, marks = await known(url)
    assert not registered & left
    assert registered <= held(emulator)
    for conversation in emulator.conversations():
        assert (
            conversation.id in registered | left or conversation.metadata["openai_sessions.creation"] in marks
        )
        if conversation.id not in left:  # its items are being deleted
            assert_whole([item["content"][0]["text"] for item in emulator.items(conversation.id)])


async def assert_a_sweep_cleans_up(directory, url, emulator):
    """A sweep deletes all unregistered conversations with known ids, and reports the others."""
    report = await directory.sweep()
    assert (0, 0) == (report.failed, report.remaining)
    registered, left, marks = await known(url)
    assert set() == left
    unknown = {each.id: each for each in emulator.conversations() if each.id not in registered}
    assert {each.metadata["openai_sessions.creation"] for each in unknown.values()} <= marks
    told = await directory.lost_creations(older_than=0)
    assert marks == {creation.creation_id for creation in told}
    assert registered <= held(emulator)


@pytest.mark.exhaustive
async def test_erasure_killed_at_each_step_is_continued_by_the_next(emulator, url, open_on, fork_server):
    """Its report includes what the killed one has deleted."""
    directory = open_on(url)
    with emulator.serve() as base_url:
        for step in itertools.count():
            name = f"user {step}"
            sessions = [await directory.session(f"{name} {number}", user=name) for number in range(2)]
            for session in sessions:
                await session.add_items(batch(2))
            sessions.append(await directory.fork(f"{name} 1", "retry"))
            ids = {
                each.session_id: [item["id"] for item in emulator.items(each.session_id)] for each in sessions
            }
            pid = fork_server.start("erase", url=url, base_url=base_url, name=name, after=step)
            ended = fork_server.wait(pid)
            assert ended in {0, -signal.SIGKILL}, fork_server.errors()
            report = await directory.erase(name)
            assert not report.has_failures
            for conversation_id in ids:
                assert () == emulator.contents.items(conversation_id)
                assert conversation_id not in held(emulator)
            for table in (deletions, erasures, names):
                assert [] == await rows(url, table)
            if ended == 0:
                break
            told = {*report.conversations.deleted, *report.conversations.already_gone}
            paths = {f"{each}/items/{item_id}" for each in ids for item_id in ids[each]}
            assert told in ({*ids}, set())  # nothing if the report was complete, and its reader was killed
            assert {*report.items.deleted, *report.items.already_gone} == (paths if told else set())
    assert step >= 20


@pytest.mark.parametrize("deed", one_in(8, DEEDS))
@pytest.mark.exhaustive
async def test_process_killed_at_each_step_leaves_nothing_forgotten(
    emulator, sqlite_url, open_on, fork_server, deed
):
    """After each, the next process continues."""
    directory = open_on(sqlite_url)
    with emulator.serve() as base_url:
        for step in itertools.count():
            name = f"name {step}"
            if deed not in {"begin", "lose"}:
                session = await directory.session(name, expires_in=3600)
                await session.add_items(batch(2))
            pid = fork_server.start(deed, url=sqlite_url, base_url=base_url, name=name, after=step)
            ended = fork_server.wait(pid)
            assert ended in {0, -signal.SIGKILL}, fork_server.errors()
            await assert_nothing_is_forgotten(sqlite_url, emulator)
            await assert_a_sweep_cleans_up(directory, sqlite_url, emulator)
            again = await directory.session(name)
            await again.add_items(batch(2))
            assert_whole([item["content"] for item in await again.get_items()])
            if ended == 0:
                break
    assert step >= DEEDS[deed]
