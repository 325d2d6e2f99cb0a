"""A conversation of given items on a server of its own, which lists them as the API does."""

from __future__ import annotations

from openai_sessions import OpenAIConversationsSession
from tests.wire import FAST, Wire, arguments, page

NAMES = ("limit", "order", "after")


class Server:
    """A server that lists items and says what it was asked for."""

    def __init__(self, items: list[dict]) -> None:
        self.items = items
        self.wire = Wire(self._answer)
        self.metadata: dict[str, str] = {}

    def session(self, **options) -> OpenAIConversationsSession:
        return OpenAIConversationsSession(
            conversation_id="conv_1",
            openai_client=self.wire.client,
            **arguments(**{"retry_policy": FAST, **options}),
        )

    @property
    def asked(self) -> list[str]:
        """The requests so far, with what tells pages apart."""
        return [
            " ".join([str(call), *(f"{name}={call.query[name][0]}" for name in NAMES if name in call.query)])
            for call in self.wire.calls
        ]

    def _answer(self, call):
        if call.method == "POST" and call.path == "/conversations":
            return 200, {"id": "conv_2", "object": "conversation"}
        if not call.path.endswith("/items"):
            return 200, {"id": "conv_1", "metadata": self.metadata}
        if call.method == "POST":
            self.added = [{**item, "id": f"new_{n}"} for n, item in enumerate(call.body["items"])]
            return 200, {"object": "list", "data": self.added, "has_more": False}
        items = self.items if call.path == "/conversations/conv_1/items" else self.added
        ordered = items if call.query["order"] == ["asc"] else items[::-1]
        ids = [item["id"] for item in ordered]
        start = ids.index(call.query["after"][0]) + 1 if "after" in call.query else 0
        shown = ordered[start : start + int(call.query["limit"][0])]
        more = start + len(shown) < len(ordered)
        return page(*(item["id"] for item in shown), has_more=more, data=shown)
