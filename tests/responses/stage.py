"""A conversation on the emulator, and programs of four frameworks that use it through a client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import openai
import pytest

from openai_sessions import OpenAIConversationsSession
from openai_sessions.emulator import Emulator

MODEL = "emulated"
QUESTION = "2 + 3?"
CALL = {"type": "function_call", "name": "add", "arguments": {"a": 2, "b": 3}, "call_id": "call_1"}
ADD = {
    "type": "function",
    "name": "add",
    "strict": False,
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
}
WHOLE = ["user", "function_call", "function_call_output", "assistant"]
"""A turn that is stored once."""


@dataclass
class Stage:
    emulator: Emulator
    client: openai.AsyncOpenAI
    session: OpenAIConversationsSession
    conversation_id: str
    added: list[tuple[int, int]] = field(default_factory=list)
    """The arguments of each call of the tool."""

    def add(self, a: int, b: int) -> int:
        """Add two numbers."""
        self.added.append((a, b))
        return a + b

    def script(self) -> None:
        """Have the model call the tool, and then tell its output."""
        self.emulator.reply(CALL)
        self.emulator.reply(lambda request: f"It is {request.items[-1]['output']}.")

    @property
    def stored(self) -> list[str]:
        """The types of the stored items, with roles for messages."""
        return [item.get("role") or item["type"] for item in self.emulator.items(self.conversation_id)]

    @property
    def operations(self) -> list[str | None]:
        """The requests so far, in short."""
        return [request.operation for request in self.emulator.requests]

    def sent(self) -> int:
        """How often a response was requested."""
        return self.operations.count("create_response")


def text_of(events: list[Any]) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


async def plain(stage: Stage, client: openai.AsyncOpenAI) -> str:
    return (await _with_tools(stage, client.responses.create)).output_text


async def parsed(stage: Stage, client: openai.AsyncOpenAI) -> str:
    return (await _with_tools(stage, client.responses.parse)).output_text


async def raw(stage: Stage, client: openai.AsyncOpenAI) -> str:
    async def create(**options: Any) -> Any:
        return (await client.responses.with_raw_response.create(**options)).parse()

    return (await _with_tools(stage, create)).output_text


async def with_streaming_response(stage: Stage, client: openai.AsyncOpenAI) -> str:
    async def create(**options: Any) -> Any:
        async with client.responses.with_streaming_response.create(**options) as response:
            return await response.parse()

    return (await _with_tools(stage, create)).output_text


async def events(stage: Stage, client: openai.AsyncOpenAI) -> str:
    seen: list[Any] = []

    async def create(**options: Any) -> Any:
        seen[:] = [event async for event in await client.responses.create(stream=True, **options)]
        return seen[-1].response

    response = await _with_tools(stage, create)
    assert response.output_text == text_of(seen)
    assert list(range(len(seen))) == [event.sequence_number for event in seen]
    return response.output_text


async def stream_helper(stage: Stage, client: openai.AsyncOpenAI) -> str:
    async def create(**options: Any) -> Any:
        async with client.responses.stream(**options) as stream:
            said = text_of([event async for event in stream])
            response = await stream.get_final_response()
        assert said == response.output_text
        return response

    return (await _with_tools(stage, create)).output_text


async def _with_tools(stage: Stage, create: Any) -> Any:
    """Run the tool loop of a program without a framework."""
    given: Any = QUESTION
    while True:
        response = await create(model=MODEL, input=given, conversation=stage.conversation_id, tools=[ADD])
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            return response
        given = [
            {"type": "function_call_output", "call_id": call.call_id, "output": str(stage.add(2, 3))}
            for call in calls
        ]


def _agent(stage: Stage, client: openai.AsyncOpenAI) -> Any:
    import agents  # noqa: PLC0415 -- each program imports its own framework

    model = agents.OpenAIResponsesModel(model=MODEL, openai_client=client)
    return agents.Agent(name="Adder", model=model, tools=[agents.function_tool(stage.add)])


async def agents_run(stage: Stage, client: openai.AsyncOpenAI) -> str:
    import agents  # noqa: PLC0415

    agent = _agent(stage, client)
    result = await agents.Runner.run(agent, QUESTION, conversation_id=stage.conversation_id)
    return str(result.final_output)


async def agents_streamed(stage: Stage, client: openai.AsyncOpenAI) -> str:
    import agents  # noqa: PLC0415

    agent = _agent(stage, client)
    result = agents.Runner.run_streamed(agent, QUESTION, conversation_id=stage.conversation_id)
    said = [event.data async for event in result.stream_events() if event.type == "raw_response_event"]
    assert result.final_output == text_of(said)
    return str(result.final_output)


def _pydantic_agent(stage: Stage, client: openai.AsyncOpenAI) -> tuple[Any, Any]:
    pydantic_ai = pytest.importorskip("pydantic_ai")
    from pydantic_ai.models.openai import OpenAIResponsesModel  # noqa: PLC0415
    from pydantic_ai.providers.openai import OpenAIProvider  # noqa: PLC0415

    model = OpenAIResponsesModel("gpt-5", provider=OpenAIProvider(openai_client=client))
    settings = {"openai_conversation_id": stage.conversation_id}
    return pydantic_ai.Agent(model, tools=[stage.add]), settings


async def pydantic_run(stage: Stage, client: openai.AsyncOpenAI) -> str:
    agent, settings = _pydantic_agent(stage, client)
    return str((await agent.run(QUESTION, model_settings=settings)).output)


async def pydantic_streamed(stage: Stage, client: openai.AsyncOpenAI) -> str:
    agent, settings = _pydantic_agent(stage, client)
    async with agent.run_stream(QUESTION, model_settings=settings) as result:
        said = [part async for part in result.stream_text(delta=True)]
    return "".join(said)


def _framework_agent(stage: Stage, client: openai.AsyncOpenAI) -> tuple[Any, Any]:
    framework = pytest.importorskip("agent_framework")
    from agent_framework.openai import OpenAIChatClient  # noqa: PLC0415

    agent = framework.Agent(OpenAIChatClient("gpt-5", async_client=client), tools=[framework.tool(stage.add)])
    return agent, agent.get_session(service_session_id=stage.conversation_id)


async def framework_run(stage: Stage, client: openai.AsyncOpenAI) -> str:
    agent, session = _framework_agent(stage, client)
    return str((await agent.run(QUESTION, session=session)).text)


async def framework_streamed(stage: Stage, client: openai.AsyncOpenAI) -> str:
    agent, session = _framework_agent(stage, client)
    stream = agent.run(QUESTION, session=session, stream=True)
    async for _ in stream:  # an update may replace the text of others
        pass
    return str((await stream.get_final_response()).text)


PLAIN = [plain, parsed, raw, with_streaming_response, events, stream_helper]
AGENTS = [agents_run, agents_streamed]
OTHERS = [pydantic_run, pydantic_streamed, framework_run, framework_streamed]
