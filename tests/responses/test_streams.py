"""Streams that are cut: completed from what is stored, sent again, or raised as incomplete."""

import pytest

from openai_sessions.emulator import Fault
from openai_sessions.errors import IncompleteResponseError

from .stage import MODEL, text_of

REPLY = [
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "A short sum."}]},
    "It is five.",
    {"type": "function_call", "name": "add", "arguments": {"a": 2}, "call_id": "call_1"},
    {"type": "custom_tool_call", "name": "run", "input": "print(5)", "call_id": "call_2"},
]
KINDS = ["reasoning", "message", "function_call", "custom_tool_call"]
STORED = ["user", "reasoning", "assistant", "function_call", "custom_tool_call"]


async def asked(stage, **options):
    """Return the events of a streamed response."""
    client = stage.session.client()
    stream = await client.responses.create(
        model=MODEL, input="2 + 3?", conversation=stage.conversation_id, stream=True, **options
    )
    return [event async for event in stream]


def is_whole(events):
    """Return whether the parts that the events stream are those of the final response."""
    said = {}
    for event in events:
        if event.type.endswith(".delta"):
            said[event.output_index] = said.get(event.output_index, "") + event.delta
    reasoning, message, call, custom = events[-1].response.output
    final = [reasoning.summary[0].text, message.content[0].text, call.arguments, custom.input]
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert [each.type for each in done] == KINDS
    assert list(range(len(events))) == [event.sequence_number for event in events]
    return final == [said[index] for index in range(4)]


async def count_events(stage):
    stage.emulator.reply(REPLY)
    whole = await asked(stage)
    assert is_whole(whole)
    await stage.session.clear_session()
    stage.conversation_id = await stage.session.ensure_conversation()
    return [event.type for event in whole]


async def cut_at(stage, kind, after, *, inside=False, store=True):
    stage.emulator.reply(REPLY, times=2)
    stage.emulator.inject(
        Fault(kind, after_events=after, inside_event=inside, delay=0), operation="create_response"
    )
    stage.emulator.forget_requests()
    return await asked(stage, store=store)


@pytest.mark.parametrize("store", [True, False], ids=["stored", "not stored"])
async def test_a_stream_that_is_cut_is_completed(stage, store):
    events = await cut_at(stage, "cut_mid_stream_after_commit", 12, inside=True, store=store)
    assert is_whole(events)
    assert STORED == stage.stored
    found = ["retrieve_response"] if store else ["retrieve_response", "list_items"]
    assert ["list_items", "create_response", *found] == stage.operations
    assert ("openai_sessions.rebuilt" in events[-1].response.metadata) is not store
    assert events[0].response.id == events[-1].response.id


async def test_a_stream_that_is_cut_before_its_first_output_is_sent_again(stage):
    events = await cut_at(stage, "cut_mid_stream", 2)
    assert is_whole(events)
    assert STORED == stage.stored
    looks = ["retrieve_response", "list_items"] * 2
    assert ["list_items", "create_response", *looks, "create_response"] == stage.operations


async def test_a_stream_of_which_nothing_is_stored_is_incomplete(stage):
    with pytest.raises(IncompleteResponseError, match="two searches did not find it") as caught:
        await cut_at(stage, "cut_mid_stream", 5)
    assert caught.value.is_stored is False
    assert caught.value.response_id.startswith("resp_")
    assert [] == stage.stored


async def test_what_was_received_of_a_text_is_not_told_again(stage):
    stage.emulator.reply("one two three", times=2)
    stage.emulator.inject(Fault("cut_mid_stream_after_commit", after_events=5), operation="create_response")
    events = await asked(stage)
    assert "one two three" == text_of(events)
    assert ["one", " two three"] == [event.delta for event in events if event.type.endswith("text.delta")]


@pytest.mark.exhaustive
@pytest.mark.parametrize("inside", [False, True], ids=["between", "inside"])
@pytest.mark.parametrize("kind", ["cut_mid_stream_after_commit", "cut_mid_stream_late_commit"])
async def test_a_stream_that_is_cut_at_any_event(stage, kind, inside):
    types = await count_events(stage)
    for after in range(len(types)):
        events = await cut_at(stage, kind, after, inside=inside)
        await stage.emulator.late_commits()
        assert is_whole(events), after
        assert STORED == stage.stored, after
        stage.emulator.clear_replies()
        await stage.session.clear_session()
        stage.conversation_id = await stage.session.ensure_conversation()


@pytest.mark.exhaustive
async def test_a_stream_that_is_never_stored_is_cut_at_any_event(stage):
    types = await count_events(stage)
    for after in range(len(types)):
        try:
            events = await cut_at(stage, "cut_mid_stream", after)
        except IncompleteResponseError as error:
            incomplete = error
        else:
            incomplete = None
            assert after <= 2
            assert is_whole(events)
        assert ([] if incomplete else STORED) == stage.stored
        assert incomplete is None or (after > 2 and incomplete.is_stored is False)
        stage.emulator.clear_replies()
        await stage.session.clear_session()
        stage.conversation_id = await stage.session.ensure_conversation()
