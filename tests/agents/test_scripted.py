"""Our scripted model does what the SDK's does, as far as the tests here use it."""

import pytest
from agents import Agent, Runner

from .scripted import OurScriptedModel, ScriptedModel, SdkScriptedModel, says

MODELS = [model for model in (OurScriptedModel, SdkScriptedModel) if model]


@pytest.fixture(params=MODELS)
def model_class(request):
    return request.param


def test_scripted_model_is_the_sdks_where_it_has_one():
    assert ScriptedModel is (SdkScriptedModel or OurScriptedModel)


async def test_scripted_model_answers_and_keeps_what_it_was_shown(model_class):
    model = model_class([[says("Hello.")]])

    result = await Runner.run(Agent(name="Guide", model=model), [{"role": "user", "content": "Hi."}])

    assert "Hello." == result.final_output
    assert [[{"role": "user", "content": "Hi."}]] == [call.input for call in model.calls]
    model.assert_complete()


async def test_scripted_model_answers_a_streamed_run(model_class):
    model = model_class([[says("Hello.")]])

    result = Runner.run_streamed(Agent(name="Guide", model=model), "Hi.")
    events = [event async for event in result.stream_events()]

    assert "Hello." == result.final_output
    assert "message_output_created" in [getattr(event, "name", None) for event in events]


async def test_scripted_model_raises_a_step_that_is_an_error(model_class):
    model = model_class([ConnectionError("gone")])

    with pytest.raises(ConnectionError, match="gone"):
        await Runner.run(Agent(name="Guide", model=model), "Hi.")


async def test_scripted_model_refuses_a_call_too_many(model_class):
    with pytest.raises(Exception, match=r"no scripted steps remain|once more than scripted"):
        await Runner.run(Agent(name="Guide", model=model_class([])), "Hi.")


def test_scripted_model_says_when_steps_are_left(model_class):
    with pytest.raises(Exception, match=r"1 scripted (model )?step"):
        model_class([[says("Hello.")]]).assert_complete()
