"""`context_management`: the server compacts within a response, and the session reads from there on."""

from __future__ import annotations

import pytest

from openai_sessions.emulator import Fault

from .stage import MODEL

LONG = "word " * 1200
MANAGED = {"context_management": [{"type": "compaction", "compact_threshold": 1000}]}


async def ask(stage, text, *, client=None, **options):
    chosen = client or stage.session.client()
    return await chosen.responses.create(
        model=MODEL, conversation=stage.conversation_id, input=text, **{**MANAGED, **options}
    )


def kinds(items):
    return [item.get("role") or item["type"] for item in items]


async def filled(stage):
    """Leave a history that exceeds the threshold, and the texts that the next replies are shown."""
    await stage.session.add_items([{"role": "user", "content": LONG}, {"role": "assistant", "content": "a"}])
    stage.emulator.forget_requests()
    return ["user", "assistant"]


async def test_an_input_over_the_threshold_is_compacted_before_the_answer(stage):
    before = await filled(stage)
    seen = []
    stage.emulator.reply(lambda request: seen.append(request) or "Fine.", times=2)
    response = await ask(stage, "And?")
    assert [item.type for item in response.output] == ["compaction", "message"]
    assert stage.stored == [*before, "user", "compaction", "assistant"]
    await ask(stage, "Next?")
    assert [kinds(request.items) for request in seen] == [
        ["compaction", "user"],
        ["user", "compaction", "assistant", "user"],
    ]
    assert kinds(seen[1].compacted_items) == before
    assert kinds(await stage.session.get_items()) == kinds([*seen[1].items, {"role": "assistant"}])
    assert response.usage.input_tokens > 1000


async def test_an_answer_over_the_threshold_is_compacted_behind_it(stage):
    """As in a recorded exchange of the API, whose input was below it."""
    stage.emulator.reply(LONG)
    response = await ask(stage, "A story?")
    assert [item.type for item in response.output] == ["message", "compaction"]
    assert kinds(await stage.session.get_items()) == ["compaction"]


async def test_below_the_threshold_nothing_is_compacted(stage):
    response = await ask(stage, "Hello")
    assert [item.type for item in response.output] == ["message"]
    await filled(stage)
    response = await ask(stage, "Hello", context_management=[{"type": "compaction"}])
    assert [item.type for item in response.output] == ["message"]


async def test_a_compaction_item_is_streamed_as_any_item(stage):
    await filled(stage)
    events = [event async for event in await ask(stage, "And?", stream=True)]
    items = [
        (event.type, event.output_index, event.item.type)
        for event in events
        if event.type.startswith("response.output_item")
    ]
    assert items == [
        (f"response.output_item.{name}", index, kind)
        for index, kind in enumerate(["compaction", "message"])
        for name in ("added", "done")
    ]
    assert [item.type for item in events[-1].response.output] == ["compaction", "message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_lost_reply_with_a_compaction_item_is_found(stage, stream):
    before = await filled(stage)
    stage.emulator.inject(Fault("cut_after_commit"), operation="create_response")
    answer = await ask(stage, "And?", stream=stream)
    response = [event async for event in answer][-1].response if stream else answer
    assert [item.type for item in response.output] == ["compaction", "message"]
    assert stage.stored == [*before, "user", "compaction", "assistant"]
    assert stage.sent() == 1


async def test_a_turn_that_fails_is_deleted_with_its_compaction_item(stage):
    before = await filled(stage)
    responses = []

    async def failing():
        async with stage.session.turn(server_managed=True) as turn:
            responses.append(await ask(stage, "And?", client=turn.client))
            raise LookupError

    with pytest.raises(LookupError):
        await failing()
    assert [item.type for item in responses[0].output] == ["compaction", "message"]
    assert stage.stored == before
    async with stage.session.turn(server_managed=True) as turn:
        await ask(stage, "And?", client=turn.client)
    assert kinds(await stage.session.get_items()) == ["user", "compaction", "assistant"]
