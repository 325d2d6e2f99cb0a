"""The Runner shows a model the same turns with our session as with the SDK's SQLiteSession."""

import asyncio

from agents import Agent
from openai.types.responses import ResponseOutputRefusal
from openai.types.responses.response_output_text import AnnotationURLCitation

from .normalised import normalised
from .scripted import add, calls, says


async def test_several_turns(alike):
    async def scenario(stage):
        agent = Agent(name="Guide", model=stage.model([says("Paris.")], [says("Seine.")], [says("777 km.")]))
        await stage.run(agent, "The capital of France?")
        await stage.run(agent, "The river there?")
        await stage.run(agent, "How long?")

    played = await alike(scenario)

    assert [1, 3, 5] == [len(shown) for shown in played.inputs[0]]
    assert 6 == len(played.history)


async def test_input_of_several_items_with_an_image(alike):
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"}

    async def scenario(stage):
        agent = Agent(name="Guide", model=stage.model([says("A dot.")], [says("Black.")]))
        content = [{"type": "input_text", "text": "What is this?"}, image]
        await stage.run(
            agent,
            [
                {"role": "developer", "content": "Be brief."},
                {"type": "message", "role": "user", "content": content},
            ],
        )
        await stage.run(agent, "Its colour?")

    played = await alike(scenario)

    assert image == played.history[1]["content"][1]


async def test_message_with_annotations_and_refusal(alike):
    citation = {
        "type": "url_citation",
        "url": "https://example.org",
        "title": "T",
        "start_index": 0,
        "end_index": 1,
    }

    async def scenario(stage):
        cited = says("Paris.")
        cited.content[0].annotations = [AnnotationURLCitation(**citation)]
        refused = says("")
        refused.content = [ResponseOutputRefusal(type="refusal", refusal="I will not.")]
        agent = Agent(name="Guide", model=stage.model([cited], [refused], [says("Bye.")]))
        await stage.run(agent, "The capital of France?")
        await stage.run(agent, "And its secrets?")
        await stage.run(agent, "Bye.")

    played = await alike(scenario)

    assert [citation] == played.history[1]["content"][0]["annotations"]


async def test_message_that_is_incomplete(alike):
    async def scenario(stage):
        cut = says("Once upon a")
        cut.status = "incomplete"
        agent = Agent(name="Poet", model=stage.model([cut], [says("The end.")]))
        await stage.run(agent, "A tale, please.")
        await stage.run(agent, "Go on.")

    played = await alike(scenario)

    assert "incomplete" == played.inputs[0][1][1]["status"]


async def test_error_of_the_model_and_the_turn_tried_again(alike):
    async def scenario(stage):
        agent = Agent(name="Guide", model=stage.model(ConnectionError("gone"), [says("Paris.")]))
        await stage.run(agent, "The capital of France?")
        await stage.run(agent, "Again, please.")

    played = await alike(scenario)

    assert ["ConnectionError", "Paris."] == played.outcomes


async def test_two_agents_share_a_session(alike):
    async def scenario(stage):
        poet = Agent(name="Poet", model=stage.model([says("Roses are red.")], [says("Sugar is sweet.")]))
        critic = Agent(name="Critic", model=stage.model([says("Trite.")]))
        await stage.run(poet, "A line, please.")
        await stage.run(critic, "Your opinion?")
        await stage.run(poet, "Another one.")

    played = await alike(scenario)

    assert [1, 5] == [len(shown) for shown in played.inputs[0]]


async def test_two_sessions_side_by_side(alike):
    """Runs at the same time on one server keep to their own conversations."""

    def about(country, capital):
        async def scenario(stage):
            model = stage.model([calls("add", '{"a": 1, "b": 2}')], [says(capital)], [says("Yes.")])
            agent = Agent(name=country, model=model, tools=[add])
            await stage.run(agent, f"The capital of {country}?")
            await stage.run(agent, "Sure?")

        return alike(scenario)

    france, germany = await asyncio.gather(about("France", "Paris."), about("Germany", "Berlin."))

    assert ("Berlin" in str(france), "Paris" in str(germany)) == (False, False)


async def test_a_turn_undone_with_pop_item(alike):
    async def scenario(stage):
        model = stage.model([says("Paris.")], [says("Bonn.")], [says("Berlin.")])
        agent = Agent(name="Guide", model=model)
        await stage.run(agent, "The capital of France?")
        await stage.run(agent, "And of Germany?")
        answer, question = await stage.session.pop_item(), await stage.session.pop_item()
        assert ["Bonn.", "And of Germany?"] == [item["content"] for item in normalised([answer, question])]
        await stage.run(agent, "And of Germany, today?")

    played = await alike(scenario)

    assert [1, 3, 3] == [len(shown) for shown in played.inputs[0]]
    assert "Bonn" not in str(played.history)


async def test_a_session_cleared_between_turns(alike):
    async def scenario(stage):
        agent = Agent(name="Guide", model=stage.model([says("Paris.")], [says("What?")]))
        await stage.run(agent, "The capital of France?")
        await stage.session.clear_session()
        await stage.run(agent, "The river there?")

    played = await alike(scenario)

    assert [1, 1] == [len(shown) for shown in played.inputs[0]]
