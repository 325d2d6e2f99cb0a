"""The names of spans, attributes, events and metrics.

Names follow the GenAI, HTTP, server and error conventions of semantic conventions 1.41 and of the repository
open-telemetry/semantic-conventions-genai (docs/gen-ai/gen-ai-spans.md, section "Memory", in development).
Names that start with `openai_sessions` are defined by this library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INSTRUMENTATION = "openai_sessions"

CONVERSATION_ID = "gen_ai.conversation.id"
OPERATION_NAME = "gen_ai.operation.name"
PROVIDER_NAME = "gen_ai.provider.name"
STORE_ID = "gen_ai.memory.store.id"
RECORD_COUNT = "gen_ai.memory.record.count"
RECORDS = "gen_ai.memory.records"

SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
ERROR_TYPE = "error.type"
REQUEST_METHOD = "http.request.method"
RESEND_COUNT = "http.request.resend_count"
STATUS_CODE = "http.response.status_code"
REQUEST_ID = "http.response.header.x-request-id"
URL_TEMPLATE = "url.template"

OWN_OPERATION = "openai_sessions.operation"
ITEMS = "openai_sessions.items"
ITEMS_ACTION = "openai_sessions.items.action"
PAGES = "openai_sessions.pages"
REQUESTS = "openai_sessions.requests"
RETRIES = "openai_sessions.retries"
RECONCILIATIONS = "openai_sessions.reconciliations"

REQUEST_EVENT = "openai_sessions.request"
REQUEST_NAME = "openai_sessions.request.name"
REQUEST_DURATION = "openai_sessions.request.duration"
RETRY_EVENT = "openai_sessions.retry"
RETRY_REQUEST = "openai_sessions.retry.request"
RETRY_OUTCOME = "openai_sessions.retry.outcome"
RETRY_ATTEMPT = "openai_sessions.retry.attempt"
RETRY_WAIT = "openai_sessions.retry.wait"
RECONCILIATION_EVENT = "openai_sessions.reconciliation"
RECONCILIATION_RESULT = "openai_sessions.reconciliation.result"
RECONCILIATION_ITEMS = "openai_sessions.reconciliation.items"

DURATION_METRIC = "gen_ai.client.operation.duration"
DURATION_BUCKETS = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
    *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
)
"""Bucket boundaries in seconds, as recommended by the convention."""

LIST_ITEMS = "list items"

_CONVERSATION = "/conversations/{conversation_id}"

ROUTES: Mapping[str, tuple[str, str]] = {
    "create conversation": ("POST", "/conversations"),
    "retrieve conversation": ("GET", _CONVERSATION),
    "replace metadata": ("POST", _CONVERSATION),
    "delete conversation": ("DELETE", _CONVERSATION),
    "create items": ("POST", f"{_CONVERSATION}/items"),
    LIST_ITEMS: ("GET", f"{_CONVERSATION}/items"),
    "retrieve item": ("GET", f"{_CONVERSATION}/items/{{item_id}}"),
    "delete item": ("DELETE", f"{_CONVERSATION}/items/{{item_id}}"),
    "count tokens": ("POST", "/responses/input_tokens"),
    "compact history": ("POST", "/responses/compact"),
}
"""The HTTP method and path template of each request name."""

_SEARCH, _CREATE, _DELETE = "search_memory", "create_memory", "delete_memory"
_CREATE_STORE, _DELETE_STORE = "create_memory_store", "delete_memory_store"

_CONVENTIONAL: Mapping[str, str] = {
    "get_items": _SEARCH,
    "iterate_items": _SEARCH,
    "turns": _SEARCH,
    "find_turns": _SEARCH,
    "read_compaction_items": _SEARCH,
    "get_compaction_snapshot": _SEARCH,
    "add_items": _CREATE,
    "store_turn": _CREATE,
    "atomic_replace_items": "update_memory",
    "compact": "update_memory",
    "pop_item": _DELETE,
    "settle": _DELETE,
    "clear_session": _DELETE_STORE,
    "ensure_conversation": _CREATE_STORE,
    "fork": _CREATE_STORE,
}
"""The convention's name of each operation: a conversation is a memory store, its items are the records."""


def operation_name(name: str, arguments: Mapping[str, Any]) -> str:
    """Return the convention's name of an operation, or its own name if the convention has none."""
    if name == "clear_session" and arguments.get("keep_conversation"):
        return _DELETE
    return _CONVENTIONAL.get(name, name)
