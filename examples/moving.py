"""Copy a history from a local session to OpenAI, export it to a file, and import it again.

Needs OPENAI_API_KEY and openai-agents.
"""

import asyncio
import tempfile
from pathlib import Path

from agents import SQLiteSession

from openai_sessions import OpenAIConversationsSession, copy_session, export_session, import_session


async def main(folder: Path) -> None:
    local, back = SQLiteSession("user_123"), SQLiteSession("user_123 again")
    await local.add_items([{"role": "user", "content": f"item {number}"} for number in range(45)])

    async with OpenAIConversationsSession(on_conversation_created=print) as hosted:
        print(await copy_session(local, hosted, on_progress=lambda done, total: print(done, "of", total)))
        print(await copy_session(local, hosted))  # again: nothing is left to do
        await export_session(hosted, folder / "history.jsonl")

    print(await import_session(folder / "history.jsonl", back))
    print(await back.get_items() == await local.get_items())
    local.close()
    back.close()


with tempfile.TemporaryDirectory() as name:
    asyncio.run(main(Path(name)))
