"""What type checkers must accept; checked by mypy and pyright, never run."""

from __future__ import annotations

from agents import Agent, Runner, Session, SessionSettings
from openai import AsyncOpenAI
from openai.types.responses import ResponseInputItemParam

from openai_sessions import (
    HistoryLimits,
    OpenAIConversationsSession,
    RequestSettings,
    start_openai_conversations_session,
)
from openai_sessions.tokens import ServerTokens


def takes_a_session(session: Session) -> str:
    return session.session_id


async def save(conversation_id: str) -> None: ...


async def use() -> None:
    client = AsyncOpenAI()
    conversation_id: str = await start_openai_conversations_session(client)
    async with OpenAIConversationsSession(
        conversation_id=conversation_id,
        openai_client=client,
        session_settings={"limit": 10},
        metadata={"topic": "demo"},
        include=["message.output_text.logprobs"],
        history_limits=HistoryLimits(max_tokens=1000, count_tokens=ServerTokens(model="gpt-5-mini")),
        requests=RequestSettings(timeout=5),
        on_conversation_created=save,
    ) as session:
        takes_a_session(session)
        result = await Runner.run(Agent(name="Assistant"), "Hello", session=session)
        await session.add_items(result.new_items)
        items: list[ResponseInputItemParam] = await session.get_items(limit=5)
        await session.add_items(items)
        counted = ServerTokens(model="gpt-5-mini", tools=[{"type": "web_search"}])
        items = await session.get_items(max_tokens=100, count_tokens=counted)
        await session.add_items([{"role": "user", "content": "Hello"}])
        async with session.turn(on_error="keep", on_conflict="raise") as turn:
            takes_a_session(turn)
            await Runner.run(Agent(name="Assistant"), "Hello", session=turn)
            await turn.add_items(await turn.get_items(turns=2))
            items = turn.pending
        popped: ResponseInputItemParam | None = await session.pop_item()
        settings: SessionSettings | None = session.session_settings
        session.session_settings = SessionSettings(limit=3)
        session.session_id = conversation_id
        name: str | None = session.conversation_id
        question: ResponseInputItemParam = {"role": "user", "content": "Hello"}
        response = await client.responses.create(model="gpt-5", input=[*items, question])
        await session.add_items([question, *response.output])
        print(popped, settings, name, await session.ensure_conversation())  # noqa: T201
