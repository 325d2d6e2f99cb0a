"""A program of the Agents SDK with a tool, for two users at once; one is answered by a stream."""

import asyncio

from agents import Agent, Runner, function_tool

from openai_sessions import OpenAIConversationsSession


@function_tool
def get_weather(city: str) -> str:
    return f"{city}: rain"


AGENT = Agent(name="Guide", model="gpt-4.1", tools=[get_weather])
QUESTION = "Do I need an umbrella?"


async def asked():
    session = OpenAIConversationsSession()
    result = await Runner.run(AGENT, QUESTION, session=session)
    return result.final_output, await kinds(session)


async def streamed():
    session = OpenAIConversationsSession()
    result = Runner.run_streamed(AGENT, QUESTION, session=session)
    raw = [event.data async for event in result.stream_events() if event.type == "raw_response_event"]
    text = "".join(event.delta for event in raw if event.type == "response.output_text.delta")
    return text, await kinds(session)


async def kinds(session):
    return [item.get("role", item.get("type")) for item in await session.get_items()]


async def main():
    for answer, items in await asyncio.gather(asked(), streamed()):
        print(answer, *items)  # noqa: T201 - what the test looks at


asyncio.run(main())
