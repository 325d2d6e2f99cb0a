"""Write a session class over files, and run the conformance checks on it. Needs no key."""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any
from uuid import uuid4

from openai_sessions.testing import check_session


class FileSession:
    """Store a history in a file, one item per line."""

    def __init__(self, folder: Path, session_id: str) -> None:
        self.session_id = session_id
        self._path = folder / f"{session_id}.jsonl"
        self._path.touch()

    async def get_items(self, limit: int | None = None) -> list[Any]:
        items = [json.loads(line) for line in self._path.read_text().splitlines()]
        return items if limit is None else items[-limit:] if limit > 0 else []

    async def add_items(self, items: list[Any]) -> None:
        with self._path.open("a") as file:
            file.writelines(json.dumps(item) + "\n" for item in items)

    async def pop_item(self) -> Any:
        *rest, newest = await self.get_items() or [None]
        self._path.write_text("".join(json.dumps(item) + "\n" for item in rest))
        return newest

    async def clear_session(self) -> None:
        self._path.write_text("")


async def main(folder: Path) -> None:
    report = await check_session(
        lambda: FileSession(folder, uuid4().hex),
        reopen=lambda session: FileSession(folder, session.session_id),
    )
    print(report)


with tempfile.TemporaryDirectory() as name:
    asyncio.run(main(Path(name)))
