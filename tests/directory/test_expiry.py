"""Expiry of names, and sweeps that delete their conversations."""

import asyncio
import logging
from datetime import timedelta

import openai
import pytest

from openai_sessions.emulator import Fault
from tests.selection import one_in

from .stage import CREATE, held, in_tables, made, user


async def written(directory, name, **options):
    session = await directory.session(name, **options)
    await session.add_items([user(name)])
    return session


async def test_expired_name_is_reset(directory, clock, emulator, url):
    """The deletion of the old conversation is pending until the sweep."""
    old = await written(directory, "user_1", expires_in=60, metadata={"plan": "pro"})
    clock.advance(seconds=60)
    session = await directory.session("user_1")
    assert [] == await session.get_items()
    assert (1, 0, 1, 0) == await in_tables(url)
    entry = await directory.get("user_1")
    assert ({}, clock.now, None) == (entry.metadata, entry.created_at, entry.expires_at)
    await session.add_items([user("new")])
    assert 2 == len(held(emulator))
    assert 1 == (await directory.sweep()).deleted
    assert {session.session_id} == held(emulator)
    assert [user("new")] == await old.get_items()


@pytest.mark.parametrize("use", ["open", "write"])
async def test_use_renews_the_expiry(directory, clock, use):
    session = await written(directory, "user_1", expires_in=timedelta(seconds=60))
    clock.advance(seconds=59)
    if use == "open":
        await directory.session("user_1")
    else:
        await session.add_items([user("again")])
    assert clock.now + timedelta(seconds=60) == (await directory.get("user_1")).expires_at
    clock.advance(seconds=59)
    assert user("user_1") == (await session.get_items())[0]


async def test_reading_does_not_renew_the_expiry(directory, clock):
    session = await written(directory, "user_1", expires_in=60)
    clock.advance(seconds=59)
    assert 1 == len(await session.get_items())
    clock.advance(seconds=1)
    assert [] == await session.get_items()


async def test_session_keeps_reading_after_another_process_renewed_the_name(directory, other, clock):
    session = await written(directory, "user_1", expires_in=60)
    clock.advance(seconds=30)
    await other.session("user_1")
    clock.advance(seconds=40)
    assert [user("user_1")] == await session.get_items()


async def test_open_session_of_an_expired_name_creates_a_conversation_at_its_next_write(
    directory, clock, emulator, url
):
    session = await written(directory, "user_1", expires_in=60)
    clock.advance(minutes=2)
    await session.add_items([user("new")])
    assert [user("new")] == await session.get_items()
    assert (1, 1, 1, 0) == await in_tables(url)
    assert 2 == made(emulator).count(CREATE)


async def test_opening_again_changes_the_lifetime(directory, clock):
    await directory.session("user_1", expires_in=60)
    await directory.session("user_1", expires_in=600)
    assert clock.now + timedelta(seconds=600) == (await directory.get("user_1")).expires_at


async def test_sweep_deletes_only_expired_names(directory, clock, emulator, url):
    gone = [await written(directory, f"gone {number}", expires_in=60) for number in range(3)]
    stays = [await written(directory, "late", expires_in=600), await written(directory, "never")]
    clock.advance(seconds=60)
    told = []
    report = await directory.sweep(on_progress=lambda *counts: told.append(counts))
    assert (3, 3, 0, 0, ()) == (
        report.expired,
        report.deleted,
        report.failed,
        report.remaining,
        report.lost_creations,
    )
    assert [(1, 3), (2, 3), (3, 3)] == told
    assert {session.session_id for session in stays} == held(emulator)
    assert {session.session_id for session in gone}.isdisjoint(held(emulator))
    assert (2, 2, 0, 0) == await in_tables(url)


async def test_name_used_before_its_turn_is_not_swept(directory, other, clock, emulator):
    session = await written(directory, "user_1", expires_in=60)
    clock.advance(seconds=59)
    await (await other.session("user_1")).add_items([user("just in time")])
    clock.advance(seconds=2)
    assert 0 == (await directory.sweep()).expired
    assert {session.session_id} == held(emulator)


async def test_sweep_keeps_to_its_limit(directory, clock, emulator):
    for number in range(5):
        await written(directory, f"{number}", expires_in=60)
    clock.advance(hours=1)
    first = await directory.sweep(limit=2)
    assert (2, 2) == (first.expired, first.deleted)
    rest = await directory.sweep()
    assert (3, 3, set()) == (rest.expired, rest.deleted, held(emulator))


async def test_sweep_of_a_deleted_conversation_succeeds(directory, clock, emulator, client):
    session = await written(directory, "user_1", expires_in=60)
    await client.conversations.delete(session.session_id)
    clock.advance(hours=1)
    assert 1 == (await directory.sweep()).deleted


async def test_purging_sweep_deletes_the_items_first(directory, clock, emulator):
    session = await written(directory, "user_1", expires_in=60)
    await session.add_items([user("2")])
    clock.advance(hours=1)
    emulator.forget_requests()
    await directory.sweep()
    deletions = [line for line in made(emulator) if line.startswith("DELETE")]
    assert ["items" in line for line in deletions] == [True, True, False]


async def test_sweep_without_purge_keeps_the_items_at_the_service(directory, clock, emulator):
    session = await written(directory, "user_1", expires_in=60)
    clock.advance(hours=1)
    assert 1 == (await directory.sweep(purge_items=False)).deleted
    assert 1 == len(emulator.contents.items(session.session_id))


@pytest.mark.parametrize("limit", one_in(3, [2, 1, 5, 3, 1000]))
async def test_dry_run_says_what_a_sweep_does(directory, clock, emulator, url, limit):
    """Three expired names, one of them without a conversation, and a pending deletion."""
    await written(directory, "stays")
    for number in range(2):
        await written(directory, f"{number}", expires_in=60)
    await directory.session("empty", expires_in=60)
    await written(directory, "pending", expires_in=60)
    clock.advance(hours=1)
    await directory.session("pending")
    before = await in_tables(url)
    emulator.forget_requests()
    planned = await directory.sweep(limit=limit, dry_run=True)
    assert ([], before) == (made(emulator), await in_tables(url))
    assert (min(limit, 3), min(limit, 3), 0) == (planned.expired, planned.deleted, planned.failed)
    assert 3 == planned.deleted + planned.remaining
    swept = await directory.sweep(limit=limit)
    assert planned.expired == swept.expired
    if limit >= 3:
        assert planned == swept


async def test_two_sweeps_at_once_delete_each_conversation(directory, other, clock, emulator):
    ids = [(await written(directory, f"{number}", expires_in=60)).session_id for number in range(8)]
    clock.advance(hours=1)
    reports = await asyncio.gather(directory.sweep(), other.sweep())
    assert (8, 0) == (sum(each.expired for each in reports), sum(each.failed for each in reports))
    assert [()] * 8 == [emulator.contents.items(each) for each in ids]
    assert set() == held(emulator)


async def test_failed_deletion_is_left_for_the_next_sweep(directory, clock, emulator, caplog):
    sessions = [await written(directory, f"{number}", expires_in=60) for number in range(3)]
    clock.advance(hours=1)
    unlucky = sessions[1].session_id
    emulator.inject(
        Fault("error_500_before"), operation="delete_conversation", times=6, conversation_id=unlucky
    )
    with caplog.at_level(logging.WARNING, "openai_sessions"):
        report = await directory.sweep()
    assert (3, 2, 1, 1) == (report.expired, report.deleted, report.failed, report.remaining)
    assert [f"{unlucky} is left for the next sweep: InternalServerError"] == caplog.messages
    assert {unlucky} == held(emulator)
    report = await directory.sweep()
    assert (0, 1, 0, 0) == (report.expired, report.deleted, report.failed, report.remaining)


async def test_repeatedly_failing_deletion_does_not_block_others(directory, clock, emulator):
    sessions = [await written(directory, name, expires_in=60 + number) for number, name in enumerate("ab")]
    clock.advance(hours=1)
    emulator.inject(
        Fault("error_500_before"),
        operation="delete_conversation",
        times=1000,
        conversation_id=sessions[0].session_id,
    )
    for _ in range(5):
        clock.advance(seconds=1)
        await directory.sweep(limit=1)
    assert {sessions[0].session_id} == held(emulator)


async def test_refused_key_ends_the_sweep(open_directory, clock, url):
    from openai_sessions.emulator import Emulator  # noqa: PLC0415 - one with keys

    with Emulator(api_keys=["sk-right"]) as emulator:
        async with emulator.client(api_key="sk-right") as client, emulator.client(api_key="sk-no") as bad:
            directory = open_directory(openai_client=client)
            for number in range(20):
                await written(directory, f"{number:02}", expires_in=60)
            clock.advance(hours=1)
            emulator.forget_requests()
            with pytest.raises(openai.AuthenticationError):
                await open_directory(openai_client=bad).sweep()
            assert len(emulator.requests) <= 8
            assert (0, 0, 20, 0) == await in_tables(url)
            assert 20 == (await directory.sweep()).deleted


async def test_concurrent_sweeps_succeed(directory, other, clock, emulator, url):
    import asyncio  # noqa: PLC0415 - this test alone

    for number in range(10):
        await written(directory, f"{number}", expires_in=60)
    clock.advance(hours=1)
    reports = await asyncio.gather(directory.sweep(), other.sweep(), other.sweep())
    assert (10, 0) == (sum(each.expired for each in reports), sum(each.failed for each in reports))
    assert (set(), (0, 0, 0, 0)) == (held(emulator), await in_tables(url))


async def test_creation_whose_response_is_lost_is_reported(directory, emulator, clock, url):
    """The metadata of the unknown conversation contains the id of the lost creation."""
    told = []
    emulator.inject(Fault("cut_after_commit"), operation="create_conversation")
    session = await directory.session("user_1", conversation_metadata={"plan": "pro"}, on_orphan=told.append)
    await session.add_items([user("Hello")])
    (lost,) = await directory.lost_creations()
    (orphan,) = [each for each in emulator.conversations() if each.id != session.session_id]
    assert {"plan": "pro", "openai_sessions.creation": lost.creation_id} == orphan.metadata
    assert ("user_1", "main", {"plan": "pro"}, clock.now) == (
        lost.name,
        lost.branch,
        lost.metadata,
        lost.requested_at,
    )
    assert (lost,) == (await directory.sweep()).lost_creations
    assert 1 == len(told)
    assert await directory.forget_lost_creation(lost.creation_id)
    assert () == await directory.lost_creations(older_than=0)
    assert (1, 1, 0, 0) == await in_tables(url)


async def test_refused_creation_is_not_lost(directory, emulator, url):
    emulator.inject(Fault("quota"), operation="create_conversation")
    with pytest.raises(openai.RateLimitError):
        await written(directory, "user_1")
    assert () == await directory.lost_creations(older_than=0)
    assert (1, 0, 0, 0) == await in_tables(url)


async def test_pending_creation_counts_as_lost_only_after_a_while(directory, clock):
    session = await directory.session("user_1")
    await session._registration.note_creation({})
    assert () == await directory.lost_creations()
    clock.advance(minutes=10)
    assert 1 == len(await directory.lost_creations())


async def test_write_never_uses_a_conversation_whose_deletion_is_pending(directory, other, clock, emulator):
    """The sweep removed the name, and could not delete the conversation yet."""
    session = await written(directory, "user_1", expires_in=60)
    doomed = session.session_id
    clock.advance(hours=1)
    emulator.inject(Fault("error_500_before"), operation="delete_conversation", times=6)
    assert 1 == (await other.sweep()).failed
    await session.add_items([user("new")])
    assert doomed != session.session_id
    await other.sweep()
    assert [user("new")] == await (await other.session("user_1")).get_items()
