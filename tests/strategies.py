"""What property tests draw conversation items from; each strategy is documented where it is defined."""

from __future__ import annotations

from tests.fixtures.conversed import calls_and_outputs, histories, unknown_items
from tests.fixtures.stored import samples, stored_items
from tests.fixtures.values import hex_digits, json_values, texts
from tests.fixtures.written import REQUIRES_ID, easy_messages, written_items

__all__ = [
    "REQUIRES_ID",
    "calls_and_outputs",
    "easy_messages",
    "hex_digits",
    "histories",
    "json_values",
    "samples",
    "stored_items",
    "texts",
    "unknown_items",
    "written_items",
]
