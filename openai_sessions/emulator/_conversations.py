"""The operations on conversations: from an authenticated request to the body of the response."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
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
    last_value,
    new_id,
    prepare_items,
    shown_item,
)
from openai_sessions.emulator._store import Conversation, Page, Store

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """An authenticated request.

    Attributes:
        owner: The digest of its key.
        path: The ids in its path.
        query: Its query parameters.
        body: Its parsed JSON body, or the fields of its form, of a file the name.
        stale: Whether a list is answered as it was before the last write to the conversation.
        files: The contents of the files in its form, by field.
    """

    owner: str
    path: Mapping[str, str]
    query: Query
    body: Any
    stale: bool = False
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def conversation_id(self) -> str:
        """The conversation in the path."""
        return self.path["conversation_id"]

    @property
    def item_id(self) -> str:
        """The item in the path."""
        return self.path["item_id"]

    @property
    def response_id(self) -> str:
        """The response in the path."""
        return self.path["response_id"]


class ConversationOperations:
    """The operations on conversations and their items; a refused request raises `ApiError`."""

    def __init__(self, store: Store, *, accept_unknown_types: bool = False) -> None:
        self._store = store
        self._accept_unknown_types = accept_unknown_types

    def create_conversation(self, request: ApiRequest) -> JsonObject:
        """POST /conversations."""
        body = check_body(request.body, known=("metadata", "items"))
        metadata = check_metadata(body.get("metadata"))
        now = int(time.time())
        given = {"items": [] if body.get("items") is None else body["items"]}
        addition = self._prepare(check_items(given), second=now)
        conversation = Conversation(new_id("conv", second=now), now, metadata)
        self._store.create(conversation, owner=request.owner, addition=addition)
        return conversation.body()

    def list_conversations(self, request: ApiRequest) -> JsonObject:
        """GET /conversations, which only Azure's Foundry has."""
        page = replace(check_page(request.query), before=last_value(request.query, "before"))
        return self._store.conversations(owner=request.owner, request=page).body()

    def retrieve_conversation(self, request: ApiRequest) -> JsonObject:
        """GET /conversations/{id}."""
        return self._store.conversation(request.conversation_id, owner=request.owner).body()

    def update_conversation(self, request: ApiRequest) -> JsonObject:
        """POST /conversations/{id}."""
        body = check_body(request.body, known=("metadata",))
        if "metadata" not in body:
            raise missing_parameter("metadata")
        return self._store.replace_metadata(
            request.conversation_id, owner=request.owner, metadata=check_metadata(body["metadata"])
        ).body()

    def delete_conversation(self, request: ApiRequest) -> JsonObject:
        """DELETE /conversations/{id}."""
        self._store.delete(request.conversation_id, owner=request.owner)
        return {"id": request.conversation_id, "object": "conversation.deleted", "deleted": True}

    def create_items(self, request: ApiRequest) -> JsonObject:
        """POST /conversations/{id}/items."""
        include = check_include(request.query)
        items = check_items(check_body(request.body, known=("items",)))
        addition = self._prepare(items, second=int(time.time()))
        self._store.add(request.conversation_id, owner=request.owner, addition=addition)
        return list_body(Page(addition.items, has_more=False), include=include)

    def list_items(self, request: ApiRequest) -> JsonObject:
        """GET /conversations/{id}/items."""
        include = check_include(request.query)
        read = self._store.stale_page if request.stale else self._store.page
        page = read(request.conversation_id, owner=request.owner, request=check_page(request.query))
        return list_body(page, include=include)

    def retrieve_item(self, request: ApiRequest) -> JsonObject:
        """GET /conversations/{id}/items/{item_id}."""
        include = check_include(request.query)
        item = self._store.item(request.conversation_id, request.item_id, owner=request.owner)
        return shown_item(item, include=include)

    def delete_item(self, request: ApiRequest) -> JsonObject:
        """DELETE /conversations/{id}/items/{item_id}."""
        return self._store.delete_item(request.conversation_id, request.item_id, owner=request.owner).body()

    def _prepare(self, items: list[Any], *, second: int) -> Addition:
        return prepare_items(
            items, new_id=partial(new_id, second=second), accept_unknown_types=self._accept_unknown_types
        )


def list_body(page: Page, *, include: frozenset[str]) -> JsonObject:
    """Return the list object of the API, with the fields that `include` opens."""
    return replace(page, items=tuple(shown_item(item, include=include) for item in page.items)).body()
