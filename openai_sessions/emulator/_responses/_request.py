"""What a reply is made for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai_sessions.emulator._errors import JsonObject


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """One request for a response, as a function given to `Emulator.reply` sees it.

    It is a copy: changing it changes nothing.

    Attributes:
        body: The JSON body without its nulls; `input` is a list of items, `conversation` an id.
        items: All that a model would be shown: the items of the conversation, or those of the previous
            response, then the input of this request, in the form in which a conversation lists items.
        conversation_id: The conversation it belongs to, if any.
    """

    body: JsonObject
    items: tuple[JsonObject, ...]
    conversation_id: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of all messages, whoever wrote them, oldest first."""
        return tuple(text for item in self.items for text in _texts(item))

    @property
    def user_text(self) -> str:
        """The text of the user's newest message, its parts joined; empty where there is none."""
        for item in reversed(self.items):
            if item.get("role") == "user":
                return "".join(_texts(item))
        return ""


def _texts(item: JsonObject) -> list[str]:
    if item.get("type") != "message":
        return []
    return [part["text"] for part in item["content"] if "text" in part]
