"""What the fault tests do to one conversation, and what they expect to find afterwards."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import openai

from .wire import Wire, user

HELD = (1, ["0"], {})
"""The number of conversations, the texts of the first one, and its metadata, before anything is done."""

DONE = {
    "create_conversation": (2, ["0"], {}),
    "retrieve_conversation": HELD,
    "update_conversation": (1, ["0"], {"topic": "test"}),
    "delete_conversation": (0, ["0"], {}),
    "create_items": (1, ["0", "1"], {}),
    "list_items": HELD,
    "retrieve_item": HELD,
    "delete_item": (1, [], {}),
}
"""The same, after each operation."""


@dataclass(frozen=True)
class Subject:
    """One conversation with one item, seen through a client that does not retry."""

    emulator: Any
    client: openai.AsyncOpenAI
    conversation_id: str
    item_id: str

    async def perform(self, operation, *, timeout=30):
        """Do the operation, and return the raw answer."""
        client = self.client.with_options(timeout=openai.Timeout(30, read=timeout))
        conversations = client.conversations.with_raw_response
        items = client.conversations.items.with_raw_response
        here = {"conversation_id": self.conversation_id}
        actions = {
            "create_conversation": conversations.create,
            "retrieve_conversation": lambda: conversations.retrieve(**here),
            "update_conversation": lambda: conversations.update(**here, metadata={"topic": "test"}),
            "delete_conversation": lambda: conversations.delete(**here),
            "create_items": lambda: items.create(**here, items=[user("1")]),
            "list_items": lambda: items.list(**here),
            "retrieve_item": lambda: items.retrieve(self.item_id, **here),
            "delete_item": lambda: items.delete(self.item_id, **here),
        }
        return await actions[operation]()

    async def texts(self, **options):
        """Return the texts as the client lists them, the newest first."""
        page = await self.client.conversations.items.list(self.conversation_id, **options)
        return [item.content[0].text for item in page.data]

    def stored(self):
        """Return what the database holds of this client's key, as in `HELD`."""
        connection = self.emulator._store._connection
        (count,) = connection.execute(
            "SELECT count(*) FROM conversations WHERE owner = ? AND NOT deleted",
            (hashlib.sha256(self.client.api_key.encode()).hexdigest(),),
        ).fetchone()
        (metadata,) = connection.execute(
            "SELECT metadata FROM conversations WHERE id = ?", (self.conversation_id,)
        ).fetchone()
        rows = connection.execute(
            "SELECT body FROM items WHERE conversation_id = ? ORDER BY position", (self.conversation_id,)
        )
        texts = [json.loads(body)["content"][0]["text"] for (body,) in rows]
        return count, texts, json.loads(metadata)


async def new_subject(emulator, client):
    """Return a new conversation; nothing is remembered of its making."""
    wire = Wire(emulator, key=client.api_key)
    conversation_id = await wire.new_conversation(user("0"))
    _, page = await wire.list(conversation_id)
    emulator.forget_requests()
    return Subject(emulator, client, conversation_id, page["last_id"])
