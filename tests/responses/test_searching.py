"""Which items are taken for those of a response whose reply was lost."""

import asyncio

import openai
import pytest

from openai_sessions import RetryPolicy
from openai_sessions.emulator import Fault
from openai_sessions.errors import IncompleteResponseError, RedirectError
from tests.wire import Wire, error, page

from .stage import CALL, MODEL, QUESTION

SAID = {"role": "user", "content": QUESTION}


def ask(stage, client=None, given=QUESTION, **options):
    client = client or stage.session.client()
    return client.responses.create(model=MODEL, input=given, conversation=stage.conversation_id, **options)


async def test_an_equal_question_before_is_not_taken_for_it(stage):
    stage.emulator.reply("First.")
    stage.emulator.reply("Second.")
    await ask(stage)
    stage.emulator.inject(Fault("cut_before"), operation="create_response")
    assert "Second." == (await ask(stage)).output_text
    assert ["user", "assistant"] * 2 == stage.stored


async def test_an_equal_question_of_another_worker_since_the_last_reply_is_not_taken_for_it(stage):
    client = stage.session.client()
    await ask(stage, client, given="Hello")
    stage.emulator.reply("Theirs.")
    stage.emulator.reply("Ours.")
    await ask(stage, stage.client)
    stage.emulator.inject(Fault("cut_before"), operation="create_response")
    assert "Ours." == (await ask(stage, client)).output_text


async def test_a_write_of_the_session_looks_for_what_responses_have_added(stage):
    await stage.session.add_items([SAID])
    await ask(stage)
    stage.emulator.forget_requests()
    await stage.session.add_items([SAID])
    await stage.session.add_items([SAID])
    assert ["list_items", "create_items", "create_items"] == stage.operations


async def test_a_response_of_this_process_is_not_taken_for_another_one(stage):
    """Both ask the same, and the one whose reply is lost was not stored."""
    stage.emulator.reply("First.")
    stage.emulator.reply("Second.")
    client = stage.session.client()

    stage.emulator.inject(Fault("cut_before"), operation="create_response")
    first, second = await asyncio.gather(ask(stage, client), ask(stage, stage.session.client()))
    assert {"First.", "Second."} == {first.output_text, second.output_text}
    assert ["user", "assistant"] * 2 == stage.stored


async def test_a_long_output_is_found_whole(stage):
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": []}
    stage.emulator.reply([reasoning, "Let me see.", CALL])
    stage.emulator.inject(Fault("cut_after_commit"), operation="create_response")
    response = await ask(stage)
    assert ["reasoning", "message", "function_call"] == [item.type for item in response.output]


async def test_a_rebuilt_response_says_so(stage, caplog):
    stage.emulator.inject(Fault("cut_after_commit"), operation="create_response")
    response = await ask(stage, metadata={"a": "b"})
    assert {"a": "b", "openai_sessions.rebuilt": "true"} == response.metadata
    assert ("", None, "completed", MODEL) == (response.id, response.usage, response.status, response.model)
    assert stage.conversation_id == response.conversation.id
    assert "rebuilt from its items" in caplog.text


async def test_a_response_without_input_is_found(stage):
    await stage.session.add_items([SAID])
    stage.emulator.reply("Five.")
    stage.emulator.inject(Fault("cut_after_commit"), operation="create_response")
    assert "Five." == (await ask(stage, given=[])).output_text
    assert ["user", "assistant"] == stage.stored


async def test_more_copies_than_sends_are_not_told_apart(stage):
    """Others have asked the same twice meanwhile."""

    async def ask_twice(request):
        for _ in range(2):
            await stage.session.add_items([SAID, {"role": "assistant", "content": "5"}])

    client = _before_sending(stage, ask_twice)
    stage.emulator.inject(Fault("cut_before"), operation="create_response")
    with pytest.raises(IncompleteResponseError, match="2 copies") as caught:
        await ask(stage, client)
    assert caught.value.is_stored is None
    assert 1 == stage.sent()


async def test_a_history_that_was_deleted_meanwhile_tells_nothing(stage):
    await stage.session.add_items([SAID])

    async def clear(request):
        await stage.session.clear_session(keep_conversation=True)
        await stage.session.add_items([SAID])

    client = _before_sending(stage, clear)
    stage.emulator.inject(Fault("cut_before"), operation="create_response")
    with pytest.raises(IncompleteResponseError, match="none of the items known before") as caught:
        await ask(stage, client, given="And?")
    assert caught.value.is_stored is None


async def test_a_search_that_fails_tells_nothing(stage):
    stage.emulator.inject(Fault("cut_after_commit"), operation="create_response")
    stage.emulator.inject(Fault("quota"), operation="list_items", after=1)
    with pytest.raises(IncompleteResponseError, match="the search failed: RateLimitError") as caught:
        await ask(stage)
    assert caught.value.is_stored is None


def _before_sending(stage, hook):
    """Return a client that calls a hook before the first request for a response goes out."""
    client, calls = stage.session.client(), []

    async def call_once(request):
        if request.url.path.endswith("/responses") and not calls:
            calls.append(request)
            await hook(request)

    stage.client._client.event_hooks["request"].append(call_once)
    return client


async def test_a_conversation_that_others_hold_is_waited_for(stage):
    """For as long as the timeout of the client and the deadline of the policy together."""
    stage.emulator.inject(Fault("locked"), operation="create_response", times=20)
    assert "You said: 2 + 3?" == (await ask(stage)).output_text
    assert 21 == stage.sent()


async def test_a_response_that_is_stored_after_both_searches_stays(stage):
    stage.emulator.inject(Fault("late_commit", delay=0.1), operation="create_response")
    assert "You said: 2 + 3?" == (await ask(stage)).output_text
    await stage.emulator.late_commits()
    assert ["user", "assistant"] * 2 == stage.stored


async def test_a_refused_request_is_not_searched_for(stage):
    stage.emulator.reply(CALL)
    await ask(stage)
    stage.emulator.forget_requests()
    with pytest.raises(openai.BadRequestError, match="No tool output found"):
        await ask(stage)
    assert ["list_items", "create_response"] == stage.operations


async def test_a_server_that_always_fails_gives_its_own_error(stage):
    stage.emulator.inject(Fault("error_500_before"), operation="create_response", times=6)
    with pytest.raises(openai.InternalServerError):
        await ask(stage)
    assert 6 == stage.sent()


async def test_a_server_that_is_gone_gives_a_connection_error(stage):
    stage.emulator.inject(Fault("cut_before"), operation="create_response", times=6)
    with pytest.raises(openai.APIConnectionError, match="got no response in 6 attempts"):
        await ask(stage)
    assert [] == stage.stored


def responding(*answers, deadline=120.0):
    """Return a session on a server that lists nothing, and answers requests for responses in turn."""
    from openai_sessions import OpenAIConversationsSession, RequestSettings  # noqa: PLC0415

    left = list(answers)
    wire = Wire(lambda call: page() if call.method == "GET" else left.pop(0))
    policy = RetryPolicy(initial_wait=0.001, max_wait=0.002, settle_after=0.001, deadline=deadline)
    requests = RequestSettings(retry_policy=policy)
    return wire, OpenAIConversationsSession(openai_client=wire.client, requests=requests)


def response(**fields):
    return 200, {"object": "response", "id": "resp_1", "status": "completed", "output": [], **fields}


@pytest.mark.parametrize(
    "wrong",
    [
        response(object="list"),
        response(id=None),
        response(id=""),
        response(output=None),
        response(conversation={"id": "conv_2"}),
        (200, b"<html>"),
        (200, b""),
    ],
)
async def test_a_2xx_that_is_not_the_response_is_no_answer(wrong):
    wire, session = responding(wrong, response(conversation={"id": "conv_1"}))
    found = await session.client().responses.create(model=MODEL, input="Hi", conversation="conv_1")
    assert "resp_1" == found.id
    listed = [call.method for call in wire.calls if "/responses/" not in call.path]
    assert ["GET", "POST", "GET", "GET", "POST"] == listed


async def test_a_response_with_the_id_that_arrived_must_be_of_the_conversation():
    theirs = response(conversation={"id": "conv_2"})
    wire, session = responding(theirs, response(id="resp_2"))
    wire._answer = _retrieving(wire._answer, theirs)
    found = await session.client().responses.create(model=MODEL, input="Hi", conversation="conv_1")
    assert "resp_2" == found.id


def _retrieving(answer, stored):
    """Return an answer to requests that gives a stored response to those that retrieve it."""
    return lambda call: stored if call.path.startswith("/responses/") else answer(call)


async def test_a_response_that_names_no_conversation_is_an_answer():
    _, session = responding(response())
    found = await session.client().responses.create(model=MODEL, input="Hi", conversation="conv_1")
    assert "resp_1" == found.id


@pytest.mark.parametrize("by_id", [True, False], ids=["by id", "by items"])
async def test_a_response_that_does_not_end_is_unknown(by_id):
    """It is waited for as long as the timeout of the client and the deadline of the policy."""
    running = response(status="in_progress")
    wire, session = responding(response(output=None) if by_id else error(500), deadline=0.02)
    lists = iter([page()])
    asked = {"type": "message", "role": "user", "content": "Hi", "id": "msg_1"}
    answer = _retrieving(wire._answer, running)

    def answer_lists(call):
        return (
            next(lists, (200, {"data": [asked], "has_more": False}))
            if "/items" in call.path
            else answer(call)
        )

    wire._answer = answer_lists
    client = session.client().with_options(timeout=0.03)
    with pytest.raises(IncompleteResponseError, match="still running") as caught:
        await client.responses.create(model=MODEL, input="Hi", conversation="conv_1")
    assert caught.value.is_stored is None
    assert ["POST"] == [call.method for call in wire.calls if call.method != "GET"]


async def test_a_redirect_is_followed_with_its_body():
    wire, session = responding(None, response())
    base = str(wire.client.base_url)
    answers = iter([(307, b"", {"location": f"{base}elsewhere/responses"}), response()])
    wire._answer = lambda call: page() if call.method == "GET" else next(answers)
    await session.client().responses.create(model=MODEL, input="Hi", conversation="conv_1")
    assert ["/responses", "/elsewhere/responses"] == [call.path for call in wire.calls[1:]]
    assert wire.calls[1].body == wire.calls[2].body


async def test_a_redirect_that_would_repeat_it_as_a_get_is_an_error():
    wire, session = responding((302, b"", {"location": "/v1/elsewhere"}))
    with pytest.raises(RedirectError):
        await session.client().responses.create(model=MODEL, input="Hi", conversation="conv_1")
    assert ["GET", "POST", "GET", "GET"] == [call.method for call in wire.calls]


async def test_an_input_that_is_malformed_is_for_the_server_to_refuse():
    wire, session = responding(error(400, "invalid_type"))
    with pytest.raises(openai.BadRequestError):
        await session.client().responses.create(model=MODEL, input=5, conversation="conv_1")
    assert ["GET", "POST"] == [call.method for call in wire.calls]


async def test_an_id_that_is_no_id_is_for_the_server_to_refuse():
    wire, session = responding(error(400, "invalid_value"))
    with pytest.raises(openai.BadRequestError):
        await session.client().responses.create(model=MODEL, input="Hi", conversation="conv_1/../x")
    assert ["POST"] == [call.method for call in wire.calls]
