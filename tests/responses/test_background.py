"""Responses that run in the background."""

import pytest

from openai_sessions.emulator import Fault

from .stage import MODEL, text_of


def ask(stage, client=None, **options):
    client = client or stage.session.client()
    return client.responses.create(
        model=MODEL, input="Hi", conversation=stage.conversation_id, background=True, **options
    )


async def test_it_is_returned_at_once(stage):
    with stage.emulator.hold_background():
        assert "queued" == (await ask(stage)).status
    await stage.emulator.background_responses()
    assert ["user", "assistant"] == stage.stored


async def test_one_whose_id_arrived_is_returned_while_it_runs(stage):
    stage.emulator.inject(Fault("truncated_body"), operation="create_response")
    with stage.emulator.hold_background():
        response = await ask(stage)
        assert response.status in {"in_progress", "queued"}
    await stage.emulator.background_responses()
    ended = await stage.client.responses.retrieve(response.id)
    assert "You said: Hi" == ended.output_text
    assert 1 == stage.sent()


async def test_one_whose_reply_is_lost_is_found_when_it_has_ended(stage):
    """Until then the conversation is locked."""
    stage.emulator.reply("Hello.", delay=0.02)
    stage.emulator.inject(Fault("cut_after_commit"), operation="create_response")
    assert "Hello." == (await ask(stage)).output_text
    assert ["user", "assistant"] == stage.stored


async def test_a_stream_in_the_background(stage):
    events = [event.type async for event in await ask(stage, stream=True)]
    assert "response.completed" == events[-1]
    assert ["user", "assistant"] == stage.stored


@pytest.mark.parametrize("after", [0, 2, 5])
async def test_a_stream_in_the_background_that_is_cut(stage, after):
    stage.emulator.reply("one two three", delay=0.005)
    stage.emulator.inject(
        Fault("cut_mid_stream_after_commit", after_events=after), operation="create_response"
    )
    events = [event async for event in await ask(stage, stream=True)]
    assert "one two three" == text_of(events) == events[-1].response.output_text
    assert ["user", "assistant"] == stage.stored


async def failing(stage, runs):
    async with stage.session.turn(server_managed=True) as turn:
        await ask(stage, turn.client)
        if not runs:
            await stage.emulator.background_responses()
        raise KeyError


@pytest.mark.parametrize("runs", [True, False])
async def test_a_turn_that_fails_cancels_it_or_deletes_what_it_has_added(stage, runs):
    if not runs:
        with pytest.raises(KeyError):
            await failing(stage, runs)
    else:
        with stage.emulator.hold_background(), pytest.raises(KeyError):
            await failing(stage, runs)
    await stage.emulator.background_responses()
    assert [] == stage.stored
    assert ("cancelled" if runs else "completed") == await status(stage)


async def status(stage):
    (response_id,) = {
        request.path.split("/")[-1]
        for request in stage.emulator.requests
        if request.operation == "retrieve_response"
    }
    return (await stage.client.responses.retrieve(response_id)).status
