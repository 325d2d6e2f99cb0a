"""Several processes create one name at once."""

import asyncio
import logging

import pytest

from openai_sessions.emulator import Fault

from .stage import CREATE, Gate, held, hooked_client, in_tables, made, rows, user


@pytest.fixture
async def racing(emulator, open_directory):
    """Two directories whose requests to create a conversation wait for each other."""
    gate = Gate(emulator)
    async with gate.client() as first, gate.client() as second:
        yield open_directory(openai_client=first), open_directory(openai_client=second)


async def begin_at_once(directories, **options):
    sessions = [await directory.session("user_1", **options) for directory in directories]
    writes = [session.add_items([user(f"{number}")]) for number, session in enumerate(sessions)]
    await asyncio.gather(*writes)
    return sessions


async def test_race_ends_on_one_conversation(racing, emulator, url):
    """The loser deletes its own empty conversation before it writes."""
    first, second = await begin_at_once(racing)
    assert first.session_id == second.session_id
    assert 2 == len(await first.get_items())
    assert {first.session_id} == held(emulator)
    assert (2, 1) == (made(emulator).count(CREATE), sum("DELETE" in line for line in made(emulator)))
    assert (1, 1, 0, 0) == await in_tables(url)


async def test_loser_of_a_race_does_not_call_its_callback(racing):
    """Its conversation is being deleted."""
    told = []
    first, _ = await begin_at_once(racing, on_conversation_created=told.append)
    assert [first.session_id] == told


async def test_conversation_that_the_loser_cannot_delete_is_swept(racing, emulator, url, caplog):
    emulator.inject(Fault("error_500_before"), operation="delete_conversation", times=6)
    with caplog.at_level(logging.WARNING, "openai_sessions"):
        first, _ = await begin_at_once(racing)
    from openai_sessions.directory._database import deletions  # noqa: PLC0415 - read below

    (left,) = await rows(url, deletions)
    assert ("user_1", "lost a race") == (left["name"], left["reason"])
    assert {first.session_id, left["conversation_id"]} == held(emulator)
    assert [f"{left['conversation_id']} is left for a sweep: InternalServerError"] == caplog.messages
    report = await racing[0].sweep()
    assert (1, 0, 0) == (report.deleted, report.failed, report.remaining)
    assert {first.session_id} == held(emulator)
    assert (1, 1, 0, 0) == await in_tables(url)


async def test_sessions_of_one_process_share_one_conversation(directory, emulator, url):
    sessions = [await directory.session("user_1") for _ in range(8)]
    await asyncio.gather(*(session.add_items([user("Hello")]) for session in sessions))
    assert 1 == len({session.session_id for session in sessions})
    assert {sessions[0].session_id} == held(emulator)
    assert 8 == len(await sessions[0].get_items())
    assert (1, 1, 0, 0) == await in_tables(url)


async def test_tasks_of_one_session_create_once(directory, emulator):
    session = await directory.session("user_1")
    await asyncio.gather(*(session.add_items([user("Hello")]) for _ in range(8)))
    assert 1 == made(emulator).count(CREATE)


async def test_concurrent_opening_creates_one_name(directory, other, url):
    await asyncio.gather(*(each.session("user_1") for each in [directory, other] * 5))
    assert (1, 0, 0, 0) == await in_tables(url)


async def test_concurrent_clear_and_write_agree_with_the_server(directory, other, emulator, url):
    """Whichever comes first, the directory contains exactly the conversations of the server."""
    session, elsewhere = await directory.session("user_1"), await other.session("user_1")
    await session.add_items([user("old")])
    await asyncio.gather(elsewhere.clear_session(), session.add_items([user("new")]))
    registered = (await directory.get("user_1")).conversation_id
    assert held(emulator) == ({registered} if registered else set())
    assert 0 == (await in_tables(url))[2]


async def test_write_with_a_lost_response_continues_after_another_process_cleared(
    open_directory, other, emulator, client, url
):
    """The old conversation is gone, so the items are written to the next one."""
    cleared = []

    async def clear_elsewhere(request):
        """Clear as another process does, without the lock of this one."""
        if request.method == "GET" and not cleared:
            cleared.append(session.session_id)
            elsewhere = (await other.session("user_1"))._registration
            await elsewhere.release(cleared[0], None)
            await client.conversations.delete(cleared[0])
            await elsewhere.deleted(cleared[0])

    async with hooked_client(emulator, clear_elsewhere) as hooked:
        session = await open_directory(openai_client=hooked).session("user_1")
        await session.ensure_conversation()
        emulator.inject(Fault("cut_after_commit"), operation="create_items")
        await session.add_items([user("Hello")])
        assert cleared != [session.session_id]
        assert [user("Hello")] == await session.get_items()
        assert () == session.unsettled
    assert {session.session_id} == held(emulator)
    assert (1, 1, 0, 0) == await in_tables(url)
