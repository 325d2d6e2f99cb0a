"""Which model has used what: of runs, of responses, and of totals."""

from dataclasses import asdict
from types import SimpleNamespace

import pytest
from agents import Agent, OpenAIResponsesModel, RunConfig, Runner, RunState, function_tool

from openai_sessions import OpenAIConversationsSession, Usage
from openai_sessions.session import ModelUsage

from .results import ONE, agents_usage, result_of, times

LONG = Usage(requests=1, input_tokens=272_001, output_tokens=1, total_tokens=272_002)


def of(model, usage=ONE, *, long_input=False):
    """Return a usage as that of a model."""
    numbers = {name: number for name, number in asdict(usage).items() if name != "models"}
    return ModelUsage(**numbers, model=model, long_input=long_input)


def used_by(*parts):
    return Usage.of_models(parts)


def requests_by_model(usage):
    return {part.model: part.requests for part in usage.parts()}


@function_tool(needs_approval=True)
def delete(path: str) -> str:
    return f"Deleted {path}."


@pytest.fixture
def agent_of(client):
    def agent_of(name, model, **options):
        return Agent(name=name, model=OpenAIResponsesModel(model, client), **options)

    return agent_of


def calls(name, **arguments):
    return {"type": "function_call", "name": name, "arguments": arguments}


async def session_on(client):
    session = OpenAIConversationsSession(openai_client=client)
    await session.ensure_conversation()
    return session


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_model_of_a_request_is_that_of_its_agent(emulator, client, agent_of, is_streamed):
    second = agent_of("Second", "gpt-5.2")
    first = agent_of("First", "gpt-5-mini", handoffs=[second])
    emulator.reply(calls("transfer_to_second"))
    emulator.reply("Hello")
    session = OpenAIConversationsSession(openai_client=client)
    if is_streamed:
        result = Runner.run_streamed(first, "Hi", session=session)
        async for _ in result.stream_events():
            pass
    else:
        result = await Runner.run(first, "Hi", session=session)
    await session.store_run_usage(result)
    before, after = (response.usage for response in result.raw_responses)
    total = await session.get_session_usage()
    assert [
        ("gpt-5-mini", before.input_tokens, before.output_tokens),
        ("gpt-5.2", after.input_tokens, after.output_tokens),
    ] == [(part.model, part.input_tokens, part.output_tokens) for part in total.models]
    assert total.models == total.parts()


async def test_model_of_an_agent_that_is_a_tool_is_not_known(emulator, client, agent_of):
    nested = agent_of("Nested", "gpt-5-nano")
    agent = agent_of("First", "gpt-5-mini", tools=[nested.as_tool("ask", "Asks.")])
    for reply in (calls("ask", input="?"), "An answer", "Done"):
        emulator.reply(reply)
    result = await Runner.run(agent, "Hi", session=OpenAIConversationsSession(openai_client=client))
    assert {"gpt-5-mini": 2, "": 1} == requests_by_model(Usage.of_run(result))
    assert {"gpt-5": 3} == requests_by_model(Usage.of_run(result, model="gpt-5"))


async def test_model_that_is_given_is_that_of_all_requests(client):
    """The result does not show that `RunConfig` has another one."""
    agent = Agent(name="Guide", model="gpt-5-mini")
    session = OpenAIConversationsSession(openai_client=client)
    config = RunConfig(model=OpenAIResponsesModel("gpt-5.2", client))
    result = await Runner.run(agent, "Hi", session=session, run_config=config)
    await session.store_run_usage(result, model="gpt-5.2")
    assert {"gpt-5.2": 1} == requests_by_model(await session.get_session_usage())


async def test_agent_without_a_model_has_the_default_one(monkeypatch, client):
    monkeypatch.setenv("OPENAI_DEFAULT_MODEL", "gpt-5.1")
    config = RunConfig(model=OpenAIResponsesModel("gpt-5.1", client))
    result = await Runner.run(Agent(name="Guide"), "Hi", run_config=config)
    assert {"gpt-5.1": 1} == requests_by_model(Usage.of_run(result))


async def test_run_of_a_state_that_was_serialised_has_its_model(emulator, client, agent_of):
    """The state has other objects for the same items."""
    agent = agent_of("Guide", "gpt-5-mini", tools=[delete])
    emulator.reply(calls("delete", path="a"))
    emulator.reply("Done.")
    session = OpenAIConversationsSession(openai_client=client)
    stopped = (await Runner.run(agent, "Delete a.", session=session)).to_state()
    state = await RunState.from_json(agent, stopped.to_json())
    state.approve(state.get_interruptions()[0])
    await session.store_run_usage(await Runner.run(agent, state, session=session))
    assert {"gpt-5-mini": 2} == requests_by_model(await session.get_session_usage())


@pytest.mark.parametrize("model", [None, "gpt-5.2"])
async def test_response_has_its_model(emulator, client, model):
    session = await session_on(client)
    response = await client.responses.create(model="gpt-5-mini", conversation=session.session_id, input="Hi")
    emulator.forget_requests()
    for _ in range(2):
        await session.store_run_usage(response, model=model)
    assert ["retrieve_conversation", "update_conversation"] == [each.operation for each in emulator.requests]
    total = await session.get_session_usage()
    assert {model or response.model: 1} == requests_by_model(total)
    assert response.usage.total_tokens == total.total_tokens


async def test_response_whose_usage_is_unknown_is_not_counted(client):
    session = await session_on(client)
    await session.store_run_usage(SimpleNamespace(model="gpt-5-mini", usage=None))
    assert await session.get_session_usage() is None


def test_long_inputs_are_added_up_for_themselves():
    result = result_of(Usage())
    for usage in (ONE, LONG, ONE):
        result.context_wrapper.usage.add(agents_usage(usage))
    expected = used_by(of("m", times(2)), of("m", LONG, long_input=True))
    assert expected == Usage.of_run(result, model="m")


def run_by(agent, used, *, request=ONE):
    """Return the result of a run that has used this much, with one response of an agent."""
    item, result = object(), result_of(used)
    result.raw_responses = [SimpleNamespace(output=[item], usage=agents_usage(request))]
    result.new_items = [SimpleNamespace(raw_item=item, agent=agent)]
    return result


def test_responses_that_the_run_has_not_counted_are_of_no_model():
    result = run_by(SimpleNamespace(model="gpt-5.2"), ONE, request=times(2))
    assert ONE == Usage.of_run(result)


@pytest.mark.parametrize("model", [None, 5, "x" * 101, "two\nlines", "\ud800", SimpleNamespace(model=5)])
def test_model_of_an_agent_that_cannot_be_stored_is_not_known(monkeypatch, model):
    monkeypatch.setenv("OPENAI_DEFAULT_MODEL", "")
    assert ONE == Usage.of_run(run_by(SimpleNamespace(model=model), ONE))


def test_agent_that_was_released_has_no_model():
    assert ONE == Usage.of_run(run_by(None, ONE))


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (5, TypeError, "model must be a string, not int"),
        ("", ValueError, "model='': give the name of a model, of at most 100 printable characters"),
        ("x" * 101, ValueError, "at most 100"),
        ("two\nlines", ValueError, "printable"),
    ],
)
async def test_model_that_cannot_be_stored_is_refused_before_any_request(
    emulator, client, model, error, message
):
    session = await session_on(client)
    emulator.forget_requests()
    with pytest.raises(error, match=message):
        await session.store_run_usage(result_of(), model=model)
    assert () == emulator.requests


def test_sum_has_the_models_in_order():
    total = used_by(of("b")) + ONE + used_by(of("a"), of("b"))
    assert times(4).numbers() == total.numbers()
    assert (of("a"), of("b", times(2))) == total.models
    assert (*total.models, of("", ONE)) == total.parts()
    assert hash(total) == hash(used_by(of("a"), of("b", times(2)), of("")))


def test_usage_since_then_is_that_of_its_model():
    before = used_by(of("a"), of("b"))
    assert used_by(of("b"), of("c")) == (before + used_by(of("b"), of("c"))).since(before)


def test_usage_since_then_is_of_no_model_if_models_before_have_changed():
    assert ONE == used_by(of("b", times(2))).since(used_by(of("a")))


async def test_run_is_counted_once_whatever_its_model_is_said_to_be(client):
    session, result = await session_on(client), result_of()
    for model in ("a", "b", None):
        await session.store_run_usage(result, model=model)
    assert used_by(of("a")) == await session.get_session_usage()


async def test_totals_by_model_are_replaced(client):
    session, usage = await session_on(client), used_by(of("a"), of("b"), of(""))
    await session.set_session_usage(usage)
    assert usage == await session.get_session_usage()


@pytest.mark.parametrize(
    ("usage", "message"),
    [
        (Usage(models=(of("a"),)), "have used more than its total"),
        (Usage(*times(2).numbers(), models=(of("b"), of("a"))), "not ordered by name"),
        (Usage(*times(2).numbers(), models=(of("a"), of("a"))), "not ordered by name"),
        (Usage(*ONE.numbers(), models=(of("x" * 101),)), "at most 100"),
        (Usage(*ONE.numbers(), models=(of(""),)), "model=''"),
        (Usage(1, models=(ModelUsage(1.5, model="a"),)), r"requests=1\.5"),
    ],
)
async def test_totals_whose_models_could_not_be_read_again_are_refused(emulator, client, usage, message):
    session = await session_on(client)
    emulator.forget_requests()
    with pytest.raises(ValueError, match=message):
        await session.set_session_usage(usage)
    assert () == emulator.requests
