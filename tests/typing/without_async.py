"""What type checkers must accept of sessions without async; checked by mypy and pyright, never run."""

from __future__ import annotations

from openai import AsyncOpenAI
from openai.types.responses import ResponseInputItemParam

from openai_sessions import Usage
from openai_sessions.sync import OpenAIConversationsSession


def save(conversation_id: str) -> None: ...


def use() -> None:
    with OpenAIConversationsSession(
        openai_client=AsyncOpenAI(), session_settings={"limit": 10}, on_conversation_created=save
    ) as session:
        items: list[ResponseInputItemParam] = session.get_items(limit=5)
        session.add_items(items)
        session.add_items([{"role": "user", "content": "Hello"}])
        popped: ResponseInputItemParam | None = session.pop_item()
        items.extend(session.iterate_items(after="msg_1"))
        fork: OpenAIConversationsSession = session.fork(before_turn=2)
        usage: Usage | None = session.get_session_usage()
        texts: list[str] = [turn.text for turn in session.find_turns("Paris")]
        conversation_id: str = session.ensure_conversation()
        session.session_id = conversation_id
        print(popped, fork, usage, texts, session.conversation_id)  # noqa: T201
