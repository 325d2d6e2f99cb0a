"""The Runner shows a model the same calls of tools with our session as with SQLiteSession."""

from agents import Agent, ToolOutputImage, function_tool

from .scripted import add, calls, roles_and_types, says


@function_tool(failure_error_function=lambda context, error: f"Failed: {error}")
def fail() -> str:
    raise ValueError("no such thing")


@function_tool(failure_error_function=None)
def crash() -> str:
    raise ValueError("no such thing")


async def test_function_tools(alike):
    async def scenario(stage):
        model = stage.model(
            [calls("add", '{"a": 1, "b": 2}', status="completed")],
            [says("3.")],
            [says("Let me see."), calls("add", '{"a": 3, "b": 4}', call_id="call_second")],
            [says("7.")],
        )
        agent = Agent(name="Adder", model=model, tools=[add])
        await stage.run(agent, "1 + 2?")
        await stage.run(agent, "And 4?")

    played = await alike(scenario)

    assert [
        "user",
        "function_call",
        "function_call_output",
        "assistant",
        "user",
        "assistant",
        "function_call",
        "function_call_output",
        "assistant",
    ] == roles_and_types(played.history)


async def test_parallel_tools_of_22_items_in_one_write(alike, emulator):
    async def scenario(stage):
        many = [calls("add", f'{{"a": {n}, "b": 1}}', call_id=f"call_{n}") for n in range(11)]
        agent = Agent(name="Adder", model=stage.model(many, [says("Done.")], [says("Yes.")]), tools=[add])
        await stage.run(agent, "Add one to each.")
        await stage.run(agent, "All of them?")

    played = await alike(scenario)

    outputs = [item["output"] for item in played.history if item.get("type") == "function_call_output"]
    assert [str(n + 1) for n in range(11)] == [str(output) for output in outputs]
    sizes = [
        len(request.body["items"])
        for request in emulator.requests
        if request.path.endswith("/items") and request.body
    ]
    assert 26 == sum(sizes)
    assert 20 >= max(sizes)


async def test_error_in_a_tool_told_to_the_model(alike):
    async def scenario(stage):
        model = stage.model([calls("fail")], [says("It failed.")], [says("No such thing.")])
        agent = Agent(name="Tester", model=model, tools=[fail])
        await stage.run(agent, "Try.")
        await stage.run(agent, "Why?")

    played = await alike(scenario)

    assert "no such thing" in played.history[2]["output"]


async def test_error_in_a_tool_that_ends_the_run(alike):
    async def scenario(stage):
        model = stage.model([calls("crash")], [says("Here again.")])
        agent = Agent(name="Tester", model=model, tools=[crash])
        await stage.run(agent, "Try.")
        await stage.run(agent, "Are you there?")

    played = await alike(scenario)

    assert ["UserError", "Here again."] == played.outcomes


async def test_too_many_turns(alike):
    async def scenario(stage):
        model = stage.model([calls("add", '{"a": 1, "b": 2}')], [says("3.")])
        agent = Agent(name="Adder", model=model, tools=[add])
        await stage.run(agent, "1 + 2?", max_turns=1)
        await stage.run(agent, "So?")

    played = await alike(scenario)

    assert ["MaxTurnsExceeded", "3."] == played.outcomes


async def test_tool_that_returns_an_image(alike):
    @function_tool
    def draw() -> ToolOutputImage:
        return ToolOutputImage(image_url="data:image/png;base64,AAAA", detail="low")

    async def scenario(stage):
        model = stage.model([calls("draw")], [says("There.")], [says("A dot.")])
        agent = Agent(name="Painter", model=model, tools=[draw])
        await stage.run(agent, "Draw.")
        await stage.run(agent, "What is it?")

    played = await alike(scenario)

    assert "input_image" == played.history[2]["output"][0]["type"]


async def test_agent_as_a_tool(alike):
    async def scenario(stage):
        adder = Agent(name="Adder", model=stage.model([says("3.")]))
        tool = adder.as_tool(tool_name="ask_adder", tool_description="Adds.")
        model = stage.model([calls("ask_adder", '{"input": "1 + 2?"}')], [says("It is 3.")])
        await stage.run(Agent(name="Guide", model=model, tools=[tool]), "1 + 2?")

    played = await alike(scenario)

    assert 4 == len(played.history)
