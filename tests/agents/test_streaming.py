"""What a run that is streamed leaves in the session, and when."""

from agents import Agent, Runner

from openai_sessions import ConversationNotFoundError, OpenAIConversationsSession

from .scripted import ScriptedModel, add, calls, says
from .staging import Stage, play_alike, run_streamed


async def run_cancelled_after_its_turn(agent, given, **options):
    """Run streamed, and ask to stop after the turn once a tool is called."""
    result = Runner.run_streamed(agent, given, **options)
    async for event in result.stream_events():
        if getattr(event, "name", None) == "tool_called":
            result.cancel(mode="after_turn")
    return result


async def test_streaming_cancelled_after_a_turn_and_continued(client):
    async def scenario(stage):
        model = stage.model([calls("add", '{"a": 1, "b": 2}')], [says("3.")])
        agent = Agent(name="Adder", model=model, tools=[add])
        await stage.run(agent, "1 + 2?")
        stage.runner = run_streamed
        await stage.run(agent, "So?")

    played = await play_alike(scenario, run_cancelled_after_its_turn, client)

    assert 5 == len(played.history)


async def test_streaming_has_stored_the_turn_when_the_stream_ends(client):
    session = OpenAIConversationsSession(openai_client=client)
    agent = Agent(name="Guide", model=ScriptedModel([[says("Paris.")]]))

    result = Runner.run_streamed(agent, "The capital of France?", session=session)
    async for _ in result.stream_events():
        pass

    assert 2 == len(await session.get_items())


async def test_conversation_that_is_gone_ends_the_run_before_the_model_is_called(runner, client):
    session = OpenAIConversationsSession(conversation_id="conv_gone", openai_client=client)
    stage = Stage(runner, session)

    model = stage.model([says("Paris.")])
    await stage.run(Agent(name="Guide", model=model), "The capital of France?")

    assert [ConversationNotFoundError.__name__] == stage.outcomes
    assert () == model.calls
