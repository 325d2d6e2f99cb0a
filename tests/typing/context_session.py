"""What type checkers must accept of a `ContextSession`; checked by mypy and pyright, never run."""

from __future__ import annotations

from dataclasses import dataclass

from agents import Agent, RunContextWrapper, Runner, Session

from openai_sessions import ContextSession, OpenAIConversationsSession


@dataclass
class User:
    conversation_id: str


def takes_a_session(session: Session) -> str:
    return session.session_id


def session_of(user: User) -> OpenAIConversationsSession:
    return OpenAIConversationsSession(conversation_id=user.conversation_id)


async def use(user: User) -> None:
    sessions = ContextSession(session_of, session_settings={"limit": 10})
    takes_a_session(sessions)
    await Runner.run(Agent[User](name="Guide"), "Hello", session=sessions, context=user)
    items = await sessions.get_items(wrapper=RunContextWrapper(user))
    await sessions.add_items(items, wrapper=RunContextWrapper(user))
    await sessions.select_session(user)
