"""Faults of a streamed response; those of one that is not are tested with all other operations."""

import openai
import pytest

from openai_sessions.emulator import Fault
from tests.wire import HTTP_FAMILY

from .responding import MODEL, ask, refused


async def texts(client, conversation_id):
    page = await client.conversations.items.list(conversation_id, order="asc")
    return [item.content[0].text for item in page.data]


def logged(emulator):
    return [(request.fault, request.status) for request in emulator.requests if request.fault]


async def streamed(client, conversation_id, seen):
    """Read a whole stream; what it says is put into `seen`."""
    stream = await client.responses.create(
        model=MODEL, input="Hello", conversation=conversation_id, stream=True
    )
    async for event in stream:
        seen.append(event.type)


BROKEN = (openai.APIConnectionError, HTTP_FAMILY.RemoteProtocolError)
"""What reading a stream that ends too early raises, in one version of openai or another."""


@pytest.mark.parametrize(
    ("kind", "stored"),
    [("cut_mid_stream", ["first"]), ("truncated_body", ["first", "Hello", "You said: Hello"])],
)
async def test_stream_ends_in_the_middle(emulator, served, held, kind, stored):
    """What was cut before it was complete is not kept; a whole one, of which half arrives, is."""
    emulator.inject(Fault(kind), operation="create_response")
    seen = []
    with pytest.raises(BROKEN):
        await streamed(served, held, seen)
    assert "response.created" == seen[0]
    assert "response.completed" not in seen
    assert stored == await texts(served, held)
    assert [(kind, 200)] == logged(emulator)
    await streamed(served, held, seen)
    assert "response.completed" == seen[-1]


@pytest.mark.parametrize("kind", ["cut_mid_stream", "truncated_body"])
async def test_stream_that_ends_in_the_middle_in_process(emulator, kind):
    """There an answer comes whole or not at all."""
    emulator.inject(Fault(kind), operation="create_response")
    with pytest.raises(openai.APIConnectionError) as caught:
        await streamed(emulator.client().with_options(max_retries=0), None, [])
    assert HTTP_FAMILY.RemoteProtocolError is type(caught.value.__cause__)


REFUSING = {
    "cut_before": openai.APIConnectionError,
    "error_500_before": openai.InternalServerError,
    "throttled": openai.RateLimitError,
    "quota": openai.RateLimitError,
    "locked": openai.BadRequestError,
}
LOSING = {
    "cut_after_commit": openai.APIConnectionError,
    "error_500_after_commit": openai.InternalServerError,
}


@pytest.mark.parametrize("kind", [*REFUSING, *LOSING])
async def test_other_faults_come_before_the_stream(emulator, served, held, kind):
    emulator.inject(Fault(kind), operation="create_response", conversation_id=held)
    with pytest.raises({**REFUSING, **LOSING}[kind]):
        await streamed(served, held, [])
    assert (3 if kind in LOSING else 1) == len(await texts(served, held))


async def test_late_commit_of_a_response(emulator, served, held):
    emulator.inject(Fault("late_commit", delay=0.05), operation="create_response")
    with pytest.raises(openai.APIConnectionError):
        await streamed(served, held, [])
    await emulator.late_commits()
    assert 3 == len(await texts(served, held))


async def test_cut_of_what_is_no_stream_comes_before_anything(emulator, served, held):
    emulator.inject(Fault("cut_mid_stream"))
    with pytest.raises(openai.APIConnectionError):
        await served.responses.create(model=MODEL, input="Hello", conversation=held)
    assert ["first"] == await texts(served, held)


async def test_refused_stream_is_not_cut(emulator, wire):
    emulator.inject(Fault("cut_mid_stream"))
    emulator.inject(Fault("truncated_body"))
    assert 404 == (await refused(wire, stream=True, conversation="conv_unknown"))[0]
    assert [("cut_mid_stream", 404)] == logged(emulator)
    with pytest.raises(HTTP_FAMILY.RemoteProtocolError):
        await refused(wire, stream=True, conversation="conv_unknown")


async def test_fault_of_a_conversation_waits_for_it_in_the_body(emulator, wire, conversation):
    emulator.inject(Fault("throttled"), operation="create_response", conversation_id=conversation)
    await ask(wire)
    assert 429 == (await refused(wire, conversation={"id": conversation}))[0]


async def test_fault_leaves_the_script_where_nothing_was_done(emulator, wire):
    emulator.reply("a", times=2)
    emulator.inject(Fault("error_500_before"))
    emulator.inject(Fault("error_500_after_commit"))
    left = []
    for _ in range(2):
        await refused(wire)
        left.append(emulator.unused_replies)
    assert [2, 1] == left


async def test_client_that_repeats_a_lost_response_has_two(emulator, served, held):
    """The client of the openai package sends a response again, as it does everything else."""
    emulator.inject(Fault("cut_after_commit"), operation="create_response")
    await served.with_options(max_retries=1).responses.create(model=MODEL, input="Hello", conversation=held)
    assert 5 == len(await texts(served, held))
