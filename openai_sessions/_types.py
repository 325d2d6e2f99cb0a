"""Types that several modules share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

Item: TypeAlias = dict[str, Any]
"""An item as JSON: what is sent, what is listed, and what a reader gets."""

Metadata: TypeAlias = Mapping[str, str]
"""Up to 16 pairs that the API keeps with a conversation."""

ConversationCallback: TypeAlias = Callable[[str], Awaitable[None] | None]
"""Called with the id of a conversation that was created; may be a coroutine function."""
