"""The eight operations on conversations: from a checked request to the body of the answer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from openai_sessions.emulator._errors import JsonObject, missing_parameter
from openai_sessions.emulator._items import (
    Addition,
    Query,
    check_body,
    check_include,
    check_items,
    check_metadata,
    check_page,
    new_id,
    prepare_items,
    shown_item,
)
from openai_sessions.emulator._store import Conversation, Page, Store

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request: whose key it came with, the ids in its path, its query and its JSON body.

    With `stale`, a list is answered as it was before the last write to the conversation.
    """

    owner: str
    path: Mapping[str, str]
    query: Query
    body: Any
    stale: bool = False

    @property
    def conversation_id(self) -> str:
        """The conversation that the path names."""
        return self.path["conversation_id"]

    @property
    def item_id(self) -> str:
        """The item that the path names."""
        return self.path["item_id"]


class Operations:
    """Answer each operation of the API from a store; what is refused raises `ApiError`."""

    def __init__(self, store: Store, *, accept_unknown_types: bool = False) -> None:
        self._store = store
        self._accept_unknown_types = accept_unknown_types

    def create_conversation(self, call: Call) -> JsonObject:
        """POST /conversations."""
        body = check_body(call.body, known=("metadata", "items"))
        metadata = check_metadata(body.get("metadata"))
        now = int(time.time())
        given = {"items": [] if body.get("items") is None else body["items"]}
        addition = self._prepare(check_items(given), second=now)
        conversation = Conversation(new_id("conv", second=now), now, metadata)
        self._store.create(conversation, owner=call.owner, addition=addition)
        return conversation.body()

    def retrieve_conversation(self, call: Call) -> JsonObject:
        """GET /conversations/{id}."""
        return self._store.conversation(call.conversation_id, owner=call.owner).body()

    def update_conversation(self, call: Call) -> JsonObject:
        """POST /conversations/{id}."""
        body = check_body(call.body, known=("metadata",))
        if "metadata" not in body:
            raise missing_parameter("metadata")
        metadata = check_metadata(body["metadata"])
        return self._store.replace_metadata(call.conversation_id, owner=call.owner, metadata=metadata).body()

    def delete_conversation(self, call: Call) -> JsonObject:
        """DELETE /conversations/{id}."""
        self._store.delete(call.conversation_id, owner=call.owner)
        return {"id": call.conversation_id, "object": "conversation.deleted", "deleted": True}

    def create_items(self, call: Call) -> JsonObject:
        """POST /conversations/{id}/items."""
        include = check_include(call.query)
        items = check_items(check_body(call.body, known=("items",)))
        addition = self._prepare(items, second=int(time.time()))
        self._store.add(call.conversation_id, owner=call.owner, addition=addition)
        return list_body(Page(addition.items, has_more=False), include=include)

    def list_items(self, call: Call) -> JsonObject:
        """GET /conversations/{id}/items."""
        include = check_include(call.query)
        read = self._store.stale_page if call.stale else self._store.page
        page = read(call.conversation_id, owner=call.owner, request=check_page(call.query))
        return list_body(page, include=include)

    def retrieve_item(self, call: Call) -> JsonObject:
        """GET /conversations/{id}/items/{item_id}."""
        include = check_include(call.query)
        return shown_item(
            self._store.item(call.conversation_id, call.item_id, owner=call.owner), include=include
        )

    def delete_item(self, call: Call) -> JsonObject:
        """DELETE /conversations/{id}/items/{item_id}."""
        return self._store.delete_item(call.conversation_id, call.item_id, owner=call.owner).body()

    def _prepare(self, items: list[Any], *, second: int) -> Addition:
        return prepare_items(
            items, new_id=partial(new_id, second=second), accept_unknown_types=self._accept_unknown_types
        )


def list_body(page: Page, *, include: frozenset[str]) -> JsonObject:
    """Return the list object of the API."""
    data = [shown_item(item, include=include) for item in page.items]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "has_more": page.has_more,
        "last_id": data[-1]["id"] if data else None,
    }
