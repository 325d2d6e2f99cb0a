"""Find sessions by names of the application's own: `python named_sessions.py [database URL]`.

The names are in a temporary SQLite file, or in PostgreSQL at postgresql://user:password@host/name.
Needs OPENAI_API_KEY, and the extra `directory` or `postgresql`.
"""

import asyncio
import sys
import tempfile
from datetime import timedelta

from openai_sessions.directory import SessionDirectory


async def main(url: str) -> None:
    async with SessionDirectory(url, tenant="customer_1") as directory:
        await directory.create_tables()

        session = await directory.session("user_12345", metadata={"plan": "pro"})
        await session.add_items([{"role": "user", "content": "Hello"}])
        ticket = await directory.session("support_ticket_456", expires_in=timedelta(days=30))
        await ticket.add_items([{"role": "user", "content": "It does not start."}])

        resumed = await directory.session("user_12345")  # in this or any other process
        print("remembered:", await resumed.get_items())

        for entry in (await directory.conversations()).entries:
            print(entry.name, entry.conversation_id, entry.metadata)

        retry = await directory.fork("support_ticket_456", "retry", before_turn=1)
        await retry.add_items([{"role": "user", "content": "It stops after a minute."}])
        await directory.switch("support_ticket_456", "retry")
        ticket = await directory.session("support_ticket_456")
        print("branch", ticket.branch, "has", await ticket.get_items())

        await directory.rename("support_ticket_456", "closed_456")
        await directory.forget("closed_456", delete=True)
        await session.clear_session()
        print("swept:", (await directory.sweep()).deleted)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        given = sys.argv[1:] or [f"sqlite+aiosqlite:///{folder}/sessions.db"]
        asyncio.run(main(*given))
