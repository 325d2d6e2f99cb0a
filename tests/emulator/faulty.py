"""What the fault tests do to one conversation, and what they expect to find afterwards."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import openai

from .wire import Wire, user

HELD = (1, ["0"], {}, 1)
"""The number of conversations, the texts of the first one, its metadata, and the number of responses, before
anything is done."""

DONE = {
    "create_conversation": (2, ["0"], {}, 1),
    "retrieve_conversation": HELD,
    "update_conversation": (1, ["0"], {"topic": "test"}, 1),
    "delete_conversation": (0, ["0"], {}, 1),
    "create_items": (1, ["0", "1"], {}, 1),
    "list_items": HELD,
    "retrieve_item": HELD,
    "delete_item": (1, [], {}, 1),
    "create_response": (1, ["0", "1", "You said: 1"], {}, 2),
    "retrieve_response": HELD,
    "delete_response": (1, ["0"], {}, 0),
    "list_input_items": HELD,
}
"""The same, after each operation."""


@dataclass(frozen=True)
class Subject:
    """One conversation with one item, and one response, seen through a client that does not retry."""

    emulator: Any
    client: openai.AsyncOpenAI
    conversation_id: str
    item_id: str
    response_id: str

    async def perform(self, operation, *, timeout=30):
        """Do the operation, and return the raw answer."""
        client = self.client.with_options(timeout=openai.Timeout(30, read=timeout))
        conversations = client.conversations.with_raw_response
        items = client.conversations.items.with_raw_response
        responses = client.responses.with_raw_response
        input_items = client.responses.input_items.with_raw_response
        here = {"conversation_id": self.conversation_id}
        asked = {"model": "emulated", "conversation": self.conversation_id, "input": "1"}
        actions = {
            "create_conversation": conversations.create,
            "retrieve_conversation": lambda: conversations.retrieve(**here),
            "update_conversation": lambda: conversations.update(**here, metadata={"topic": "test"}),
            "delete_conversation": lambda: conversations.delete(**here),
            "create_items": lambda: items.create(**here, items=[user("1")]),
            "list_items": lambda: items.list(**here),
            "retrieve_item": lambda: items.retrieve(self.item_id, **here),
            "delete_item": lambda: items.delete(self.item_id, **here),
            "create_response": lambda: responses.create(**asked),
            "retrieve_response": lambda: responses.retrieve(self.response_id),
            "delete_response": lambda: responses.delete(self.response_id),
            "list_input_items": lambda: input_items.list(self.response_id),
        }
        return await actions[operation]()

    async def texts(self, **options):
        """Return the texts as the client lists them, the newest first."""
        page = await self.client.conversations.items.list(self.conversation_id, **options)
        return [item.content[0].text for item in page.data]

    def stored(self):
        """Return what the database holds of this client's key, as in `HELD`."""
        connection = self.emulator._store._connection
        owner = (hashlib.sha256(self.client.api_key.encode()).hexdigest(),)
        (count,) = connection.execute(
            "SELECT count(*) FROM conversations WHERE owner = ? AND NOT deleted", owner
        ).fetchone()
        (responses,) = connection.execute("SELECT count(*) FROM responses WHERE owner = ?", owner).fetchone()
        (metadata,) = connection.execute(
            "SELECT metadata FROM conversations WHERE id = ?", (self.conversation_id,)
        ).fetchone()
        rows = connection.execute(
            "SELECT body FROM items WHERE conversation_id = ? ORDER BY position", (self.conversation_id,)
        )
        texts = [json.loads(body)["content"][0]["text"] for (body,) in rows]
        return count, texts, json.loads(metadata), responses


async def new_subject(emulator, client):
    """Return a new conversation; nothing is remembered of its making."""
    wire = Wire(emulator, key=client.api_key)
    conversation_id = await wire.new_conversation(user("0"))
    _, page = await wire.list(conversation_id)
    _, response = await wire.post("/responses", {"model": "emulated", "input": "Hello"})
    emulator.forget_requests()
    return Subject(emulator, client, conversation_id, page["last_id"], response["id"])
