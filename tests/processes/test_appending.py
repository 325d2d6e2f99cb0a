"""Several processes append to one conversation at once."""

import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions.emulator import Fault
from tests.selection import one_in
from tests.servers import client_of, smg_server

from .staff import Setting, batch, user

NAMES = ("first", "second", "third")
ROUNDS = 4
BATCHES = [(name, number) for number in range(ROUNDS) for name in NAMES]

SEEDS = (1, 2, 3)
FAULTS = [Fault(kind) for kind in ("cut_after_commit", "cut_before", "throttled", "locked")]


def upset(emulator, *, seed):
    """Let one request in four fail, as long as the workers are there."""
    operations = ("create_items", "list_items", "delete_item")
    emulator.inject_at_random(0.25, seed=seed, faults=FAULTS, operations=operations)


def append_in_rounds(staff, setting, items_of=batch):
    """Let a process of each name append one batch a round, all at once."""
    with staff.workers(len(NAMES), setting) as workers:
        for number in range(ROUNDS):
            for name, worker in zip(NAMES, workers, strict=True):
                worker.order("add", items=items_of(name, number))
            for worker in workers:
                worker.answer()


async def contents(session):
    return [item["content"] for item in await session.get_items()]


def in_writes(texts, size=25):
    return [texts[start : start + size] for start in range(0, len(texts), size)]


def texts_of(name, number):
    return [item["content"] for item in batch(name, number)]


def assert_whole_and_in_turn(texts):
    """Every write is there once, in one piece, those of each process in their order."""
    writes = in_writes(texts)
    assert sorted(texts_of(*written) for written in BATCHES) == sorted(writes)
    for name in NAMES:
        own = [write for write in writes if write[0].startswith(name)]
        assert [texts_of(name, number) for number in range(ROUNDS)] == own


def assert_complete(texts):
    """Every item is there once, those of each process in their order, whatever stands between them."""
    assert len(BATCHES) * 25 == len(texts)
    for name in NAMES:
        own = [text for text in texts if text.startswith(name)]
        assert [text for number in range(ROUNDS) for text in texts_of(name, number)] == own


@pytest.mark.exhaustive
async def test_writes_with_a_shared_lock_stay_whole(session, staff, locked):
    """Nothing is lost, duplicated or interleaved."""
    append_in_rounds(staff, locked)
    assert_whole_and_in_turn(await contents(session))


@pytest.mark.exhaustive
async def test_writes_with_a_shared_lock_stay_whole_on_another_server(staff, redis_url):
    """The same on smg, which others wrote."""
    with smg_server() as smg_url:
        async with client_of(smg_url) as client:
            session = OpenAIConversationsSession(openai_client=client)
            append_in_rounds(staff, Setting(smg_url, await session.ensure_conversation(), redis_url))
            assert_whole_and_in_turn(await contents(session))


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", one_in(3, SEEDS))
async def test_writes_with_a_shared_lock_stay_whole_under_faults(emulator, session, staff, locked, seed):
    upset(emulator, seed=seed)
    append_in_rounds(staff, locked)
    emulator.clear_faults()
    assert_whole_and_in_turn(await contents(session))


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", one_in(3, SEEDS))
async def test_identical_items_with_a_shared_lock_are_all_kept(emulator, session, staff, locked, seed):
    """No process takes the items of another one for a copy of its own."""
    emulator.inject_at_random(0.5, seed=seed, faults=FAULTS[:2], operations=["create_items"])
    append_in_rounds(staff, locked, lambda *_: [user("yes")])
    emulator.clear_faults()
    assert ["yes"] * len(BATCHES) == await contents(session)


@pytest.mark.exhaustive
async def test_writes_without_a_lock_lose_nothing(session, staff, unlocked):
    """Writes of more than one request may interleave; each process finds its own items once, in order."""
    append_in_rounds(staff, unlocked)
    assert_complete(await contents(session))


@pytest.mark.parametrize("seed", one_in(3, SEEDS))
@pytest.mark.exhaustive
async def test_writes_without_a_lock_lose_nothing_under_faults(emulator, session, staff, unlocked, seed):
    """As long as the items of different processes differ, cut requests are told apart without a lock."""
    upset(emulator, seed=seed)
    append_in_rounds(staff, unlocked)
    emulator.clear_faults()
    assert_complete(await contents(session))
