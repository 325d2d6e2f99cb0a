"""Usage of named sessions by turn."""

import asyncio
from types import SimpleNamespace

import pytest

from openai_sessions import ConversationNotCreatedError, OpenAIConversationsSession, Usage
from openai_sessions.emulator import Fault

from .stage import hooked_client, user


class Counter:
    """The usage object of an Agents SDK run."""

    def __init__(self, tokens):
        self.requests, self.input_tokens, self.output_tokens, self.total_tokens = 1, tokens, 1, tokens + 1
        self.input_tokens_details = SimpleNamespace(cached_tokens=2)
        self.output_tokens_details = SimpleNamespace(reasoning_tokens=3)


def run_of(tokens):
    return SimpleNamespace(context_wrapper=SimpleNamespace(usage=Counter(tokens)), raw_responses=[])


def used(tokens, *, times=1):
    return Usage(
        requests=times,
        input_tokens=tokens,
        cached_tokens=2 * times,
        output_tokens=times,
        reasoning_tokens=3 * times,
        total_tokens=tokens + times,
    )


@pytest.fixture
async def session(directory):
    session = await directory.session("user_1")
    await session.add_items([user("1")])
    return session


async def mirrored(client, session):
    """Return the totals as read by a session that knows only the id."""
    resumed = OpenAIConversationsSession(conversation_id=session.session_id, openai_client=client)
    return await resumed.get_session_usage()


async def test_usage_is_stored_by_turn_and_mirrored_in_the_metadata(directory, session, client):
    await session.store_run_usage(run_of(10))
    await session.add_items([user("2")])
    await session.store_run_usage(run_of(20))
    await session.store_run_usage(run_of(30))
    assert {1: used(10), 2: used(50, times=2)} == await session.get_turn_usage()
    assert (used(10), None) == (await session.get_turn_usage(1), await session.get_turn_usage(3))
    assert used(60, times=3) == await session.get_session_usage()
    assert used(60, times=3) == await mirrored(client, session)


async def test_usage_of_a_name_is_read_without_using_it(open_directory, directory, session):
    """That of its current branch, in its own tenant."""
    await session.store_run_usage(run_of(10))
    before = await directory.get("user_1")
    assert {1: used(10)} == await directory.get_turn_usage("user_1")
    assert {} == await directory.get_turn_usage("none")
    assert {} == await open_directory(tenant="other").get_turn_usage("user_1")
    assert before == await directory.get("user_1")
    branch = await directory.fork("user_1", "branch")
    await directory.switch("user_1", "branch")
    assert {} == await directory.get_turn_usage("user_1")
    await branch.store_run_usage(run_of(20))
    assert {1: used(20)} == await directory.get_turn_usage("user_1")


async def test_each_run_is_counted_once(session, emulator):
    run = run_of(10)
    await session.store_run_usage(run)
    emulator.forget_requests()
    await session.store_run_usage(run)
    assert () == emulator.requests
    run.context_wrapper.usage.input_tokens += 5
    run.context_wrapper.usage.total_tokens += 5
    await session.store_run_usage(run)
    assert (1, 15) == (
        (await session.get_session_usage()).requests,
        (await session.get_session_usage()).input_tokens,
    )


async def test_runs_without_usage_store_nothing(directory, session):
    unused = await directory.session("user_2")
    assert (None, {}) == (await unused.get_session_usage(), await unused.get_turn_usage())
    with pytest.raises(ConversationNotCreatedError):
        await unused.store_run_usage(run_of(10))
    with pytest.raises(TypeError, match="usage"):
        await session.store_run_usage(object())
    await session.store_run_usage(SimpleNamespace(context_wrapper=SimpleNamespace(usage=None)))
    assert await session.get_session_usage() is None


async def test_concurrent_usage_is_complete(directory, other, client):
    """Each session reads and writes the metadata; the last writer has the newest sum."""
    session = await directory.session("user_1")
    await session.add_items([user("1")])
    sessions = [await (directory, other)[number % 2].session("user_1") for number in range(6)]
    await asyncio.gather(*(each.store_run_usage(run_of(10)) for each in sessions))
    assert used(60, times=6) == await session.get_session_usage()
    assert used(60, times=6) == await mirrored(client, session)


async def test_next_call_writes_the_metadata_that_failed(session, emulator, client):
    run = run_of(10)
    emulator.inject(Fault("quota"), operation="update_conversation")
    with pytest.raises(Exception, match="quota"):
        await session.store_run_usage(run)
    assert used(10) == await session.get_session_usage()
    assert await mirrored(client, session) is None
    await session.store_run_usage(run)
    assert used(10) == await session.get_session_usage()
    assert used(10) == await mirrored(client, session)


async def test_next_call_stores_the_run_that_failed(session, emulator):
    run = run_of(10)
    emulator.inject(Fault("quota"), operation="list_items")
    with pytest.raises(Exception, match="quota"):
        await session.store_run_usage(run)
    assert await session.get_session_usage() is None
    await session.store_run_usage(run)
    assert used(10) == await session.get_session_usage()


async def test_usage_is_stored_by_turn_and_model(session, client):
    await session.store_run_usage(run_of(10), model="gpt-5.2")
    await session.store_run_usage(run_of(20), model="gpt-5-mini")
    await session.add_items([user("2")])
    await session.store_run_usage(run_of(30), model="gpt-5.2")
    await session.store_run_usage(run_of(40))
    first, second = (await session.get_turn_usage()).values()
    assert [("gpt-5-mini", 20), ("gpt-5.2", 10)] == tokens_by_model(first)
    assert [("gpt-5.2", 30), ("", 40)] == tokens_by_model(second)
    total = await session.get_session_usage()
    assert [("gpt-5-mini", 20), ("gpt-5.2", 40), ("", 40)] == tokens_by_model(total)
    assert first + second == total == await mirrored(client, session)


def tokens_by_model(usage):
    return [(part.model, part.input_tokens) for part in usage.parts()]


async def test_long_inputs_are_stored_for_themselves(session, client):
    for tokens in (10, 300_000, 20):
        run = SimpleNamespace(model="gpt-5.2", usage=Counter(tokens))
        await session.store_run_usage(run)
    total = await session.get_session_usage()
    assert [(False, 30), (True, 300_000)] == [(part.long_input, part.input_tokens) for part in total.models]
    assert total == await mirrored(client, session)


async def test_totals_that_could_not_be_read_again_change_nothing(session):
    await session.store_run_usage(run_of(10))
    with pytest.raises(ValueError, match="requests=-1"):
        await session.set_session_usage(Usage(-1))
    assert used(10) == await session.get_session_usage()


async def test_cleared_name_has_no_usage(directory, session):
    await session.store_run_usage(run_of(10))
    await session.clear_session()
    assert await session.get_session_usage() is None
    with pytest.raises(ConversationNotCreatedError):
        await session.store_run_usage(run_of(20))


async def test_branches_have_separate_usage(directory, session):
    await session.store_run_usage(run_of(10))
    fork = await directory.fork("user_1", "retry")
    await fork.store_run_usage(run_of(20))
    assert used(10) == await session.get_session_usage()
    assert used(20) == await fork.get_session_usage()


async def test_set_total_replaces_the_turns(session, client):
    await session.store_run_usage(run_of(10))
    await session.set_session_usage(used(5))
    assert {0: used(5)} == await session.get_turn_usage()
    assert used(5) == await mirrored(client, session)
    with pytest.raises(TypeError):
        await session.set_session_usage(5)


async def test_sum_increased_meanwhile_is_written_again(open_directory, other, emulator, client):
    """Usage added by another process between reading and writing the sum reaches the metadata."""
    waiting = [run_of(20)]

    async def add_elsewhere(request):
        if waiting and request.method == "POST" and b"usage" in request.content:
            waiting.pop()
            elsewhere = await other.session("user_1")
            await elsewhere._usage.add(elsewhere._registration.opened, 1, used(20))

    async with hooked_client(emulator, add_elsewhere) as hooked:
        session = await open_directory(openai_client=hooked).session("user_1")
        await session.add_items([user("1")])
        await session.store_run_usage(run_of(10))
    assert [] == waiting
    assert used(30, times=2) == await mirrored(client, session)
