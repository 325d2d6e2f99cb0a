"""A server of one conversation of any length in constant memory: each text contains the item's number.

It stores only the number of items, and returns pages of them like the API. It accepts only writes of the
next numbers. As a program it serves a conversation with the number of items in its argument until its input
ends.
"""

from __future__ import annotations

import json
import re
import sys
from urllib.parse import parse_qs

from openai_sessions.emulator._server import serving

CONVERSATION = "conv_numbered"
FILLER = " ".join(["lorem ipsum dolor sit amet"] * 6)
"""Text that gives an item the usual size of a message."""


def text(number):
    return f"{number}: {FILLER}"


def item_id(number):
    return f"msg_{number:048x}"


def message(number):
    """Return an item in replay form."""
    return {"role": "user", "content": text(number)}


def stored(number):
    content = [{"type": "input_text", "text": text(number)}]
    return {
        "id": item_id(number),
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": content,
    }


class Numbered:
    """The ASGI application.

    Attributes:
        count: The number of items.
        largest_request: The maximum number of items in one request.
    """

    def __init__(self, count=0):
        self.count = count
        self.largest_request = 0

    async def __call__(self, scope, receive, send):
        body = b""
        more = True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
        query = {key: values[0] for key, values in parse_qs(scope["query_string"].decode()).items()}
        status, answer = self.answer(scope["method"], scope["path"].removeprefix("/v1"), query, body)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    def answer(self, method, path, query, body):
        if path in ("/conversations", f"/conversations/{CONVERSATION}"):
            return 200, {"id": CONVERSATION, "object": "conversation", "created_at": 1, "metadata": {}}
        if path == f"/conversations/{CONVERSATION}/items":
            return self.append(json.loads(body)["items"]) if method == "POST" else self.page(**query)
        found = re.fullmatch(rf"/conversations/{CONVERSATION}/items/msg_([0-9a-f]+)", path)
        if method == "GET" and found and int(found[1], 16) < self.count:
            return 200, stored(int(found[1], 16))
        return 404, {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": None}}

    def append(self, items):
        numbers = range(self.count, self.count + len(items))
        if items != [message(number) for number in numbers] or len(items) > 20:
            return 400, {"error": {"message": "these are not the next numbers", "code": "invalid_value"}}
        self.count += len(items)
        self.largest_request = max(self.largest_request, len(items))
        return 200, listed(numbers, has_more=False)

    def page(self, order="desc", limit="20", after=None, **_):
        numbers = range(self.count) if order == "asc" else range(self.count - 1, -1, -1)
        start = 0 if after is None else numbers.index(int(after.removeprefix("msg_"), 16)) + 1
        shown = numbers[start : start + int(limit)]
        return 200, listed(shown, has_more=start + len(shown) < self.count)


def listed(numbers, *, has_more):
    data = [stored(number) for number in numbers]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
    return {"object": "list", "data": data, "has_more": has_more, **ends}


if __name__ == "__main__":
    with serving(Numbered(int(sys.argv[1])), host="127.0.0.1", port=0) as url:
        print(url, flush=True)  # noqa: T201 - for the process that has started it
        sys.stdin.read()
