"""What sessions count, and where it stands."""

from types import SimpleNamespace

import pytest
from agents import Agent, OpenAIResponsesModel, Runner, function_tool

from openai_sessions import (
    ConversationNotCreatedError,
    ConversationNotFoundError,
    OpenAIConversationsSession,
    Usage,
)
from openai_sessions._conversation.usage import USAGE_KEY, UsageRecord
from openai_sessions.errors import InvalidUsageError, MetadataFullError
from openai_sessions.session import ModelUsage

from .results import ONE, result_of, times


async def run(agent, given, session):
    return await Runner.run(agent, given, session=session)


async def run_streamed(agent, given, session):
    result = Runner.run_streamed(agent, given, session=session)
    async for _ in result.stream_events():
        pass
    return result


@function_tool(needs_approval=True)
def delete(path: str) -> str:
    return f"Deleted {path}."


def metadata_in(emulator, conversation_id):
    return next(held.metadata for held in emulator.conversations() if held.id == conversation_id)


async def session_on(client, **options):
    session = OpenAIConversationsSession(openai_client=client, **options)
    await session.ensure_conversation()
    return session


@pytest.fixture
def agent(client):
    return Agent(name="Guide", model=OpenAIResponsesModel("any", client), tools=[delete])


@pytest.mark.parametrize("runner", [run, run_streamed])
async def test_totals_are_those_of_the_answers(emulator, client, agent, runner):
    session = OpenAIConversationsSession(openai_client=client)
    used = Usage()
    for question in ("Hello", "And then?"):
        result = await runner(agent, question, session)
        reported = result.context_wrapper.usage
        assert reported.total_tokens > 0
        of_the_model = ModelUsage(
            requests=1,
            input_tokens=reported.input_tokens,
            output_tokens=reported.output_tokens,
            total_tokens=reported.total_tokens,
            model="any",
        )
        used += Usage.of_models([of_the_model])
        await session.store_run_usage(result)
    assert used == await session.get_session_usage()


async def test_every_process_that_resumes_sees_the_totals_and_goes_on(client):
    session = await session_on(client)
    await session.store_run_usage(result_of())
    resumed = OpenAIConversationsSession(conversation_id=session.session_id, openai_client=client)
    await resumed.store_run_usage(result_of())
    assert times(2) == await resumed.get_session_usage() == await session.get_session_usage()


async def test_a_count_is_one_request_to_read_and_one_to_write(emulator, client):
    session = await session_on(client)
    emulator.forget_requests()
    await session.store_run_usage(result_of())
    await session.get_session_usage()
    assert ["retrieve_conversation", "update_conversation", "retrieve_conversation"] == [
        request.operation for request in emulator.requests
    ]


async def test_other_pairs_stay(emulator, client):
    pairs = {f"key {number}": "v" * 512 for number in range(15)}
    session = await session_on(client, metadata=pairs)
    for _ in range(3):
        await session.store_run_usage(result_of())
    metadata = metadata_in(emulator, session.session_id)
    assert times(3) == UsageRecord.from_value(metadata.pop(USAGE_KEY)).total
    assert pairs == metadata


async def test_result_that_is_stored_again_counts_once(emulator, client):
    session, result = await session_on(client), result_of()
    await session.store_run_usage(result)
    emulator.forget_requests()
    await session.store_run_usage(result)
    assert () == emulator.requests
    assert ONE == await session.get_session_usage()


async def test_result_is_counted_in_each_conversation_that_it_is_stored_in(client):
    first, second, result = await session_on(client), await session_on(client), result_of()
    await first.store_run_usage(result)
    await second.store_run_usage(result)
    assert [ONE, ONE] == [await session.get_session_usage() for session in (first, second)]


@pytest.mark.parametrize("stores_the_first", [False, True])
async def test_run_that_is_resumed_counts_once(emulator, client, agent, stores_the_first):
    """The Agents SDK goes on counting where the run had stopped for an approval."""
    emulator.reply({"type": "function_call", "name": "delete", "arguments": {"path": "a"}})
    emulator.reply("Done.")
    session = OpenAIConversationsSession(openai_client=client)
    result = await run(agent, "Delete a.", session)
    if stores_the_first:
        await session.store_run_usage(result)
    state = result.to_state()
    state.approve(result.interruptions[0])
    resumed = await run(agent, state, session)
    await session.store_run_usage(resumed)
    stored = await session.get_session_usage()
    assert (2, resumed.context_wrapper.usage.total_tokens) == (stored.requests, stored.total_tokens)


async def test_run_that_is_resumed_twice_counts_what_both_have_used(emulator, client, agent):
    emulator.reply({"type": "function_call", "name": "delete", "arguments": {"path": "a"}})
    emulator.reply("Done.", times=2)
    session = OpenAIConversationsSession(openai_client=client)
    result = await run(agent, "Delete a.", session)
    await session.store_run_usage(result)
    for number in (2, 3):
        state = result.to_state()
        state.approve(result.interruptions[0])
        await session.store_run_usage(await run(agent, state, session))
        assert number == (await session.get_session_usage()).requests


async def test_run_that_cannot_be_remembered_is_counted_each_time(client):
    """Weak references find out whether a run was counted; the objects of the Agents SDK have them."""
    session = await session_on(client)
    result = SimpleNamespace(context_wrapper=SimpleNamespace(usage=SimpleNamespace(requests=1)))
    for _ in range(2):
        await session.store_run_usage(result)
    assert Usage(requests=2) == await session.get_session_usage()


@pytest.mark.parametrize("usage", [None, result_of(Usage()).context_wrapper.usage])
async def test_run_that_used_nothing_makes_no_request(emulator, client, usage):
    session = OpenAIConversationsSession(openai_client=client)
    await session.store_run_usage(SimpleNamespace(context_wrapper=SimpleNamespace(usage=usage)))
    assert () == emulator.requests


async def test_unused_session_has_no_usage_and_makes_no_request(emulator, client):
    session = OpenAIConversationsSession(openai_client=client)
    assert await session.get_session_usage() is None
    with pytest.raises(ConversationNotCreatedError, match="ensure_conversation"):
        await session.store_run_usage(result_of())
    with pytest.raises(ConversationNotCreatedError):
        await session.set_session_usage(ONE)
    assert () == emulator.requests


async def test_conversation_in_which_nothing_was_counted_has_no_usage(client):
    assert await (await session_on(client)).get_session_usage() is None


async def test_cleared_session_has_no_usage(client):
    session = await session_on(client)
    await session.store_run_usage(result_of())
    await session.clear_session()
    assert await session.get_session_usage() is None
    await session.ensure_conversation()
    assert await session.get_session_usage() is None


async def test_clearing_that_keeps_the_conversation_keeps_the_totals(client):
    session = await session_on(client)
    await session.store_run_usage(result_of())
    await session.clear_session(keep_conversation=True)
    assert ONE == await session.get_session_usage()


async def test_conversation_that_is_gone(client):
    session = OpenAIConversationsSession(conversation_id="conv_gone", openai_client=client)
    for call in (session.store_run_usage(result_of()), session.get_session_usage()):
        with pytest.raises(ConversationNotFoundError):
            await call


async def test_full_metadata_is_told_and_left_until_there_is_room(emulator, client):
    pairs = {f"key {number}": "value" for number in range(16)}
    session, result = await session_on(client, metadata=pairs), result_of()
    with pytest.raises(MetadataFullError, match=r"17 pairs .*update_metadata") as caught:
        await session.store_run_usage(result)
    assert (session.session_id, 17) == (caught.value.conversation_id, caught.value.pairs)
    assert pairs == metadata_in(emulator, session.session_id)
    assert await session.get_session_usage() is None
    await session.update_metadata({"key 3": None})
    await session.store_run_usage(result)
    assert ONE == await session.get_session_usage()


@pytest.mark.parametrize("value", ["none of ours", '{"requests":1}', "x" * 512])
async def test_value_that_is_not_ours_is_told_and_left_until_it_is_replaced(emulator, client, value):
    session, result = await session_on(client, metadata={USAGE_KEY: value, "other": "pair"}), result_of()
    for call in (session.store_run_usage, lambda _: session.get_session_usage()):
        with pytest.raises(InvalidUsageError, match=r"not a usage record: .*set_session_usage") as caught:
            await call(result)
        assert repr(value[:100])[:-1] in str(caught.value)
        assert (session.session_id, value) == (caught.value.conversation_id, caught.value.value)
    assert {USAGE_KEY: value, "other": "pair"} == metadata_in(emulator, session.session_id)
    await session.set_session_usage(Usage())
    await session.store_run_usage(result)
    assert ONE == await session.get_session_usage()
    assert {"other": "pair"} == await session.get_metadata()


async def test_totals_that_are_replaced(client):
    session = await session_on(client)
    await session.store_run_usage(result_of())
    await session.set_session_usage(times(10))
    assert times(10) == await session.get_session_usage()
    await session.store_run_usage(result_of())
    assert times(11) == await session.get_session_usage()


@pytest.mark.parametrize("usage", [None, {"requests": 1}, 3])
async def test_totals_that_are_no_usage_are_refused(client, usage):
    session = await session_on(client)
    with pytest.raises(TypeError, match=r"not (NoneType|dict|int)"):
        await session.set_session_usage(usage)


@pytest.mark.parametrize("number", [-1, 1.5, True, "7", None])
async def test_totals_that_could_not_be_read_again_are_refused(emulator, client, number):
    session = await session_on(client)
    emulator.forget_requests()
    with pytest.raises(ValueError, match=f"cached_tokens={number!r}.* a whole number, 0 or more"):
        await session.set_session_usage(Usage(cached_tokens=number))
    assert () == emulator.requests
