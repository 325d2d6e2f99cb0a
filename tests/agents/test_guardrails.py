"""A guardrail that trips leaves the same history in our session as in SQLiteSession."""

import asyncio

from agents import Agent, GuardrailFunctionOutput, input_guardrail, output_guardrail

from .scripted import add, calls, says


def is_shouted(given):
    """Tell whether a turn is in capitals; after the history when there is one."""
    last = given if isinstance(given, str) else given[-1]["content"]
    return last.isupper()


@input_guardrail(run_in_parallel=False)
async def no_shouting(context, agent, given):
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered=is_shouted(given))


@output_guardrail
async def no_secrets(context, agent, output):
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered="secret" in output)


async def test_input_guardrail_that_trips(alike):
    async def scenario(stage):
        model = stage.model([says("Hello.")], [says("Better.")])
        agent = Agent(name="Guide", model=model, input_guardrails=[no_shouting])
        await stage.run(agent, "Hi.")
        await stage.run(agent, "ANSWER ME!")
        await stage.run(agent, "Please answer.")

    played = await alike(scenario)

    assert ["Hello.", "InputGuardrailTripwireTriggered", "Better."] == played.outcomes


async def test_input_guardrail_that_trips_on_an_unused_session(alike):
    async def scenario(stage):
        agent = Agent(name="Guide", model=stage.model([says("Better.")]), input_guardrails=[no_shouting])
        await stage.run(agent, "ANSWER ME!")
        await stage.run(agent, "Please answer.")

    played = await alike(scenario)

    assert ["InputGuardrailTripwireTriggered", "Better."] == played.outcomes


async def test_input_guardrail_that_trips_while_the_model_answers(alike):
    async def scenario(stage):
        model = stage.model([says("Hello.")], [says("Better.")])

        @input_guardrail
        async def trip_once_the_model_is_called(context, agent, given):
            while not model.calls:  # noqa: ASYNC110 - a scripted model has no event to wait for
                await asyncio.sleep(0)
            return GuardrailFunctionOutput(output_info=None, tripwire_triggered=is_shouted(given))

        agent = Agent(name="Guide", model=model, input_guardrails=[trip_once_the_model_is_called])
        await stage.run(agent, "ANSWER ME!")
        await stage.run(agent, "Please answer.")

    played = await alike(scenario)

    assert ["InputGuardrailTripwireTriggered", "Better."] == played.outcomes


async def test_output_guardrail_that_trips(alike):
    async def scenario(stage):
        model = stage.model([says("Hello.")], [says("The secret is 42.")], [says("I cannot say.")])
        agent = Agent(name="Guide", model=model, output_guardrails=[no_secrets])
        await stage.run(agent, "Hi.")
        await stage.run(agent, "Tell me.")
        await stage.run(agent, "Please tell me.")

    played = await alike(scenario)

    assert ["Hello.", "OutputGuardrailTripwireTriggered", "I cannot say."] == played.outcomes


async def test_output_guardrail_that_trips_after_a_tool(alike):
    async def scenario(stage):
        model = stage.model(
            [calls("add", '{"a": 40, "b": 2}')], [says("The secret is 42.")], [says("I cannot say.")]
        )
        agent = Agent(name="Guide", model=model, tools=[add], output_guardrails=[no_secrets])
        await stage.run(agent, "Tell me.")
        await stage.run(agent, "Please tell me.")

    played = await alike(scenario)

    assert ["OutputGuardrailTripwireTriggered", "I cannot say."] == played.outcomes
