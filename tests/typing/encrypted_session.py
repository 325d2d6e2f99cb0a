"""What type checkers must accept of encrypted sessions; checked by mypy and pyright, never run."""

from __future__ import annotations

from agents import Agent, Runner, Session, SQLiteSession
from openai.types.responses import ResponseInputItemParam

from openai_sessions import EncryptedSession, OpenAIConversationsSession
from openai_sessions.directory import SessionDirectory
from openai_sessions.encryption import KeyStore, SkippedItems
from openai_sessions.reading import ToolOutputs


def takes_a_session(session: Session) -> str:
    return session.session_id


async def use() -> None:
    async with EncryptedSession(
        "user_123", OpenAIConversationsSession(), ["new key", b"old key"], ttl=None
    ) as session:
        takes_a_session(session)
        await Runner.run(Agent(name="Assistant"), "Hello", session=session)
        async with session.turn(exclusive=True) as turn:
            takes_a_session(turn)
            await turn.add_items(turn.pending)
        items: list[ResponseInputItemParam] = await session.get_items(limit=5)
        await session.add_items(items)
        popped: ResponseInputItemParam | None = await session.pop_item()
        items += [item async for item in session.iterate_items()]
        skipped: SkippedItems = session.skipped + session.skipped_in_total
        await session.clear_session(purge_items=True)
        print(popped, skipped.unreadable, session.ttl)  # noqa: T201
    EncryptedSession("user_123", SQLiteSession("user_123"), "key", 600, clock=lambda: 0.0)
    EncryptedSession("user_123", OpenAIConversationsSession(), "key", reading=[ToolOutputs()])
    stores: list[KeyStore] = [SessionDirectory().key_store(["new key", b"old key"]), Keys()]
    for store in stores:
        EncryptedSession("chat", OpenAIConversationsSession(), store, user="alice")
        print(await store.destroy_keys("alice"))  # noqa: T201


class Keys:
    async def get_keys(self, user: str, *, create: bool) -> list[bytes]:
        return [user.encode()] if create else []

    async def destroy_keys(self, user: str) -> bool:
        return not user
