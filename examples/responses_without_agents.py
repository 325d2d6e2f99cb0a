"""Use a session with `responses.create`, without the Agents SDK.

Needs OPENAI_API_KEY.
"""

import asyncio

from openai import AsyncOpenAI

from openai_sessions import OpenAIConversationsSession


async def ask(client: AsyncOpenAI, session: OpenAIConversationsSession, question: str) -> str:
    history = await session.get_items()
    response = await client.responses.create(
        model="gpt-4.1-mini",
        input=[*history, {"role": "user", "content": question}],
        store=False,  # the session stores it
    )
    await session.add_items([{"role": "user", "content": question}, *response.output])
    return response.output_text


async def main() -> None:
    async with AsyncOpenAI() as client:
        session = OpenAIConversationsSession(openai_client=client)
        print(await ask(client, session, "What city is the Golden Gate Bridge in?"))
        print(await ask(client, session, "What state is it in?"))


asyncio.run(main())
