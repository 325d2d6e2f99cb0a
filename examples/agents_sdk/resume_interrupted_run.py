"""Resume a run that waits for an approval, with the same session.

Needs OPENAI_API_KEY and openai-agents.
"""

import asyncio

from agents import Agent, Runner, function_tool

from openai_sessions import OpenAIConversationsSession


@function_tool(needs_approval=True)
def delete_files(pattern: str) -> str:
    """Delete the files whose names match a pattern."""
    return f"Deleted {pattern}."


async def main() -> None:
    agent = Agent(name="Janitor", instructions="Reply very concisely.", tools=[delete_files])
    async with OpenAIConversationsSession() as session:
        result = await Runner.run(agent, "Delete the temporary files, *.tmp.", session=session)
        while result.interruptions:
            state = result.to_state()
            for interruption in result.interruptions:
                print(f"approved: {interruption.name} {interruption.arguments}")
                state.approve(interruption)
            result = await Runner.run(agent, state, session=session)
        print(result.final_output)
        print([item.get("role", item.get("type")) for item in await session.get_items()])


asyncio.run(main())
